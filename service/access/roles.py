"""What somebody may be, and what that allows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Role(StrEnum):
    """What a token makes its holder."""

    TRAINER = "trainer"
    VALIDATOR = "validator"
    DEPLOYER = "deployer"
    REVIEWER = "reviewer"
    HOST = "host"
    ANALYST = "analyst"
    ADMIN = "admin"


class Permission(StrEnum):
    """What one page or one call of the gRPC interface needs.

    `read`: everything the pages show. `log`: trainings, metrics, amendments, artifacts, request sets. `verdict`:
    issue one. `binding`: deployments, what is live, and the artifacts they name. `report`: that a model was loaded.
    `metrics`: the service's own, for Prometheus.
    """

    READ = "read"
    LOG = "log"
    VERDICT = "verdict"
    POLICY = "policy"
    OVERRIDE = "override"
    REVALIDATE = "revalidate"
    DEPLOY = "deploy"
    BINDING = "binding"
    REPORT = "report"
    SQL = "sql"
    METRICS = "metrics"


GRANTED: Final = MappingProxyType(
    {
        Role.TRAINER: frozenset({Permission.READ, Permission.LOG, Permission.BINDING}),
        Role.VALIDATOR: frozenset({Permission.READ, Permission.VERDICT, Permission.BINDING}),
        Role.DEPLOYER: frozenset({Permission.READ, Permission.DEPLOY, Permission.BINDING}),
        Role.REVIEWER: frozenset(
            {
                Permission.READ,
                Permission.OVERRIDE,
                Permission.REVALIDATE,
                Permission.POLICY,
                Permission.BINDING,
            }
        ),
        Role.HOST: frozenset({Permission.BINDING, Permission.REPORT}),
        Role.ANALYST: frozenset({Permission.READ, Permission.SQL, Permission.METRICS, Permission.BINDING}),
        Role.ADMIN: frozenset(Permission),
    }
)

# What writes: a token that names models writes for those alone, and reads everything that its roles let it read.
WRITING: Final = frozenset(
    {
        Permission.LOG,
        Permission.VERDICT,
        Permission.POLICY,
        Permission.OVERRIDE,
        Permission.REVALIDATE,
        Permission.DEPLOY,
        Permission.REPORT,
    }
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking.

    `models`: those they may write for; empty for all. `authenticated`: `name` is their token's, else it is what they
    claim. `token_id`: their token's, empty without one.
    """

    name: str
    roles: frozenset[Role]
    models: frozenset[str] = frozenset()
    authenticated: bool = False
    token_id: str = ""

    def may(self, permission: Permission) -> bool:
        """Tell whether any of the caller's roles allows this."""
        return any(permission in GRANTED[role] for role in self.roles)
