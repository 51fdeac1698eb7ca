"""What S3 and boto3 raise, as one sentence each, of the class that says what a caller can do.

No sentence holds what could be secret: neither keys, signatures and query strings, nor the server's
own messages. The library's error is not kept as the cause, for the same reason.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from deedbook.artifacts.s3.client import needed
from deedbook.events.errors import (
    AccessDenied,
    ArtifactDamaged,
    DeedbookError,
    InvalidInput,
    NotFound,
    StorageFull,
    StorageUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deedbook.artifacts.s3.address import S3Address

# Whoever sees one of these may look whether the object is there, and try again.
EXISTS = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "OperationAborted", "412", "409"})

_CODE = re.compile(r"[A-Za-z0-9._-]{1,80}")
_REGION = re.compile(r"[a-z0-9-]{1,40}")
_WRONG_KEYS = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "NotSignedUp"})
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"})
_DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "401"})
_ELSEWHERE = frozenset(
    {
        *("PermanentRedirect", "TemporaryRedirect", "Redirect", "AuthorizationHeaderMalformed"),
        *("IllegalLocationConstraintException", "InvalidRegion", "301", "302", "307"),
    }
)
_DAMAGED = frozenset({"BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"})
_FULL = frozenset({"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "507"})
_AWAY = frozenset({"SlowDown", "RequestTimeout", "RequestTimeoutException", "ThrottlingException", "429"})
_ACTIONS = {
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "CreateBucket": "s3:CreateBucket",
    "GetObject": "s3:GetObject",
    "HeadBucket": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
}
_NO_CREDENTIALS = (
    "no credentials for {server} were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE,"
    " or run where a role is given to the machine"
)
_LIBRARY_SENTENCES: dict[str, tuple[type[DeedbookError], str]] = {
    "NoCredentialsError": (AccessDenied, _NO_CREDENTIALS),
    "PartialCredentialsError": (
        AccessDenied,
        "the credentials for {server} are incomplete: both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are needed",
    ),
    "CredentialRetrievalError": (
        AccessDenied,
        "the credentials for {server} could not be fetched or renewed",
    ),
    "NoAuthTokenError": (AccessDenied, "the sign-in for {server} has expired: sign in again"),
    "TokenRetrievalError": (AccessDenied, "the sign-in for {server} has expired: sign in again"),
    "SSOError": (AccessDenied, "the sign-in for {server} has expired: sign in again"),
    "LoginError": (AccessDenied, "the sign-in for {server} has expired: sign in again"),
    "ProfileNotFound": (AccessDenied, "the profile that AWS_PROFILE names is in none of boto3's files"),
    "ConfigParseError": (InvalidInput, "boto3's configuration file can't be read: mend it, or remove it"),
    "NoRegionError": (InvalidInput, "no region is known for {bucket}: add ?region=… to the artifact URL"),
    "SSLError": (StorageUnavailable, "{server} shows a certificate that can't be trusted"),
    "ReadTimeoutError": (StorageUnavailable, "{server} did not answer before the deadline; try again"),
    "ConnectTimeoutError": (
        StorageUnavailable,
        "{server} could not be reached before the deadline; try again",
    ),
    "ConnectionError": (StorageUnavailable, "{server} could not be reached; try again"),
    "ProxyConnectionError": (StorageUnavailable, "the proxy on the way to {server} could not be reached"),
    "IncompleteReadError": (StorageUnavailable, "{server} broke off its answer; try again"),
    "ResponseStreamingError": (StorageUnavailable, "{server} broke off its answer; try again"),
    "HTTPClientError": (StorageUnavailable, "{server} could not be reached; try again"),
    "EndpointProviderError": (InvalidInput, "boto3 knows no server for {bucket}: check region and endpoint"),
}


@contextlib.contextmanager
def plain_errors(address: S3Address) -> Iterator[None]:
    """Turn what boto3 raises into one of deedbook's errors."""
    library = needed("botocore.exceptions")
    try:
        yield
    except library.ClientError as error:
        raise answered(error, address) from None
    except (library.BotoCoreError, needed("botocore.parsers").ResponseParserError) as error:
        raise _of_the_library(error, address) from None


def code_of(error: Any) -> str:  # noqa: ANN401 (botocore's ClientError, which has no types)
    """The code of an error that S3 answered: a word, or the HTTP status where the answer had no body."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code if _CODE.fullmatch(code) else str(_status(error))


def says_nothing(error: Any) -> bool:  # noqa: ANN401 (botocore's ClientError)
    """Say whether the answer is a bare status, as every answer to HEAD is."""
    return code_of(error).isdecimal()


def told(answer: Any, name: str, server: str) -> Any:  # noqa: ANN401 (boto3's answers)
    """What an answer says under a name that S3 always says; InvalidInput if it is no answer of S3's."""
    if answer.get(name) is None:
        raise _no_s3_server(server)
    return answer[name]


def missing_bucket(address: S3Address) -> NotFound:
    """The error for a bucket that isn't there, with the way to make it."""
    return NotFound(
        f"there is no bucket {address.bucket} at {address.server}: make it with `deedbook init`, or have it made"
    )


def answered(error: Any, address: S3Address) -> DeedbookError:  # noqa: ANN401 (botocore's ClientError)
    """Return the error that says what S3 answered."""
    code, status = code_of(error), _status(error)
    if code == "NoSuchBucket":
        return missing_bucket(address)
    if code in _WRONG_KEYS:
        return AccessDenied(
            f"{address.server} does not accept the credentials: the key or its secret is wrong"
        )
    if code in _EXPIRED:
        return AccessDenied(f"the credentials for {address.server} have expired: fetch new ones")
    if code == "RequestTimeTooSkewed":
        return AccessDenied(
            f"{address.server} refuses this machine's clock: it differs too much from its own"
        )
    if code in _ELSEWHERE:
        return _wrong_region(error, address)
    if code in _DAMAGED:
        return ArtifactDamaged(f"the bytes did not arrive whole in {address.uri}; nothing was stored")
    if code in _FULL or status == 507:
        return StorageFull(f"no room left in {address.uri} ({code}); nothing was stored")
    if code in _AWAY or status >= 500:
        return StorageUnavailable(f"{address.server} can't answer now ({code}); try again")
    if code in _DENIED or status in {401, 403}:
        return _denied(error, address)
    return InvalidInput(f"{address.server} refused {error.operation_name} in {address.uri} ({code})")


def _status(error: Any) -> int:  # noqa: ANN401 (botocore's ClientError)
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _denied(error: Any, address: S3Address) -> AccessDenied:  # noqa: ANN401 (botocore's ClientError)
    action = _ACTIONS.get(error.operation_name, "s3:PutObject")
    hint = ""
    if action == "s3:GetObject":
        hint = " (without s3:ListBucket, S3 says the same of what isn't there)"
    return AccessDenied(f"the credentials do not allow {action} in {address.uri}{hint}")


def _wrong_region(error: Any, address: S3Address) -> InvalidInput:  # noqa: ANN401 (botocore's ClientError)
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = str(error.response.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region") or "")
    if not _REGION.fullmatch(region):
        return InvalidInput(
            f"the bucket {address.bucket} is in another region than the one asked: add ?region=… to the artifact URL"
        )
    return InvalidInput(
        f"the bucket {address.bucket} is in the region {region}: put region={region} into the artifact URL"
    )


def _of_the_library(error: Exception, address: S3Address) -> DeedbookError:
    """Return the error for what boto3 raised by itself: the nearest class with a sentence decides."""
    if isinstance(error, needed("botocore.parsers").ResponseParserError):
        return _no_s3_server(address.server)
    for cls in type(error).__mro__:
        if cls.__name__ in _LIBRARY_SENTENCES:
            kind, sentence = _LIBRARY_SENTENCES[cls.__name__]
            return kind(sentence.format(server=address.server, bucket=address.bucket))
    return InvalidInput(f"boto3 could not ask {address.server} ({type(error).__name__})")


def _no_s3_server(server: str) -> InvalidInput:
    return InvalidInput(
        f"what answers at {server} is not an S3 server: check the endpoint in the artifact URL"
    )
