"""What one caller can take of the gRPC interface: sizes in bytes, times in seconds.

What a person can set is in the service's settings; this is what the interface's contract fixes.
"""

from __future__ import annotations

from typing import Final

# What a gRPC client takes unless it is told otherwise, so the most that any answer may have.
MAX_ANSWER_BYTES: Final = 4 << 20
# A page stops growing here: room for one more entry, and for the frame around them.
FULL_PAGE_BYTES: Final = 3 << 20
MAX_METADATA_BYTES: Final = 16 << 10
CHUNK_BYTES: Final = 1 << 20

DEFAULT_PAGE_SIZE: Final = 50
MAX_BATCH: Final = 1_000
MAX_FILTERS: Final = 100
POINTS_PER_MESSAGE: Final = 20_000
TRAININGS_AT_ONCE: Final = 16

# Of a whole upload or download, where the caller gives no deadline.
MAX_TRANSFER_SECONDS: Final = 6 * 3600.0

DEFAULT_HEARTBEAT_SECONDS: Final = 15
MAX_HEARTBEAT_SECONDS: Final = 300
DEFAULT_ROWS: Final = 10_000
MAX_ROWS: Final = 1_000_000
