"""Judging a training: a work order and the artifacts it names in, a verdict out.

Nothing else goes in: no look-ups, no state. Whichever worker judges an order, and when, the verdict
has the same id, so that giving it twice is harmless.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from math import isfinite
from numbers import Real
from typing import TYPE_CHECKING

from deedbook.consumers.checks.catalogue import Catalogue, installed_checks
from deedbook.consumers.checks.evidence import Evidence
from deedbook.consumers.checks.finding import Finding
from deedbook.consumers.checks.sentences import spelled
from deedbook.consumers.sandbox.outcome import printable
from deedbook.events.errors import DeedbookError, InvalidInput
from deedbook.events.facts import (
    CheckResult,
    CheckSpec,
    Distribution,
    Outcome,
    Training,
    ValidationRequested,
    VerdictIssued,
    combined_outcome,
)
from deedbook.events.ids import derived_id
from deedbook.events.names import name_problem

if TYPE_CHECKING:
    from deedbook.artifacts.store import ArtifactStore
    from deedbook.consumers.sandbox import Sandbox

MAX_REASON_CHARACTERS = 1_000
MAX_SUBJECT_CHARACTERS = 450
MAX_FINDINGS = 10
MAX_DISTRIBUTIONS = 8
MAX_BINS = 200
# What a result says of a policy as a whole, where there is no check to say it of.
POLICY = "policy"


@dataclass(frozen=True, slots=True)
class Validator:
    """All that judging takes besides the order; for a plain loop or a stream framework to drive."""

    artifacts: ArtifactStore
    sandbox: Sandbox
    actor: str
    clock: Callable[[], int]
    checks: Catalogue = field(default_factory=installed_checks)

    def verdict(self, order: ValidationRequested) -> VerdictIssued:
        """Return the verdict on an order; whatever an order or an artifact holds, it ends in one."""
        return judge(
            order,
            artifacts=self.artifacts,
            sandbox=self.sandbox,
            actor=self.actor,
            now=self.clock(),
            checks=self.checks,
        )


def judge(
    order: ValidationRequested,
    *,
    artifacts: ArtifactStore,
    sandbox: Sandbox,
    actor: str,
    now: int,
    checks: Catalogue | None = None,
) -> VerdictIssued:
    """Return the verdict on an order: one or more results for each check of its policy, in their order.

    `now`: microseconds since 1970. `checks`: by default those installed here.
    """
    catalogue = checks or installed_checks()
    evidence = Evidence(order, artifacts, sandbox)
    results = [result for spec in order.policy.checks for result in _results(spec, evidence, catalogue)]
    if not results:
        reason = "the policy demands no checks, so nothing was looked at"
        results = [CheckResult(check=POLICY, outcome=Outcome.ERROR, reason=reason)]
    version = catalogue.version(spec.check for spec in order.policy.checks)
    baseline_id = _baseline_id(evidence)
    verdict_id = derived_id(
        "verdict",
        order.training.training_id,
        str(order.requested_at_position),
        str(order.policy.version),
        version,
        baseline_id,
        _hash_of(_inputs(order)),
    )
    return VerdictIssued(
        # With the results: after a verdict that only says what went wrong, a later one may say more.
        event_id=derived_id("VerdictIssued", verdict_id, _hash_of([asdict(result) for result in results])),
        occurred_at=now,
        actor=actor,
        verdict_id=verdict_id,
        training_id=order.training.training_id,
        requested_at_position=order.requested_at_position,
        policy_version=order.policy.version,
        outcome=combined_outcome(result.outcome for result in results),
        validator_version=version,
        baseline_training_id=baseline_id,
        checks=tuple(results),
    )


def _results(spec: CheckSpec, evidence: Evidence, catalogue: Catalogue) -> list[CheckResult]:
    """Evaluate one check of the policy; whatever goes wrong is an error with its reason."""
    try:
        check = catalogue.find(spec.check)
        settings = check.settings_recorded(spec.settings)
        baseline_id = _baseline_to_compare(evidence) if check.compares else ""
        findings = _checked_findings(check.evaluate(evidence, settings))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 (a check may be anybody's code, and may even exit)
        return [CheckResult(check=spec.check, outcome=Outcome.ERROR, reason=_reason_of(error))]
    return [
        CheckResult(
            check=spec.check,
            outcome=finding.outcome,
            subject=printable(finding.subject, MAX_SUBJECT_CHARACTERS),
            observed=finding.observed,
            threshold=finding.threshold,
            baseline_training_id=baseline_id,
            reason=printable(finding.reason, MAX_REASON_CHARACTERS),
            distributions=finding.distributions,
        )
        for finding in findings
    ]


def _checked_findings(found: object) -> list[Finding]:
    """Return what a check found if it is what a check may find; InvalidInput otherwise."""
    findings = list(found) if isinstance(found, Sequence) else [found]
    if not 1 <= len(findings) <= MAX_FINDINGS:
        raise InvalidInput(f"the check gave {len(findings)} findings, not 1 to {MAX_FINDINGS}")
    return [_checked(finding) for finding in findings]


def _checked(finding: object) -> Finding:
    match finding:
        case Finding(
            outcome=Outcome() as outcome, reason=str() as reason, subject=str(), distributions=tuple()
        ):
            pass
        case Finding():
            raise InvalidInput(
                "the check gave a finding whose outcome, reason, subject or distributions are none"
            )
        case _:
            raise InvalidInput(f"the check gave a {type(finding).__name__}, not a Finding")
    if outcome is Outcome.UNKNOWN or not reason.strip():
        raise InvalidInput(
            f"the check ended as {outcome.value} with the reason {reason.strip()!r}: it takes both"
        )
    observed, threshold = _checked_number(finding.observed), _checked_number(finding.threshold)
    if outcome is Outcome.PASSED and observed is not None and not isfinite(observed):
        raise InvalidInput(
            f"the check passed with an observed value of {spelled(observed)}, which no check may"
        )
    if len(finding.distributions) > MAX_DISTRIBUTIONS:
        raise InvalidInput(f"the check gave more than {MAX_DISTRIBUTIONS} distributions")
    for distribution in finding.distributions:
        _check_distribution(distribution)
    return replace(finding, observed=observed, threshold=threshold)


def _checked_number(value: object) -> float | None:
    """Return a plain float: a check may compute with the numbers of any library."""
    match value:
        case None:
            return None
        case bool():
            pass
        case Real():
            return float(value)
        case _:
            pass
    raise InvalidInput(f"the check gave a {type(value).__name__} as its number")


def _check_distribution(distribution: object) -> None:
    match distribution:
        case Distribution(name=name, edges=edges, candidate_counts=counts, baseline_counts=others):
            fits = 1 <= len(counts) <= MAX_BINS and len(edges) == len(counts) + 1 == len(others) + 1
            whole = all(type(count) is int and count >= 0 for count in (*counts, *others))
            rising = all(type(edge) is float and isfinite(edge) for edge in edges)
            rising = rising and all(low < high for low, high in pairwise(edges))
            if fits and whole and rising and name_problem(name) is None:
                return
        case _:
            pass
    raise InvalidInput(
        f"the check gave a distribution that is not a name and 1 to {MAX_BINS} bins counted twice"
    )


def _baseline_to_compare(evidence: Evidence) -> str:
    """Return the baseline's id, empty if there is none; InvalidInput if it is the candidate itself."""
    if evidence.baseline is None:
        return ""
    if evidence.baseline.training_id == evidence.training.training_id:
        raise InvalidInput("the baseline is the training itself, and a training is not compared with itself")
    return evidence.baseline.training_id


def _baseline_id(evidence: Evidence) -> str:
    try:
        return evidence.baseline.training_id if evidence.baseline else ""
    except InvalidInput:
        return ""


def _reason_of(error: BaseException) -> str:
    """Return why a check could not be evaluated: our own words, or the exception's class and message."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 (a check's own exception may not even say what it is)
        text = "(it has no text)"
    words = text if isinstance(error, DeedbookError) else f"the check raised {type(error).__name__}: {text}"
    return printable(words or type(error).__name__, MAX_REASON_CHARACTERS)


def _inputs(order: ValidationRequested) -> dict[str, object]:
    """Return all that a verdict rests on, artifacts by their digests; what has no order is put in one."""
    return {
        "training": _unordered(order.training),
        "policy": asdict(order.policy),
        "baselines": sorted(
            (baseline.role.value, _hash_of(_unordered(baseline.training))) for baseline in order.baselines
        ),
        "requests": sorted(_hash_of(asdict(requests)) for requests in order.requests),
    }


def _unordered(training: Training) -> dict[str, object]:
    plain = asdict(training)
    for name in ("metrics", "parameters", "coefficients", "tags"):
        plain[name] = sorted(json.dumps(item, sort_keys=True) for item in plain[name])
    return plain


def _hash_of(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
