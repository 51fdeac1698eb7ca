"""A boto3 client for one store: finite time-outs, bounded retries, credentials from boto3's own chain."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deedbook.events.errors import MissingExtra

if TYPE_CHECKING:
    from types import ModuleType

    from deedbook.artifacts.s3.address import S3Address

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class S3Limits:
    """How long S3 is waited for, and how much is sent at once.

    A request takes at most `attempts` x (`connect_seconds` + `read_seconds`) and the pauses between
    (a few seconds); a download at least `min_bytes_per_second` beyond that. A file larger than
    `multipart_over_bytes` goes in parts of `part_bytes` (larger where 10,000 such parts would not do),
    `threads` of them at a time, but no more than `window_bytes` in memory where parts are large.
    """

    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    attempts: int = 3
    min_bytes_per_second: int = 16 << 10
    multipart_over_bytes: int = 16 * _MIB
    part_bytes: int = 8 * _MIB
    threads: int = 4
    window_bytes: int = 64 * _MIB


def needed(module: str) -> ModuleType:
    """Import a part of boto3, or say which extra brings it (MissingExtra)."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtra("artifacts in S3 need boto3: pip install 'deedbook[s3]'") from None


def new_client(address: S3Address, limits: S3Limits) -> Any:  # noqa: ANN401 (boto3 makes its clients' classes at run time)
    """Make a client with a session of its own: nothing of it is shared with another thread or process.

    No request is made. Raises MissingExtra, and what botocore raises on broken configuration files.
    """
    session = needed("boto3").session.Session()
    addressing = {} if address.endpoint is None else {"addressing_style": "path"}
    config = needed("botocore.config").Config(
        connect_timeout=limits.connect_seconds,
        read_timeout=limits.read_seconds,
        retries={"mode": "standard", "total_max_attempts": limits.attempts},
        max_pool_connections=max(10, limits.threads),
        # The SHA-256 of what is sent is always given, and what comes is compared with the digest it is named by.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3=addressing,
    )
    # A server of one's own signs for some region: whichever, as long as both sides say the same.
    region = address.region or session.region_name or ("us-east-1" if address.endpoint else None)
    client = session.client("s3", endpoint_url=address.endpoint, region_name=region, config=config)
    client.meta.events.register_last("before-parameter-build.s3", _follow_no_redirect)
    return client


def _follow_no_redirect(context: dict[str, Any], **_: object) -> None:
    """Tell botocore that it has followed a redirect to another region already.

    It would look for the right region by itself, at each start and for several requests, and without end
    where a server names none; an address that is wrong is to be mended once instead.
    """
    context.setdefault("s3_redirect", {})["redirected"] = True
