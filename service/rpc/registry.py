"""The servicer of deedbook.v1.Registry: each call of the interface, and what answers it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from deedbook.api.v1 import registry_pb2 as pb
from deedbook.api.v1 import registry_pb2_grpc
from deedbook.service.rpc import analysing, artifacts, deploying, finding, judging, telling, trainings
from deedbook.service.rpc.answering import Answering
from deedbook.service.rpc.subscribing import subscribe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deedbook.service.context import Service
    from deedbook.service.rpc.answering import Receiving, Remembered, Streaming, Unary
    from deedbook.service.rpc.means import Means

DESCRIPTOR: Final = pb.DESCRIPTOR.services_by_name["Registry"]

UNARY: Final[Mapping[str, Unary]] = MappingProxyType(
    {
        "LogTraining": trainings.log_training,
        "LogTrainings": trainings.log_trainings,
        "StartTraining": trainings.start_training,
        "FailTraining": trainings.fail_training,
        "LogMetrics": trainings.log_metrics,
        "AmendTraining": trainings.amend_training,
        "GetTraining": finding.get_training,
        "SearchTrainings": finding.search_trainings,
        "CompareTrainings": finding.compare_trainings,
        "ListModels": finding.list_models,
        "ListVerdicts": judging.list_verdicts,
        "ListFailedValidations": judging.list_failed_validations,
        "GetStanding": judging.get_standing,
        "IssueVerdict": judging.issue_verdict,
        "OverrideVerdict": judging.override_verdict,
        "RevalidateTraining": judging.revalidate_training,
        "PublishPolicy": judging.publish_policy,
        "ListPolicies": judging.list_policies,
        "PublishRequests": judging.publish_requests,
        "ListRequestSets": judging.list_request_sets,
        "RequestDeployment": deploying.request_deployment,
        "ActivateRelease": deploying.activate_release,
        "GetDeployment": deploying.get_deployment,
        "ListDeployments": deploying.list_deployments,
        "GetLive": deploying.get_live,
        "ListReleases": deploying.list_releases,
        "ReportModelLoaded": deploying.report_model_loaded,
        "ListModelLoads": deploying.list_model_loads,
        "Explain": telling.explain,
        "ListEvents": telling.list_events,
        "GetStatus": telling.get_status,
    }
)
# What is asked so often that an answer which is at hand is given without more ado.
REMEMBERED: Final[Mapping[str, Remembered]] = MappingProxyType(
    {"GetDeployment": deploying.remembered_deployment}
)
STREAMING: Final[Mapping[str, Streaming]] = MappingProxyType(
    {
        "BatchGetTrainings": finding.batch_get_trainings,
        "GetMetricSeries": finding.get_metric_series,
        "DownloadArtifact": artifacts.download_artifact,
        "Query": analysing.query,
        "DownloadSnapshot": analysing.download_snapshot,
    }
)
ENDLESS: Final[Mapping[str, Streaming]] = MappingProxyType({"Subscribe": subscribe})
RECEIVING: Final[Mapping[str, Receiving]] = MappingProxyType({"UploadArtifact": artifacts.upload_artifact})


class RegistryServicer(registry_pb2_grpc.RegistryServicer):
    """Answers the calls of one registry; made in the loop that serves it."""

    def __init__(self, service: Service, means: Means) -> None:
        answering = Answering(service, means)
        for name, unary in UNARY.items():
            setattr(self, name, answering.unary(unary, *filter(None, [REMEMBERED.get(name)])))
        for name, streaming in STREAMING.items():
            setattr(self, name, answering.streaming(streaming))
        for name, endless in ENDLESS.items():
            setattr(self, name, answering.streaming(endless, endless=True))
        for name, receiving in RECEIVING.items():
            setattr(self, name, answering.receiving(receiving))
