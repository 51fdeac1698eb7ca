"""Makes what the repository doesn't keep: the gRPC interface's code from its .proto, and the charts' script.

The build calls it for a wheel and for an editable installation, so that both hold the files named in `MADE`. Each
begins with a line that says what it was made from, and is made again only when that changed.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PROTO = Path("api/proto/deedbook/v1/registry.proto")
CODE = Path("api/v1")
STUBS = CODE / "registry_pb2_grpc.pyi"
SCRIPT = Path("service/web/static/vega.js")
MADE = (CODE / "registry_pb2.py", CODE / "registry_pb2.pyi", CODE / "registry_pb2_grpc.py", STUBS, SCRIPT)

_PACKAGE = "deedbook/api/v1"
_BEGINNING = "Made by api/generate.py, not to be edited; from"
_SCRIPT_HEAD = """
// Vega-Embed, with all of Vega and Vega-Lite behind it: one global, `vegaEmbed`. It is no module; load it before a
// script of the page's own. Under `script-src 'self'; style-src 'self'` nothing may be evaluated and no style be put
// into the page, so call it as
//     vegaEmbed(element, spec, {ast: true, actions: false, defaultStyle: false, tooltip: false})
// `ast: true` takes Vega's own interpreter of expressions, which is in here, instead of `new Function`.
"""
_SCRIPT_GLOBAL = "window.vegaEmbed = vegaEmbed;"


class Generated(BuildHookInterface[Any]):
    """The hook that hatchling calls before it packs or links the package."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - as hatchling calls it
        """Make what is missing or was made from something else."""
        generate(Path(self.root))


def generate(root: Path) -> None:
    """Make the files in `MADE` under `root`, those that aren't what they would be made to."""
    code_from = _fingerprint(root, PROTO, tools=("grpcio-tools",))
    script_from = _fingerprint(root, tools=("vl-convert-python",))
    if not all(_is_made_from(root / path, code_from) for path in MADE if path != SCRIPT):
        _make_code(root, code_from)
    if not _is_made_from(root / SCRIPT, script_from):
        import vl_convert

        # In a function of its own: what it declares is no business of the page's other scripts.
        script = f"(() => {{\n{vl_convert.javascript_bundle(_SCRIPT_GLOBAL)}\n}})();\n"
        _write(root / SCRIPT, f"// {_BEGINNING} {script_from}\n{_SCRIPT_HEAD.lstrip()}{script}")


def _fingerprint(root: Path, *sources: Path, tools: tuple[str, ...]) -> str:
    """Return what tells apart everything a file is made from: this program, its sources and its tools."""
    made_of = [hashlib.sha256((root / path).read_bytes()).hexdigest() for path in sources]
    made_of.append(hashlib.sha256(Path(__file__).read_bytes()).hexdigest())
    made_of += [f"{tool} {version(tool)}" for tool in tools]
    return hashlib.sha256("\n".join(made_of).encode()).hexdigest()


def _is_made_from(path: Path, fingerprint: str) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline().rstrip().endswith(f"{_BEGINNING} {fingerprint}")
    except FileNotFoundError:
        return False


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all: others may be reading the one that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=path.stem, suffix=".part", delete=False, encoding="utf-8", newline="\n"
    ) as file:
        file.write(text)
    made = Path(file.name)
    made.chmod(0o644)
    made.replace(path)


def _make_code(root: Path, fingerprint: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        command = [
            *(sys.executable, "-m", "grpc_tools.protoc"),
            # The code belongs into the package deedbook.api.v1: that is where it says its source is.
            f"-I{_PACKAGE}={(root / PROTO).parent}",
            *(f"--{output}={folder}" for output in ("python_out", "pyi_out", "grpc_python_out")),
            f"--descriptor_set_out={made / 'registry.binpb'}",
            f"{_PACKAGE}/{PROTO.name}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
        if done.returncode != 0:
            raise SystemExit(f"{PROTO} can't be made into code: {done.stderr.strip()}")
        texts = {path: made / _PACKAGE / path.name for path in MADE if path not in {SCRIPT, STUBS}}
        written = {path: source.read_text(encoding="utf-8") for path, source in texts.items()}
        # What protoc leaves open, strict type checkers ask for.
        types = CODE / "registry_pb2.pyi"
        written[types] = re.sub(r"(?<!as )\b_Mapping\b(?!\[)", "_Mapping[str, object]", written[types])
        written[CODE / "registry_pb2_grpc.py"] += (
            "\n\nRegistryAsyncStub = RegistryStub  # to type checkers another\n"
        )
        written[STUBS] = _stubs((made / "registry.binpb").read_bytes())
    for path, text in written.items():
        _write(root / path, f"# {_BEGINNING} {fingerprint}\n{text}")


_STUBS_HEAD = '''
"""Types of the client and server classes of the gRPC interface."""

from collections.abc import AsyncIterator, Awaitable

import grpc
import grpc.aio

from deedbook.api.v1 import registry_pb2 as pb
'''


def _stubs(descriptors: bytes) -> str:
    """Return the types of registry_pb2_grpc, which protoc leaves out.

    `RegistryAsyncStub` is `RegistryStub`, of an aio channel: another class to type checkers alone.
    """
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    methods = FileDescriptorSet.FromString(descriptors).file[0].service[0].method
    kinds = {
        (sent, answered): f"{'Stream' if sent else 'Unary'}{'Stream' if answered else 'Unary'}MultiCallable"
        for sent in (False, True)
        for answered in (False, True)
    }
    stub = ["class RegistryStub:", "    def __init__(self, channel: grpc.Channel) -> None: ..."]
    later = ["class RegistryAsyncStub:", "    def __init__(self, channel: grpc.aio.Channel) -> None: ..."]
    servicer = ["class RegistryServicer:"]
    for method in methods:
        request, answer = (
            f"pb.{name.rpartition('.')[2]}" for name in (method.input_type, method.output_type)
        )
        kind = kinds[method.client_streaming, method.server_streaming]
        stub.append(f"    {method.name}: grpc.{kind}[{request}, {answer}]")
        later.append(f"    {method.name}: grpc.aio.{kind}[{request}, {answer}]")
        given = (
            f"request_iterator: AsyncIterator[{request}]"
            if method.client_streaming
            else f"request: {request}"
        )
        context = f"context: grpc.aio.ServicerContext[{request}, {answer}]"
        answered = "AsyncIterator" if method.server_streaming else "Awaitable"
        servicer.append(f"    def {method.name}(self, {given}, {context}) -> {answered}[{answer}]: ...")
    added = [
        "def add_RegistryServicer_to_server(",
        "    servicer: RegistryServicer, server: grpc.Server | grpc.aio.Server",
        ") -> None: ...",
    ]
    return "\n".join([_STUBS_HEAD.lstrip(), *stub, "", *later, "", *servicer, "", *added, ""])
