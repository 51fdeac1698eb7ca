"""`deedbook serve` as the program that people run: it starts, answers, and ends; and who it lets in where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from tests.command import Command
from tests.serving.program import Served, served

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service on a folder where nothing was before."""
    with served(tmp_path_factory.mktemp("served") / "registry") as service:
        yield service


def test_an_empty_folder_becomes_a_registry_that_is_ready(service: Served) -> None:
    """Nothing has to be made beforehand."""
    answer = httpx.get(f"{service.web}/readyz").json()

    assert (True, []) == (answer["ready"], answer["problems"])


def test_a_process_that_answers_lives(service: Served) -> None:
    """Whoever watches over processes asks no more than that."""
    assert (200, "ok\n") == ((answer := httpx.get(f"{service.web}/healthz")).status_code, answer.text)


def test_a_second_one_on_the_same_folder_says_who_serves_it(service: Served) -> None:
    """It ends with one sentence that names the first."""
    second = Command(service.folder).program("serve", "--web", "127.0.0.1:0", "--grpc", "127.0.0.1:0")

    assert 1 == second.status
    assert (
        f"deedbook: {service.folder} is kept by deedbook serve at {service.web} and {service.grpc}, process "
        f"{service.process.pid} already\n"
    ) == second.err
