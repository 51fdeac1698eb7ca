"""How far two sets of predictions are apart: three distances, and histograms to draw.

Every distance is 0 for equal sets and does not change when both sets are multiplied by the same
positive number, so that dollars and cents are judged alike.
"""

from __future__ import annotations

import importlib
import math
import sys
from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never

from deedbook.events.errors import MissingExtra
from deedbook.events.facts import Distribution

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    import numpy as np
    import numpy.typing as npt

    Values: TypeAlias = npt.NDArray[np.float64]

Method: TypeAlias = Literal["ks", "wasserstein", "psi"]
Scale: TypeAlias = Literal["std", "iqr"]

DRAWN_BINS = 30


def distance(
    method: Method,
    candidate: Sequence[float],
    baseline: Sequence[float],
    *,
    scale: Scale = "std",
    bins: int = 10,
) -> float:
    """Return the distance between two non-empty sets of finite numbers, 0 or more, perhaps infinite.

    - ks: the greatest difference between the two cumulative distributions, 0 to 1
    - wasserstein: how far predictions have to be moved on average, in the baseline's standard
      deviations or interquartile ranges; infinite if they moved and the baseline's have no spread
    - psi: the population stability index over `bins` quantiles of the baseline

    Raises MissingExtra.
    """
    stats = _scipy_stats()
    import numpy as np

    first, second = _scaled(candidate, baseline)
    match method:
        case "ks":
            # The p-value, which is not wanted here, divides by zero for a single prediction.
            with np.errstate(divide="ignore"):
                return float(stats.ks_2samp(first, second, method="asymp").statistic)
        case "wasserstein":
            moved = float(stats.wasserstein_distance(first, second))
            spread = float(second.std() if scale == "std" else stats.iqr(second))
            return 0.0 if moved == 0 else moved / spread if spread > 0 else math.inf
        case "psi":
            return _stability_index(first, second, bins)
        case _:
            assert_never(method)


def histograms(name: str, candidate: Sequence[float], baseline: Sequence[float]) -> Distribution:
    """Return both sets counted over the same bins, at most 30, which hold every value."""
    import numpy as np

    pooled = np.array([*candidate, *baseline], dtype=float)
    first, last = float(pooled.min()), float(pooled.max())
    if first == last:
        pad = abs(first) / 2 or 1.0
        first, last = max(first - pad, -sys.float_info.max), min(last + pad, sys.float_info.max)
    unit = _unit(pooled)
    inner = np.linspace(first / unit, last / unit, DRAWN_BINS + 1)[1:-1] * unit
    # Numbers that are almost equal leave no room for 30 bins; those that are far apart are cut by the rounding.
    edges = np.unique([first, *np.clip(inner, first, last), last])
    counts = [np.histogram(np.array(values), bins=edges)[0] for values in (candidate, baseline)]
    return Distribution(
        name=name,
        edges=tuple(float(edge) for edge in edges),
        candidate_counts=tuple(int(count) for count in counts[0]),
        baseline_counts=tuple(int(count) for count in counts[1]),
    )


def _stability_index(candidate: Values, baseline: Values, bins: int) -> float:
    """Return the population stability index; an empty bin counts as half a value, as its logarithm must exist."""
    import numpy as np

    quantiles = np.quantile(baseline, np.linspace(0, 1, bins + 1)[1:-1])
    # A value that many predictions share gets a bin of its own: else all could leave it unnoticed.
    shared = quantiles[np.isin(quantiles, _repeated(baseline))]
    inner = np.unique(np.concatenate([quantiles, np.nextafter(shared, math.inf)]))
    shares = []
    for values in (candidate, baseline):
        counts = np.bincount(np.searchsorted(inner, values, side="right"), minlength=len(inner) + 1)
        shares.append(np.maximum(counts, 0.5) / len(values))
    return max(0.0, float(((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum()))


def _repeated(values: Values) -> Values:
    import numpy as np

    distinct, counts = np.unique(values, return_counts=True)
    return distinct[counts > 1]


def _scaled(candidate: Sequence[float], baseline: Sequence[float]) -> tuple[Values, Values]:
    """Return both divided by the same power of two: exact, and then no square overflows."""
    import numpy as np

    first, second = np.array(candidate, dtype=float), np.array(baseline, dtype=float)
    unit = _unit(np.concatenate([first, second]))
    return first / unit, second / unit


def _unit(values: Values) -> float:
    largest = float(abs(values).max())
    return math.ldexp(1.0, max(-1022, min(1023, math.frexp(largest)[1]))) if largest else 1.0


def _scipy_stats() -> ModuleType:
    try:
        return importlib.import_module("scipy.stats")
    except ImportError as error:
        raise MissingExtra("comparing predictions needs scipy: pip install 'deedbook[validation]'") from error
