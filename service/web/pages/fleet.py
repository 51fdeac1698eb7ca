"""The fleet: which instance runs what, who disagrees with what is current, and who was not heard of for long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from deedbook.projector import queries
from deedbook.projector.queries import Agreement
from deedbook.service.access.roles import Permission
from deedbook.service.web import asked
from deedbook.service.web.pages import Page
from deedbook.service.web.rendering import page, service_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_QUIET_DAYS: Final = 30
_MAX_DAYS: Final = 3_650
_MAX_LISTED: Final = 500
_MAX_WORDS: Final = 100_000

_Spoken: TypeAlias = tuple[queries.FleetService, list[queries.FleetHost]]


class Show(StrEnum):
    """Which instances are listed."""

    DISAGREEING = "disagreeing"
    QUIET = "quiet"


def fleet(request: Request) -> Response:
    """Return the services with their instances; `days`: after how many without a word one counts as quiet."""
    query = request.query_params
    service, environment = asked.name(query, "service"), asked.name(query, "environment")
    show = asked.choice(query, "show", Show)
    days = asked.whole(query, "days", least=1, most=_MAX_DAYS) or _QUIET_DAYS
    now = datetime.fromtimestamp(service_of(request).writer.clock() // 1_000_000, UTC)
    with service_of(request).live.reading() as connection:
        found = queries.fleet(connection, service=service, environment=environment, limit=_MAX_WORDS)
        known = queries.deployed_names(connection)
    quiet_before = now - timedelta(days=days)
    hosts = [host for one in found for host in one.hosts]
    disagreeing = [host for host in hosts if not host.agrees]
    quiet = [host for host in hosts if host.heard_at < quiet_before]
    spoken = _spoken(found, show, quiet_before)
    return page(
        request,
        "fleet.html",
        spoken=_first(spoken, _MAX_LISTED),
        unspoken=[one for one in found if not one.hosts] if show is None else [],
        known=known,
        service=service,
        environment=environment,
        show=show,
        days=days,
        quiet_before=quiet_before,
        hosts=len(hosts),
        disagreeing=len(disagreeing),
        quiet=len(quiet),
        unanswered=[one for one in found if one.hosts and one.release is not None and not _answered(one)],
        cut=_MAX_LISTED if sum(len(listed) for _, listed in spoken) > _MAX_LISTED else None,
    )


def _spoken(
    services: Sequence[queries.FleetService], show: Show | None, quiet_before: datetime
) -> list[_Spoken]:
    """Return the services with the instances that are listed, those with any: who disagrees first, then by name."""
    listed = [
        (service, sorted(hosts, key=lambda host: (host.agrees, host.instance)))
        for service in services
        if (hosts := [host for host in service.hosts if _is_listed(host, show, quiet_before)])
    ]
    return sorted(listed, key=lambda one: (all(host.agrees for host in one[0].hosts), one[0].service))


def _first(spoken: Sequence[_Spoken], most: int) -> list[_Spoken]:
    """Return the first services with at most so many instances in all."""
    left, first = most, []
    for service, hosts in spoken:
        if left > 0:
            first.append((service, hosts[:left]))
        left -= len(hosts)
    return first


def _is_listed(host: queries.FleetHost, show: Show | None, quiet_before: datetime) -> bool:
    match show:
        case Show.DISAGREEING:
            return not host.agrees
        case Show.QUIET:
            return host.heard_at < quiet_before
        case None:
            return True


def _answered(service: queries.FleetService) -> bool:
    """Tell whether any instance says that it runs the current release."""
    spoken = (load for host in service.hosts for load in host.loads)
    return any(load.agreement not in {Agreement.SILENT, Agreement.OTHER_RELEASE} for load in spoken)


PAGES: Final = (Page(path="/fleet", endpoint=fleet, permission=Permission.READ),)
