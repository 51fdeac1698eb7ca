"""The errors deedbook raises: one root, one class for each decision a caller can make."""


class DeedbookError(Exception):
    """Anything deedbook refuses or cannot do, said in one sentence."""


class InvalidInput(DeedbookError):
    """What the caller gave is not acceptable; nothing was written."""


class NotFound(InvalidInput):
    """What the caller named does not exist in this registry."""


class AccessDenied(DeedbookError):
    """The credentials are missing, wrong or expired, or don't allow this; trying again changes nothing."""


class NotAuthenticated(DeedbookError):
    """Who is asking is not known: no token, or one that is wrong, expired or revoked."""


class PermissionRefused(DeedbookError):
    """Who is asking is known, and may not do this."""


class RequestRejected(DeedbookError):
    """The request is on the log, and the fold rejected it; the message is the fold's reason.

    ``position``: the registry position of the rejected event, None where whoever raises it doesn't know.
    """

    def __init__(self, reason: str, *, position: int | None = None) -> None:
        super().__init__(reason)
        self.position = position


class LogUnavailable(DeedbookError):
    """The log could not be reached, or did not answer before the deadline; try again."""


class ServiceEnding(LogUnavailable):
    """The service is being stopped, and ends its streams; another one, or the same a moment later, goes on."""


class DeadlineExceeded(DeedbookError):
    """What was asked for did not happen in the time given; asking again, with the same event id, is harmless."""


class LogDamaged(DeedbookError):
    """The log lost or changed records it had promised to keep."""


class LogReplaced(DeedbookError):
    """The log is not the one this projection was folded from."""


class Undecodable(DeedbookError):
    """A record's bytes are not the event they claim to be."""


class UnknownSchema(DeedbookError):
    """A record is written with a schema or type this release does not know."""


class UnknownRules(DeedbookError):
    """The log adopted fold rules that this release does not have."""


class ProjectionBusy(DeedbookError):
    """Another process holds the projection and did not let go before the deadline."""


class ProjectionFenced(DeedbookError):
    """Another projector moved this projection on; this one must stop."""


class StorageFull(DeedbookError):
    """The disk is full; what was asked for was not done, and nothing is half-written."""


class StorageUnavailable(DeedbookError):
    """The artifact store could not be reached, or did not answer before the deadline; try again."""


class ArtifactDamaged(DeedbookError):
    """An artifact's bytes do not have the digest it was stored under."""


class MissingExtra(DeedbookError):
    """This needs an optional part of deedbook that is not installed; the message names the extra."""
