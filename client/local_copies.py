"""What a host keeps beside itself, so that it can boot when the registry is away.

A copy of a deployment is what the registry said of one release; a release is bound once, so a copy
does not grow old. Artifacts are kept under their digest and verified when read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

from deedbook.artifacts.store import LocalArtifactStore, checked_digest
from deedbook.events.errors import ArtifactDamaged, DeedbookError
from deedbook.projector.queries import BoundModel, Deployment

if TYPE_CHECKING:
    from pathlib import Path


class LocalCopies:
    """The copies in a folder, which is made when the first is kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._artifacts = LocalArtifactStore(folder / "artifacts")

    def keep_deployment(self, url: str, deployment: Deployment) -> None:
        """Keep what the registry at a URL said of a release: the whole new copy, or the one before."""
        file = self._file(url, deployment.service, deployment.environment, deployment.release)
        text = json.dumps(asdict(deployment), default=datetime.isoformat, ensure_ascii=False)
        draft = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("x", encoding="utf-8") as opened:
                opened.write(text)
                opened.flush()
                os.fsync(opened.fileno())
            draft.replace(file)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise DeedbookError(
                f"no copy of the deployment can be kept in {self._folder}: {error.strerror}"
            ) from error

    def deployment(self, url: str, service: str, environment: str, release: str) -> Deployment | None:
        """Return the copy of what a registry said of a release, None where there is no usable one."""
        try:
            plain = json.loads(self._file(url, service, environment, release).read_text(encoding="utf-8"))
            models = tuple(BoundModel(**model) for model in plain.pop("models"))
            plain["requested_at"] = datetime.fromisoformat(plain["requested_at"])
            found = Deployment(**plain, models=models)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        same = (found.service, found.environment, found.release) == (service, environment, release)
        return found if same and found.decision == "accepted" else None

    def keep_artifact(self, data: bytes) -> None:
        """Keep an artifact's bytes."""
        self._artifacts.put(data)

    def artifact(self, sha256: str) -> bytes | None:
        """Return an artifact's bytes, None where no undamaged copy is here."""
        try:
            return self._artifacts.fetch(sha256)
        except ArtifactDamaged:
            # The registry's bytes can take its place; the store itself never overwrites.
            digest = checked_digest(sha256)
            with contextlib.suppress(OSError):
                (self._folder / "artifacts" / "sha256" / digest[:2] / digest).unlink()
            return None
        except DeedbookError:
            return None

    def _file(self, url: str, service: str, environment: str, release: str) -> Path:
        # Names may hold anything: the file is named after their digest.
        key = json.dumps([url, service, environment, release], ensure_ascii=True)
        return self._folder / "deployments" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
