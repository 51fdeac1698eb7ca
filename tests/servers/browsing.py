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
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, sync_playwright

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


# Charts are drawn anew when colours change: the canvases that were there give way to as many others.
DRAWN_ANEW = """before => before.every(one => !one.isConnected)
    && document.querySelectorAll("main canvas").length === before.length"""
# Describing what is in order takes longer than looking: it is counted alone.
LOOKED_AT = "axe.run({ resultTypes: ['violations'] }).then(found => found.violations)"


class Visit:
    """What a visitor does in a window: what its console says is kept, and any complaint fails the test at the end."""

    def __init__(self, page: Page, base: str) -> None:
        self.base = base
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", self._failed)
        page.on("request", self._noted)

    def leave(self) -> None:
        """Let go of the window."""
        self.page.remove_listener("console", self._said)
        self.page.remove_listener("pageerror", self._failed)
        self.page.remove_listener("request", self._noted)

    def _said(self, said: ConsoleMessage) -> None:
        if said.type in {"error", "warning"}:
            self.complaints.append(said.text)

    def _failed(self, error: Error) -> None:
        self.complaints.append(str(error))

    def _noted(self, request: Request) -> None:
        if not request.url.startswith((self.base, "data:", "blob:")):
            self.complaints.append(f"something from elsewhere: {request.url}")

    def open(self, path: str) -> Page:
        """Open a page of the site, and wait until it is all there."""
        self.page.goto(self.base + path)
        return self.page

    def look(self, *, dark: bool, size: tuple[int, int]) -> None:
        """Look at the page in dark colours or in light ones, on a screen of a size; wait until it is drawn so."""
        before = self.page.evaluate_handle("[...document.querySelectorAll('main canvas')]")
        width, height = size
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.emulate_media(color_scheme="dark" if dark else "light")
        self.page.wait_for_function(DRAWN_ANEW, arg=before)

    def problems(self) -> list[str]:
        """What a checker of accessibility finds on the page that is open, by all of its rules."""
        if self.page.evaluate("typeof axe") == "undefined":
            self.page.evaluate(Axe().axe_script)
        found = self.page.evaluate(LOOKED_AT)
        return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]


@contextmanager
def window(browser: Browser, *, script: bool = True) -> Iterator[Page]:
    """A window for one visit after another, with or without scripts: opening one costs as much as several pages."""
    width, height = WIDE
    context = browser.new_context(
        viewport={"width": width, "height": height},
        java_script_enabled=script,
        locale="en-GB",
        timezone_id="UTC",
    )
    try:
        yield context.new_page()
    finally:
        context.close()


@contextmanager
def visiting(page: Page, base: str) -> Iterator[Visit]:
    """A visit to a site: wide, in light colours, by somebody whom it doesn't know yet."""
    width, height = WIDE
    page.goto("about:blank")
    page.context.clear_cookies()
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme="light")
    visit = Visit(page, base)
    try:
        yield visit
        assert [] == visit.complaints
    finally:
        visit.leave()
