"""What holds for every test: no setting of the person running it, no time limit on a generated example."""

import logging
import os

import pytest
from hypothesis import settings

from tests.servers.demo_data import demo_told, demo_told_on_kafka
from tests.servers.shared import (
    kafka,
    kafka_url,
    pytest_configure,
    pytest_configure_node,
    pytest_unconfigure,
    s3,
    s3_client,
    s3_place,
)

# Real servers and real data, for the tests that ask for them.
__all__ = [
    "demo_told",
    "demo_told_on_kafka",
    "kafka",
    "kafka_url",
    "pytest_configure",
    "pytest_configure_node",
    "pytest_unconfigure",
    "s3",
    "s3_client",
    "s3_place",
]

# Files with few tests that take long: begun first, so that no process is left alone with one at the end.
LONG = (
    "test_browser",
    "test_copying_kafka",
    "test_demo",
    "test_faust_worker",
    "test_kafka_",
    "test_races",
    "test_sandbox_isolation",
    "test_serve",
    "test_servers",
    "test_serving",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the long files first, all else left in order."""
    items.sort(key=lambda item: not item.path.name.startswith(LONG))


# Examples may take as long as they take: a slow machine is no failure. In CI they are the same ones each time.
settings.register_profile("deedbook", deadline=None, print_blob=True, derandomize="CI" in os.environ)
settings.load_profile("deedbook")


@pytest.fixture(autouse=True)
def no_settings_of_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without deedbook's variables, but for those that tell the tests themselves something."""
    for name in os.environ:
        if name.startswith("DEEDBOOK_") and not name.startswith("DEEDBOOK_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def no_logging_left_behind() -> None:
    """The command line sets up logging for a program's whole life: here it ends with the test that ran it."""
    root = logging.getLogger()
    root.handlers[:] = [
        handler for handler in root.handlers if type(handler).__module__ != "deedbook.cli.app"
    ]
