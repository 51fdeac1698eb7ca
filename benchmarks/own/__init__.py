"""deedbook's own benchmarks, each with the limit it is held against: what any program must do to the same end."""

from typing import Final

DEEDBOOK: Final = "deedbook"
ITSELF: Final = "itself"
BARE_GRPC: Final = "bare gRPC"
