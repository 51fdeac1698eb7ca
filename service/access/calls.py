"""What each call of the gRPC interface needs, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from deedbook.service.access.roles import Permission

SERVICE: Final = "deedbook.v1.Registry"
SUBSCRIBE: Final = f"/{SERVICE}/Subscribe"

_BY_PERMISSION: Final[Mapping[Permission, tuple[str, ...]]] = {
    Permission.READ: (
        *("GetTraining", "BatchGetTrainings", "SearchTrainings", "CompareTrainings", "ListModels"),
        *("GetMetricSeries", "ListVerdicts", "ListFailedValidations", "GetStanding", "ListPolicies"),
        *("ListRequestSets", "ListDeployments", "ListReleases", "ListModelLoads", "Explain", "ListEvents"),
    ),
    Permission.LOG: (
        *("LogTraining", "LogTrainings", "StartTraining", "FailTraining", "LogMetrics", "AmendTraining"),
        *("UploadArtifact", "PublishRequests"),
    ),
    Permission.VERDICT: ("IssueVerdict",),
    Permission.POLICY: ("PublishPolicy",),
    Permission.OVERRIDE: ("OverrideVerdict",),
    Permission.REVALIDATE: ("RevalidateTraining",),
    Permission.DEPLOY: ("RequestDeployment", "ActivateRelease"),
    # `Subscribe` asks for more where it is about more than deployments.
    Permission.BINDING: ("GetDeployment", "GetLive", "DownloadArtifact", "Subscribe", "GetStatus"),
    Permission.REPORT: ("ReportModelLoaded",),
    Permission.SQL: ("Query", "DownloadSnapshot"),
    Permission.METRICS: (),
}
PERMISSIONS: Final[Mapping[str, Permission]] = MappingProxyType(
    {f"/{SERVICE}/{name}": permission for permission, names in _BY_PERMISSION.items() for name in names}
)
# What tells nothing but that the server is there, and what it can be asked.
OPEN_SERVICES: Final = frozenset(
    {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
)


def permission_of_subscription(topic: str) -> Permission:
    """Return what a subscription to a topic needs: hosts are told of deployments, and of nothing else."""
    return Permission.BINDING if topic == "deployments" else Permission.READ
