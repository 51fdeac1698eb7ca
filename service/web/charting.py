"""The chart of a metric over time: its Vega-Lite spec, and its points as compact columns.

The spec is plain data: Altair, which writes the same, takes half a second and forty megabytes to import. Its fields
have fixed names; what users called things is data.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pyarrow as pa

    from deedbook.projector.queries.charted import Charted

SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v6.json"
HEIGHT: Final = 440
# How a point is marked: by the verdict on its training, unless somebody decided otherwise.
STATES: Final = ("passed", "pending", "failed", "error", "overridden")
# Two strokes that cross, in Vega's own unit square.
_CROSS: Final = "M-1,-1L1,1M1,-1L-1,1"
_LIT: Final = "!length(picked) || indexof(picked, datum.series) >= 0"
_X: Final = {
    "field": "created_at",
    "type": "temporal",
    "scale": {"type": "utc", "padding": 10},
    "axis": {
        "title": "training created (UTC)",
        "labelOverlap": True,
        "tickCount": {"signal": "ceil(width / 90)"},
    },
}
_Y: Final = {
    "field": "value",
    "type": "quantitative",
    "scale": {"zero": False},
    "axis": {"title": None},
}
_COLOUR: Final = {"field": "colour", "type": "nominal", "scale": None, "legend": None}


def spec() -> dict[str, Any]:
    """Return the chart without its data, which the page's script puts in as ``points``."""
    marked = [{"test": f"datum.state === '{state}'", "value": shape} for state, shape in _SHAPES.items()]
    return {
        "$schema": SCHEMA,
        "width": "container",
        "height": HEIGHT,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": {"left": 4, "right": 12, "top": 8, "bottom": 4},
        "params": [{"name": "picked", "value": []}],
        "data": {"name": "points"},
        "layer": [
            {
                "mark": {"type": "line", "strokeWidth": 1.5, "strokeJoin": "round"},
                "encoding": {
                    "x": _X,
                    "y": _Y,
                    "color": _COLOUR,
                    "detail": {"field": "series", "type": "nominal"},
                    "strokeDash": {"field": "dash", "type": "nominal", "scale": None, "legend": None},
                    "opacity": {"condition": {"test": _LIT, "value": 0.9}, "value": 0.06},
                },
            },
            {
                "mark": {"type": "point", "filled": True, "cursor": "pointer"},
                "encoding": {
                    "x": _X,
                    "y": _Y,
                    "color": _COLOUR,
                    "size": {"field": "size", "type": "quantitative", "scale": None, "legend": None},
                    "opacity": {"condition": {"test": _LIT, "value": 1}, "value": 0.04},
                },
            },
            {
                "transform": [{"filter": "datum.deployed"}],
                "mark": {
                    "type": "point",
                    "filled": False,
                    "cursor": "pointer",
                    "size": 130,
                    "strokeWidth": 1.5,
                },
                "encoding": {
                    "x": _X,
                    "y": _Y,
                    "color": {"field": "ink", "type": "nominal", "scale": None, "legend": None},
                    "opacity": {"condition": {"test": _LIT, "value": 0.9}, "value": 0.04},
                },
            },
            {
                "transform": [{"filter": "indexof(['failed', 'error', 'overridden'], datum.state) >= 0"}],
                "mark": {
                    "type": "point",
                    "filled": False,
                    "cursor": "pointer",
                    "size": 110,
                    "strokeWidth": 2.5,
                },
                "encoding": {
                    "x": _X,
                    "y": _Y,
                    "shape": {"condition": marked, "value": "circle"},
                    "color": {"field": "mark", "type": "nominal", "scale": None, "legend": None},
                    "opacity": {"condition": {"test": _LIT, "value": 1}, "value": 0.06},
                },
            },
        ],
    }


_SHAPES: Final = {"failed": _CROSS, "error": "triangle-up", "overridden": "diamond"}


def states(table: pa.Table) -> list[int]:
    """Return for each point the place of its state in STATES."""
    import pyarrow as pa
    import pyarrow.compute as pc

    outcomes = pc.index_in(table.column("outcome"), pa.array(STATES[:4]))
    places = pc.if_else(table.column("overridden"), STATES.index("overridden"), outcomes)
    return list(pc.fill_null(places, STATES.index("pending")).to_numpy().tolist())


def series_json(charted: Charted, position: int) -> bytes:
    """Return the chart's points as JSON: a list for each column, and the values of the parameter once each.

    ``created_at`` is in milliseconds since 1970; ``series`` and ``state`` are places in the lists of their names,
    ``series`` null for trainings without the parameter; ``value`` is null where it is not finite.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    table = charted.table.combine_chunks()
    encoded = table.column("series").combine_chunks().dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    values = table.column("value")
    finite = pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))
    points = {
        "series": encoded.indices.to_pylist(),
        "created_at": pc.divide(table.column("created_at"), 1000).to_numpy().tolist(),
        "value": finite.to_pylist() if finite.null_count else finite.to_numpy().tolist(),
        "version": table.column("version").to_numpy().tolist(),
        "state": states(table),
        "deployed": pc.cast(table.column("deployed"), pa.int8()).to_numpy().tolist(),
    }
    whole = {
        "model": charted.model,
        "metric": str(charted.metric),
        "by": charted.by,
        "direction": charted.direction,
        "unit": charted.unit,
        "position": position,
        "series": encoded.dictionary.to_pylist(),
        "states": STATES,
        "points": points,
    }
    return json.dumps(whole, separators=(",", ":"), allow_nan=False).encode()
