"""skops files (scikit-learn): bounded before they are inflated, and loaded only from known types.

A skops file is a zip of arrays and a `schema.json` that names the classes to build. The library
(`skops.io`) is handed in by the caller, so that importing this module costs nothing.
"""

from __future__ import annotations

import io
import re
import zipfile
from typing import TYPE_CHECKING, Any

from deedbook.events.errors import InvalidInput

if TYPE_CHECKING:
    from types import ModuleType

MAX_MEMBERS = 20_000
MAX_INFLATED_BYTES = 1 << 30
MAX_SCHEMA_BYTES = 64 << 20

# scikit-learn's own model classes that skops itself does not vouch for: trees, kernels, losses,
# neighbour indexes, calibrators. Classes only, and only from the packages that hold models: skops
# checks a file's types, not its contents, so a crafted tree can still crash the process that uses
# it; that is why an unvalidated model is loaded in the sandbox only.
_SKLEARN_MODEL_CLASS = re.compile(
    r"sklearn\.(_loss|calibration|cluster|compose|covariance|cross_decomposition|decomposition"
    r"|discriminant_analysis|ensemble|gaussian_process|isotonic|kernel_ridge|linear_model|metrics\._dist_metrics"
    r"|mixture|multiclass|multioutput|naive_bayes|neighbors|neural_network|svm|tree)"
    r"(\.[a-z0-9_]+)*\._?[A-Z][A-Za-z0-9]*",
    re.ASCII,
)


def save(skops: ModuleType, model: object) -> bytes:
    """Write a fitted scikit-learn model; InvalidInput if it would not load again."""
    try:
        data = bytes(skops.dumps(model))
    except Exception as error:  # skops promises no type of its own for what it can't write
        message = f"skops can't write this {type(model).__qualname__}: {error}"
        raise InvalidInput(message) from error
    _check_sizes(data)
    _accepted_types(skops, data)
    return data


def load(skops: ModuleType, data: bytes) -> Any:  # noqa: ANN401 (a scikit-learn estimator)
    """Build the model from bounded bytes and known types; InvalidInput otherwise."""
    _check_sizes(data)
    trusted = _accepted_types(skops, data)
    try:
        return skops.loads(data, trusted=trusted)
    except MemoryError:
        raise
    except Exception as error:  # a broken file makes skops and NumPy raise almost anything
        message = f"the skops file is broken: {type(error).__name__}: {error}"
        raise InvalidInput(message) from error


def _check_sizes(data: bytes) -> None:
    """Add up what the members say they inflate to; zipfile reads no more than that from each."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError) as error:
        message = f"the skops file is broken: {error}"
        raise InvalidInput(message) from error
    sizes = {member.filename: member.file_size for member in members}
    if "schema.json" not in sizes:
        message = "the model is a zip file, but not a skops file: it has no schema.json"
        raise InvalidInput(message)
    if len(members) > MAX_MEMBERS:
        message = f"the skops file has {len(members)} members; at most {MAX_MEMBERS} are read"
        raise InvalidInput(message)
    inflated_bytes = sum(member.file_size for member in members)
    if inflated_bytes > MAX_INFLATED_BYTES or sizes["schema.json"] > MAX_SCHEMA_BYTES:
        message = (
            f"the skops file would inflate to {inflated_bytes} bytes; at most {MAX_INFLATED_BYTES} are read"
        )
        raise InvalidInput(message)


def _accepted_types(skops: ModuleType, data: bytes) -> list[str]:
    """Return the types the file needs beyond skops' own list, if all are scikit-learn's."""
    try:
        needed: list[str] = skops.get_untrusted_types(data=data)
    except MemoryError:
        raise
    except Exception as error:  # as in load
        message = f"the skops file is broken: {type(error).__name__}: {error}"
        raise InvalidInput(message) from error
    refused = sorted(name for name in needed if not _SKLEARN_MODEL_CLASS.fullmatch(name))
    if refused:
        named = ", ".join(name[:200] for name in refused[:5]) + (", …" if len(refused) > 5 else "")
        message = f"the skops file needs types that are not trusted: {named}"
        raise InvalidInput(message)
    return needed
