"""Where in S3 a store is: what an `s3://bucket/prefix?endpoint=…&region=…` URL says, strictly read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlsplit

from deedbook.events.errors import InvalidInput

_SCHEME = "s3://"
_BUCKET = re.compile(r"(?=.{3,63}\Z)[a-z0-9](?:[a-z0-9.-]*[a-z0-9])")
_IP_ADDRESS = re.compile(r"\d+(?:\.\d+){3}")
# S3 keeps these for itself: a bucket can't have such a name, and an alias that has one can't be written to.
_RESERVED_STARTS = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_ENDS = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
_SEGMENT = re.compile(r"[A-Za-z0-9_=+.-]+")
_REGION = re.compile(r"[a-z0-9-]{1,40}")
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\]", re.IGNORECASE)
_MAX_PREFIX_CHARACTERS = 512
_FORM = "s3://bucket/prefix?endpoint=https://host&region=name"


@dataclass(frozen=True, slots=True)
class S3Address:
    """A bucket, a prefix in it (may be empty), and where its server is (None: as boto3 is configured)."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None

    @property
    def uri(self) -> str:
        """The bucket and prefix as `s3://bucket/prefix`."""
        return _SCHEME + "/".join(part for part in (self.bucket, self.prefix) if part)

    @property
    def server(self) -> str:
        """The server as people name it: the endpoint's address, or S3."""
        return self.endpoint or "S3"

    def key(self, sha256: str) -> str:
        """The key of the artifact with this (checked) digest."""
        return "/".join(part for part in (self.prefix, "sha256", sha256[:2], sha256) if part)

    def uri_of(self, sha256: str) -> str:
        """The URI of the artifact with this (checked) digest."""
        return f"{_SCHEME}{self.bucket}/{self.key(sha256)}"


def s3_address(url: str) -> S3Address:
    """Return the address that the URL names.

    No message repeats the URL, as people paste credentials into URLs. Raises InvalidInput (not of the
    form above, credentials in it, no possible bucket name, an unknown query key, no server's address).
    """
    if not url.startswith(_SCHEME):
        raise InvalidInput(f"an S3 URL looks like {_FORM}")
    parts = _split(url)
    if "@" in parts.netloc:
        raise InvalidInput(
            "an artifact URL must not hold credentials: remove what stands before the @, and give keys as"
            " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or in boto3's files"
        )
    if parts.fragment or "#" in url:
        raise InvalidInput(f"an S3 URL has no part after a #: it looks like {_FORM}")
    given = _query(parts.query)
    return S3Address(
        checked_bucket(parts.netloc),
        _checked_prefix(parts.path),
        _checked_endpoint(given["endpoint"]) if "endpoint" in given else None,
        _checked_region(given["region"]) if "region" in given else None,
    )


def checked_bucket(name: str) -> str:
    """Return the bucket's name unchanged if S3 allows such a name, else InvalidInput."""
    if (
        not _BUCKET.fullmatch(name)
        or ".." in name
        or _IP_ADDRESS.fullmatch(name)
        or name.startswith(_RESERVED_STARTS)
        or name.endswith(_RESERVED_ENDS)
    ):
        # What stands here instead of a bucket may be a secret that was pasted wrongly: it is not repeated.
        raise InvalidInput(
            "the S3 URL names no possible bucket: 3 to 63 lower-case letters, digits, dots and hyphens, with a"
            " letter or digit at both ends, and none of the names that S3 keeps for itself"
        )
    return name


def _split(url: str) -> SplitResult:
    # urlsplit drops tabs and line breaks silently: what is not plain printable text is refused before.
    if not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidInput("an S3 URL holds printable ASCII characters only, and no spaces")
    try:
        return urlsplit(url)
    except ValueError:
        raise InvalidInput(f"an S3 URL looks like {_FORM}") from None


def _query(query: str) -> dict[str, str]:
    if not query:
        return {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, max_num_fields=10)
    except ValueError:
        raise InvalidInput(f"what follows the ? of an S3 URL is not key=value&key=value: {_FORM}") from None
    given = dict(pairs)
    if given.keys() - {"endpoint", "region"}:
        raise InvalidInput(
            "an S3 URL knows the query keys endpoint and region, and no other; credentials go into boto3's own"
            " places"
        )
    if len(given) != len(pairs):
        raise InvalidInput("an S3 URL gives endpoint and region once each")
    return given


def _checked_prefix(path: str) -> str:
    prefix = path.removeprefix("/").removesuffix("/")
    segments = prefix.split("/") if prefix else []
    if len(prefix) > _MAX_PREFIX_CHARACTERS or not all(
        _SEGMENT.fullmatch(segment) and segment.strip(".") for segment in segments
    ):
        raise InvalidInput(
            f"the prefix in an S3 URL is at most {_MAX_PREFIX_CHARACTERS} letters, digits and _ = + . - between"
            " single slashes"
        )
    return prefix


def _checked_region(region: str) -> str:
    if not _REGION.fullmatch(region):
        raise InvalidInput("the region in an S3 URL is a name like eu-central-1")
    return region


def _checked_endpoint(endpoint: str) -> str:
    sentence = "the endpoint in an S3 URL is the address of a server, like https://host or http://host:9000"
    if not endpoint.isascii() or not endpoint.isprintable() or " " in endpoint:
        raise InvalidInput(sentence)
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:
        raise InvalidInput(sentence) from None
    if "@" in endpoint:
        raise InvalidInput(
            "the endpoint in an S3 URL must not hold credentials: remove what stands before the @"
        )
    host = parts.netloc.removesuffix(f":{port}") if port is not None else parts.netloc
    plain = parts.path in {"", "/"} and not (
        parts.query or parts.fragment or "?" in endpoint or "#" in endpoint
    )
    if parts.scheme not in {"http", "https"} or not _HOST.fullmatch(host) or port == 0 or not plain:
        raise InvalidInput(sentence)
    return endpoint.removesuffix("/")
