"""What docs/api.md says of the gRPC interface, held against the interface itself."""

import ast
import re
from pathlib import Path

import grpc
import pytest

from deedbook.api.errors import INTERNAL, SAYINGS
from deedbook.api.v1 import registry_pb2 as pb
from deedbook.api.v1.registry_pb2_grpc import RegistryStub
from deedbook.service.access.calls import PERMISSIONS, permission_of_subscription

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/api.md").read_text(encoding="utf-8")
CALLS = dict(pb.DESCRIPTOR.services_by_name["Registry"].methods_by_name)


def rows(title: str) -> list[list[str]]:
    """The rows of the table under a heading, their cells without marks."""
    section = TEXT.split(f"\n## {title}\n")[1].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [
        [re.sub("^`(.*)`$", r"\1", cell.strip()) for cell in line.strip("|").split("|")] for line in lines[1:]
    ]


def test_every_call_is_there_with_the_permission_it_needs() -> None:
    """In a line of its own; a subscription's permission depends on its topic."""
    needed = {name.rpartition("/")[2]: str(permission) for name, permission in PERMISSIONS.items()}
    wide, narrow = permission_of_subscription("registry"), permission_of_subscription("deployments")
    needed["Subscribe"] = f"{wide}, or {narrow} for the topic `deployments`"

    assert [[name, needed.get(name)] for name in sorted(CALLS)] == sorted(row[:2] for row in rows("Calls"))


@pytest.mark.parametrize("name", sorted(name for name, call in CALLS.items() if call.server_streaming))
def test_what_streams_says_so(name: str) -> None:
    """Whoever reads the table knows which calls answer more than once."""
    (line,) = (what for call, _, what in rows("Calls") if call == name)

    assert line.endswith("(stream)")


def test_every_error_is_there_with_its_code_and_class() -> None:
    """As the service says it and as the client raises it."""
    said = {(s.code.name, s.reason, cls.__name__) for cls, s in SAYINGS.items()}
    said.add((grpc.StatusCode.INTERNAL.name, INTERNAL, "DeedbookError"))

    assert said == {(code, reason, cls) for code, reason, cls, _ in rows("Errors")}


def test_the_python_example_names_what_there_is() -> None:
    """Its calls, messages and fields exist, and it is whole."""
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    messages = [
        (node.func.attr, keyword.arg)
        for node in calls
        for keyword in node.keywords
        if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "pb"
    ]
    asked = [
        node.func.attr
        for node in calls
        if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "stub"
    ]

    assert messages
    assert [] == [
        f"{name}.{field}"
        for name, field in messages
        if field not in pb.DESCRIPTOR.message_types_by_name[name].fields_by_name
    ]
    with grpc.insecure_channel("127.0.0.1:1") as channel:
        assert [] == [name for name in asked if not hasattr(RegistryStub(channel), name)]
