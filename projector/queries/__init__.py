"""What the client and the command line ask of a projection: typed functions over a DuckDB connection.

Each takes a connection on a projection or a snapshot, and returns frozen dataclasses. Times have the
zone UTC. What does not exist raises NotFound; a list without entries is empty.
"""

from deedbook.projector.queries.comparison import ComparedMetric, ComparedParameter, Comparison, compare
from deedbook.projector.queries.deployments import (
    BoundModel,
    Deployment,
    LiveModel,
    LiveRelease,
    ModelLoad,
    binding,
    deployment_id_of,
    deployment_with_id,
    deployments,
    live,
    model_loads,
    releases,
)
from deedbook.projector.queries.detail import (
    Amendment,
    MetricValue,
    Override,
    ParameterValue,
    StepMetric,
    TrainingDetail,
    training_detail,
    training_id_of,
)
from deedbook.projector.queries.filters import MetricFilter, MetricName
from deedbook.projector.queries.freeform import Rows, sql
from deedbook.projector.queries.overview import (
    ModelOverview,
    PublishedPolicy,
    RequestSet,
    models,
    policies,
    request_sets,
)
from deedbook.projector.queries.search import TrainingSummary, search, summaries
from deedbook.projector.queries.series import MetricSeries, SeriesPoint, metric_series
from deedbook.projector.queries.story import Story, StoryLine, deployment_story, explain, training_story
from deedbook.projector.queries.timeline import Event, events
from deedbook.projector.queries.validations import (
    Check,
    Failure,
    Standing,
    Validation,
    Verdict,
    failures,
    standing,
    standings,
    validations_of,
    verdicts_of,
)

__all__ = [
    "Amendment",
    "BoundModel",
    "Check",
    "ComparedMetric",
    "ComparedParameter",
    "Comparison",
    "Deployment",
    "Event",
    "Failure",
    "LiveModel",
    "LiveRelease",
    "MetricFilter",
    "MetricName",
    "MetricSeries",
    "MetricValue",
    "ModelLoad",
    "ModelOverview",
    "Override",
    "ParameterValue",
    "PublishedPolicy",
    "RequestSet",
    "Rows",
    "SeriesPoint",
    "Standing",
    "StepMetric",
    "Story",
    "StoryLine",
    "TrainingDetail",
    "TrainingSummary",
    "Validation",
    "Verdict",
    "binding",
    "compare",
    "deployment_id_of",
    "deployment_story",
    "deployment_with_id",
    "deployments",
    "events",
    "explain",
    "failures",
    "live",
    "metric_series",
    "model_loads",
    "models",
    "policies",
    "releases",
    "request_sets",
    "search",
    "sql",
    "standing",
    "standings",
    "summaries",
    "training_detail",
    "training_id_of",
    "training_story",
    "validations_of",
    "verdicts_of",
]
