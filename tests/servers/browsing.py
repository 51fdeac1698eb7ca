"""A real Chromium for the tests of the pages, and what it is asked to look at: the demo's registry, served."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

PATIENCE_SECONDS = 60.0
NAMES = ("chromium", "chromium-browser", "google-chrome")
WIDE, NARROW = (1280, 900), (390, 844)


def chromium() -> str:
    """Where Chromium is; a test that needs it is skipped where there is none."""
    wanted = os.environ.get("DEEDBOOK_TEST_CHROMIUM", "")
    for name in (wanted,) if wanted else NAMES:
        if found := shutil.which(name):
            return found
    pytest.skip(
        "there is no Chromium here: install the package chromium, or name one in DEEDBOOK_TEST_CHROMIUM"
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium without a window."""
    path = chromium()
    with sync_playwright() as play:
        # Its sandbox needs what containers and the superuser don't have; only our own pages are opened.
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass(frozen=True)
class Site:
    """A served registry, and the addresses it listens on."""

    web: str
    grpc: str
    folder: Path
    process: subprocess.Popen[bytes]


@contextmanager
def served(folder: Path, *arguments: str, url: str = "", **settings: str) -> Iterator[Site]:
    """Serve the registry in a folder, or the one of another URL that is folded there, until the block ends.

    As somebody in a shell does; ``settings`` are variables of the environment.
    """
    command = [sys.executable, "-m", "deedbook.cli", "--url", url or f"sqlite:///{folder}", "serve"]
    command += ["--web", "127.0.0.1:0", "--grpc", "127.0.0.1:0", *arguments]
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **settings} | ({"DEEDBOOK_FOLDER": str(folder)} if url else {})
    note = folder / "serving.json"
    note.unlink(missing_ok=True)
    with (folder / "serve.log").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not note.exists():
            assert process.poll() is None, (folder / "serve.log").read_text()
            assert time.monotonic() < deadline, "deedbook serve says nowhere where it listens"
            time.sleep(0.02)
        where = json.loads(note.read_text(encoding="utf-8"))
        yield Site(where["web"], where["grpc"], folder, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


class Visit:
    """A visitor's window: what its console says is kept, and any complaint in it fails the test at the end."""

    def __init__(self, context: BrowserContext, base: str) -> None:
        self.base = base
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.page.on(
            "console",
            lambda said: self.complaints.append(said.text) if said.type in {"error", "warning"} else None,
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._noted)

    def _noted(self, request: object) -> None:
        url = str(getattr(request, "url", ""))
        if not url.startswith((self.base, "data:", "blob:")):
            self.complaints.append(f"something from elsewhere: {url}")

    def open(self, path: str) -> Page:
        """Open a page of the site, and wait until it is all there."""
        self.page.goto(self.base + path)
        return self.page

    def problems(self, *rules: str) -> list[str]:
        """What a checker of accessibility finds on the page that is open, by all of its rules or by these alone."""
        # What is in order is counted, not described: describing it takes longer than looking.
        options: dict[str, object] = {"resultTypes": ["violations"]}
        if rules:
            options["runOnly"] = {"type": "rule", "values": list(rules)}
        found = Axe().run(self.page, options=options).response["violations"]
        return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]


@contextmanager
def visiting(
    browser: Browser, base: str, *, dark: bool = False, size: tuple[int, int] = WIDE, script: bool = True
) -> Iterator[Visit]:
    """A window on a site, in light or dark, wide or narrow, with or without scripts."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        java_script_enabled=script,
        locale="en-GB",
        timezone_id="UTC",
    )
    try:
        visit = Visit(context, base)
        yield visit
        assert [] == visit.complaints
    finally:
        context.close()
