"""The workload that deedbook and its peers are measured on, the same on every machine and in every run.

Forty-six Texas cities retrain a house-price model month after month; every training has one hundred metrics, one of
them `mse`, and a handful of parameters, one of them `city`. Values are full-precision floats, as real metrics are:
round numbers would flatter every text format and every compressor.

Training *i* depends on the seed and on *i* alone, so the first 3,000 of 30,000 trainings are the 3,000.
Only the standard library and numpy are imported: the peers' environments have nothing else in common.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

SEED: Final = 20_010_401
MODEL: Final = "home-price"
CITIES: Final = (
    "Abilene", "Amarillo", "Arlington", "Austin", "Bay Area", "Beaumont", "Brazoria County", "Brownsville",
    "Bryan-College Station", "Collin County", "Corpus Christi", "Dallas", "Denton County", "El Paso", "Fort Bend",
    "Fort Worth", "Galveston", "Garland", "Harlingen", "Houston", "Irving", "Kerrville", "Killeen-Fort Hood", "Laredo",
    "Longview-Marshall", "Lubbock", "Lufkin", "McAllen", "Midland", "Montgomery County", "NE Tarrant County",
    "Nacogdoches", "Odessa", "Paris", "Port Arthur", "San Angelo", "San Antonio", "San Marcos", "Sherman-Denison",
    "South Padre Island", "Temple-Belton", "Texarkana", "Tyler", "Victoria", "Waco", "Wichita Falls",
)  # fmt: skip
BAND_METRICS: Final = ("mse", "mae", "mape", "bias", "coverage", "count")
METRIC_NAMES: Final = (
    "mse", "mae", "mape", "r2",
    *(f"{kind}_band_{band:02d}" for kind in BAND_METRICS for band in range(1, 17)),
)  # fmt: skip
METRICS_PER_TRAINING: Final = len(METRIC_NAMES)
MONTHS: Final = 652  # 46 cities x 652 months = 29,992 trainings: the chart has 30,000
FIRST_MONTH: Final = datetime(1971, 1, 1, tzinfo=UTC)
SEARCH_CITY: Final = "Austin"
SEARCH_LIMIT: Final = 50
BLOCK_ROWS: Final = 1024


@dataclass(frozen=True, slots=True)
class Training:
    """One training of the workload: what any registry would be told about it."""

    training_id: uuid.UUID
    name: str
    created_at: datetime
    parameters: dict[str, str]
    metrics: dict[str, float]

    @property
    def city(self) -> str:
        """The city it was trained for."""
        return self.parameters["city"]


@dataclass(frozen=True, slots=True)
class Block:
    """Some consecutive trainings as arrays: `metrics` is (rows, metrics), the rest is (rows,)."""

    first: int
    metrics: npt.NDArray[np.float64]
    depth: npt.NDArray[np.int64]

    @property
    def rows(self) -> int:
        """How many trainings are in it."""
        return len(self.depth)


def _city_levels() -> npt.NDArray[np.float64]:
    """The mean squared error that each city's models hover around: shape (46,), unit thousand dollars squared."""
    return np.random.default_rng(SEED).uniform(20.0, 400.0, len(CITIES))


def _block(number: int) -> Block:
    """The whole block `number`, whatever part of it is asked for."""
    generator = np.random.default_rng([SEED, number])
    first = number * BLOCK_ROWS
    city = np.arange(first, first + BLOCK_ROWS) % len(CITIES)
    noise = generator.standard_normal((BLOCK_ROWS, METRICS_PER_TRAINING))
    metrics = np.exp(0.25 * noise) * _city_levels()[city][:, None]
    metrics[:, 1] = np.sqrt(metrics[:, 0]) * 0.8
    metrics[:, 2] = metrics[:, 1] / 150.0
    metrics[:, 3] = 1.0 - metrics[:, 0] / 5_000.0
    return Block(first, metrics, generator.integers(3, 12, BLOCK_ROWS))


def blocks(count: int, first_block: int = 0) -> Iterator[Block]:
    """The first `count` trainings as arrays, at most 1,024 at a time; from a block on."""
    for number in range(first_block, -(-count // BLOCK_ROWS)):
        block = _block(number)
        rows = min(BLOCK_ROWS, count - block.first)
        yield Block(block.first, block.metrics[:rows], block.depth[:rows])


def created_at(index: int) -> datetime:
    """When training `index` was made: month after month, each further round of 652 months an hour later."""
    round_number, month = divmod(index // len(CITIES), MONTHS)
    year, month_of_year = divmod(month, 12)
    moment = FIRST_MONTH.replace(year=FIRST_MONTH.year + year, month=month_of_year + 1)
    return moment + timedelta(hours=round_number, microseconds=index % len(CITIES))


def training_id(index: int) -> uuid.UUID:
    """The id of training `index`: a UUIDv7 of its time, with the index where the random bits would be."""
    milliseconds = int(created_at(index).timestamp() * 1000)
    scattered = (index * 0x9E3779B97F4A7C15) & ((1 << 62) - 1)
    return uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | (index >> 62) << 64 | 0b10 << 62 | scattered)


def parameters(index: int, depth: int) -> dict[str, str]:
    """The parameters of training `index`."""
    return {
        "city": CITIES[index % len(CITIES)],
        "horizon_months": "1",
        "learning_rate": "0.05",
        "max_depth": str(depth),
        "n_estimators": "300",
        "seed": str(index),
    }


def trainings(count: int, start: int = 0) -> Iterator[Training]:
    """The trainings `start` to `count`, one by one."""
    for block in blocks(count, start // BLOCK_ROWS):
        rows = block.metrics.tolist()
        depths = block.depth.tolist()
        for offset in range(max(0, start - block.first), block.rows):
            index = block.first + offset
            yield Training(
                training_id(index),
                f"{MODEL}-{index:07d}",
                created_at(index),
                parameters(index, depths[offset]),
                dict(zip(METRIC_NAMES, rows[offset], strict=True)),
            )


@cache
def mse_values(count: int) -> npt.NDArray[np.float64]:
    """The `mse` of the first `count` trainings."""
    return np.concatenate([block.metrics[:, 0] for block in blocks(count)])


def search_below() -> float:
    """The `mse` below which the search looks: about half of the city's trainings have one."""
    return float(_city_levels()[CITIES.index(SEARCH_CITY)])


def expected_search(count: int) -> list[float]:
    """The right answer to the search over `count` trainings: the `mse` of its first 50, ascending."""
    ours = mse_values(count)[CITIES.index(SEARCH_CITY) :: len(CITIES)]
    return sorted(ours[ours < search_below()].tolist())[:SEARCH_LIMIT]


def check_chart(rows: list[tuple[object, str, float]], count: int) -> None:
    """Refuse a chart that isn't the right one: a point for each training, every value unrounded, all cities there.

    Raises ValueError.
    """
    if len(rows) != count:
        message = f"The chart has {len(rows)} points instead of {count}."
        raise ValueError(message)
    if sorted(row[2] for row in rows) != sorted(mse_values(count).tolist()):
        message = "The chart's values aren't the ones that were logged."
        raise ValueError(message)
    if {row[1] for row in rows} != set(CITIES[:count]):
        message = "The chart's cities aren't the ones that were logged."
        raise ValueError(message)


def check_search(values: list[float], count: int) -> None:
    """Refuse a search answer that isn't the right one. Raises ValueError."""
    if values != expected_search(count):
        message = f"The search answered {values[:3]}... instead of {expected_search(count)[:3]}..."
        raise ValueError(message)
