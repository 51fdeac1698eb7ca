"""The pictures in the README, taken anew: `make pictures`, after `make demo`, whose data they show."""

from __future__ import annotations

import shutil
import sys
import tempfile
import types
from pathlib import Path

from playwright.sync_api import sync_playwright

if __name__ == "__main__":  # other people's packages are called `tests`, too: this one is found by its folder
    tests = sys.modules["tests"] = types.ModuleType("tests")
    tests.__path__ = [str(Path(__file__).parents[1])]

from tests.servers.browsing import chromium, served

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / ".deedbook-demo" / "registry"
IMAGES = ROOT / "docs" / "images"
SIZE = {"width": 1180, "height": 900}


def main() -> int:
    """Serve a copy of the demo's registry, and take a picture of each of the two pages."""
    if not DEMO.exists():
        sys.stderr.write("There is no demo to take pictures of: run make demo first.\n")
        return 2
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        registry = Path(shutil.copytree(DEMO, Path(folder) / "registry"))
        with served(registry, "--no-validation") as site, sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            page = browser.new_page(viewport=SIZE, color_scheme="light", device_scale_factor=1.25)  # type: ignore[arg-type]
            page.goto(f"{site.web}/model?name=home-price")
            page.wait_for_load_state("networkidle")
            page.wait_for_timeout(1_000)
            page.locator("section[aria-labelledby=over-time]").screenshot(path=IMAGES / "mse-by-city.png")
            page.goto(f"{site.web}/failures")
            page.screenshot(path=IMAGES / "failed-validations.png")
            browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
