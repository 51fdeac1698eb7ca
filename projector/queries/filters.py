"""Comparing metrics: what a search asks of them, typed or as people write it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum

from deedbook.events.errors import InvalidInput

_WRITTEN = re.compile(
    r"(?P<metric>.*[^\s<>=!])\s*(?P<comparison><=|>=|==|!=|<|>|=)\s*(?P<value>[^\s<>=!]+)\s*"
)
_SLICED = re.compile(r"(?P<name>.+)\[(?P<slice>.+)\]")


class Comparison(StrEnum):
    """How a metric's value is compared with a number."""

    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="
    EQUAL = "=="
    OTHER = "!="


@dataclass(frozen=True, slots=True)
class MetricName:
    """A metric of a training, as a whole or of one slice of the data."""

    name: str
    slice: str = ""

    @classmethod
    def parse(cls, text: str) -> MetricName:
        """Return the metric that is written ``mse`` or, for a slice, ``mse[north]``."""
        sliced = _SLICED.fullmatch(text)
        return cls(text) if sliced is None else cls(sliced["name"], sliced["slice"])

    def __str__(self) -> str:
        return f"{self.name}[{self.slice}]" if self.slice else self.name


@dataclass(frozen=True, slots=True)
class MetricFilter:
    """What a metric must be like; NaN is none of less, more or equal."""

    name: str
    comparison: Comparison
    value: float
    slice: str = ""

    @classmethod
    def parse(cls, text: str) -> MetricFilter:
        """Return the filter that is written ``mse < 0.2`` or ``mse[north] >= 3e-4``; InvalidInput for none."""
        written = _WRITTEN.fullmatch(text.strip())
        value = None if written is None else _number(written["value"])
        if written is None or value is None:
            raise InvalidInput(f"{text[:80]!r} compares no metric with a number: write it like 'mse < 0.2'")
        if math.isnan(value):
            raise InvalidInput(f"{text[:80]!r} compares with NaN, which nothing is less or more than")
        sign = "==" if written["comparison"] == "=" else written["comparison"]
        metric = MetricName.parse(written["metric"])
        return cls(metric.name, Comparison(sign), value, metric.slice)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
