"""The house itself: which way imports run, what is packaged, what an import costs, and tidiness."""

import ast
import functools
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# Each floor may lean on itself and on the floors named here, and on no other.
BELOW: dict[str, set[str]] = {
    "events": set(),
    "artifacts": {"events"},
    "projector": {"events", "artifacts"},
    "consumers": {"events", "artifacts", "projector"},
    "api": {"events", "artifacts", "projector"},
    "client": {"events", "artifacts", "projector", "api"},
    "service": {"events", "artifacts", "projector", "consumers", "api"},
    "cli": {"events", "artifacts", "projector", "consumers", "api", "client", "service"},
}
# The pure modules, and what they may lean on besides the standard library. The fold may be told in several
# modules of its floor: those are held to the same.
PURE: dict[str, tuple[str, ...]] = {
    "events/facts.py": (),
    "projector/fold.py": ("events/facts.py", "projector/*.py"),
}
# What a pure module has no use for: clocks, chance, the environment, files, processes and networks.
IMPURE = {
    *(
        "asyncio",
        "datetime",
        "glob",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "random",
        "secrets",
    ),
    *(
        "shutil",
        "signal",
        "socket",
        "sqlite3",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "urllib",
    ),
}
# The modules besides the command line that may look at the environment: where other people's programs come in.
FRONT_DOORS = {"client/registry.py", "client/serving.py"}

MAX_LINES = 400
# One dataclass for each event is a table to look things up in; cut in two it would only be harder to find.
LONGER = {"events/facts.py": 600}
# What api/generate.py makes when the package is built: in the wheel, not in the repository, and nobody's prose.
GENERATED = {
    Path("api/v1/registry_pb2.py"),
    Path("api/v1/registry_pb2.pyi"),
    Path("api/v1/registry_pb2_grpc.py"),
    Path("api/v1/registry_pb2_grpc.pyi"),
    Path("service/web/static/vega.js"),
}
# What makes them: of no use where the package is installed.
BUILDS = {Path("api/generate.py")}
SAYS_NOTHING = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "base", "misc"}


def tracked_files() -> list[Path]:
    """The files that git tracks and that exist, relative to the root."""
    if not (ROOT / ".git").exists():
        pytest.skip("the tracked files are known in a git checkout only")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    names = listed.stdout.decode().rstrip("\0").split("\0")
    return [Path(name) for name in names if (ROOT / name).is_symlink() or (ROOT / name).is_file()]


def floor_modules() -> list[Path]:
    """The Python files of all floors that somebody wrote, relative to the root."""
    found = {path.relative_to(ROOT) for floor in BELOW for path in (ROOT / floor).rglob("*.py")}
    return sorted(found - GENERATED)


@functools.cache
def parsed(module: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse((ROOT / module).read_text(encoding="utf-8"), str(module))


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Every module an import statement names, wherever it stands; of `from a import b`, both `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def top(name: str) -> str:
    """The first part of a dotted name."""
    return name.partition(".")[0]


def uphill(floor: str, names: Iterator[str]) -> list[str]:
    """Those of the imported names that belong to a floor on which `floor` may not lean."""
    allowed = {floor, *BELOW[floor]}
    parts = ((name, name.split(".")) for name in names)
    return [
        name
        for name, (first, *rest) in parts
        if first == "deedbook" and rest and rest[0] in BELOW.keys() - allowed
    ]


# --- imports -----------------------------------------------------------------------------------


def test_every_floor_is_linked_into_the_namespace() -> None:
    """The links under src/deedbook are the floors, each by a relative path."""
    links = {
        link.name: str(link.readlink()) for link in (ROOT / "src/deedbook").iterdir() if link.is_symlink()
    }

    assert {floor: f"../../{floor}" for floor in BELOW} == links


def test_imports_run_downhill_only() -> None:
    """No module imports from a floor above its own, nor from the one beside it."""
    found = {module: uphill(module.parts[0], imports_of(parsed(module))) for module in floor_modules()}

    assert {} == {module: names for module, names in found.items() if names}


@pytest.mark.parametrize(
    ("floor", "statement"),
    [
        ("events", "import deedbook.projector.store"),
        ("projector", "from deedbook import client"),
        ("client", "def later():\n    from deedbook.consumers.checks import run"),
        ("consumers", "from deedbook.client.registry import connect"),
    ],
)
def test_an_uphill_import_is_noticed(floor: str, statement: str) -> None:
    """The test above sees each way of writing an import."""
    assert [] != uphill(floor, imports_of(ast.parse(statement)))


def reached_from(module: str) -> tuple[set[str], set[str]]:
    """The modules of the floors that importing `module` leads to, itself included, and the foreign libraries."""
    reached: set[str] = set()
    foreign: set[str] = set()
    waiting = {module}
    while waiting:
        reached |= waiting
        names = {name for path in waiting for name in imports_of(parsed(Path(path)))}
        foreign |= {top(name) for name in names if top(name) != "deedbook"}
        paths = {
            name.removeprefix("deedbook.").replace(".", "/") + ".py"
            for name in names
            if top(name) == "deedbook"
        }
        waiting = {path for path in paths if (ROOT / path).is_file()} - reached
    return reached, foreign


@pytest.mark.parametrize("module", PURE)
def test_the_facts_and_the_fold_lean_on_nothing_impure(module: str) -> None:
    """They import the standard library's pure parts, and of deedbook just what they must."""
    reached, foreign = reached_from(module)

    assert [] == [
        path for path in reached - {module} if not any(Path(path).match(own) for own in PURE[module])
    ]
    assert set() == foreign - set(sys.stdlib_module_names)
    assert set() == foreign & IMPURE


def test_importing_deedbook_costs_no_heavy_library() -> None:
    """A training job that imports deedbook gets none of the server's libraries with it."""
    heavy = {"duckdb", "pyarrow", "pyruhvro", "numpy", "pandas", "altair", "rich", "typer", "grpc", "faust"}
    heavy |= {"boto3", "botocore", "confluent_kafka"}
    program = f"import sys, deedbook; print(sorted({heavy} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert ("[]\n", "") == (done.stdout, done.stderr)


# --- packages ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files, as a fresh clone has them."""
    copy = tmp_path_factory.mktemp("checkout")
    for path in tracked_files():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, copy / path, follow_symlinks=False)
    return copy


def build(target: str, source: Path, into: Path) -> Path:
    """The one archive that building `source` leaves in `into`; nothing is fetched."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(into)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    (archive,) = into.iterdir()
    return archive


def members(wheel: Path) -> dict[str, bytes]:
    """A wheel's files and what is in them, without its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that a fresh clone builds."""
    return build("wheel", checkout, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_exactly_the_tracked_files_of_the_floors(wheel: Path, checkout: Path) -> None:
    """Nothing is forgotten, nothing slips in but what is made, and every file is what the tree holds."""
    own = [Path("src/deedbook/__init__.py"), Path("src/deedbook/py.typed")]
    floors = {path for path in tracked_files() if path.parts[0] in BELOW} - BUILDS
    expected = {f"deedbook/{path.name}": (ROOT / path).read_bytes() for path in own}
    expected |= {f"deedbook/{path.as_posix()}": (ROOT / path).read_bytes() for path in floors}
    expected |= {f"deedbook/{path.as_posix()}": (checkout / path).read_bytes() for path in GENERATED}

    packed = members(wheel)

    assert sorted(expected) == sorted(packed)
    assert expected == packed


def test_the_source_archive_builds_the_same_wheel(checkout: Path, wheel: Path, tmp_path: Path) -> None:
    """Whoever has the source archive alone can build what we ship."""
    archive = build("sdist", checkout, tmp_path / "sdist")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")

    source = tmp_path / archive.name.removesuffix(".tar.gz")
    assert [] == [str(path) for path in GENERATED if (source / path).exists()]

    rebuilt = build("wheel", source, tmp_path / "rebuilt")

    assert members(wheel) == members(rebuilt)


def pinned() -> dict[str, set[str]]:
    """The pinned versions of each package; a package may have one for each Python."""
    versions: dict[str, set[str]] = {}
    for line in (ROOT / "requirements/dev.txt").read_text(encoding="utf-8").splitlines():
        found = re.match(r"([a-z0-9-]+)==([^ ;]+)", line)
        if found:
            versions.setdefault(found[1], set()).add(found[2])
    return versions


def asked_for() -> list[Requirement]:
    """What pyproject.toml asks for, in any extra and to build."""
    project = PYPROJECT["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    every = [
        Requirement(line)
        for line in [*project["dependencies"], *PYPROJECT["build-system"]["requires"], *extras]
    ]
    return sorted({requirement for requirement in every if requirement.name != "deedbook"}, key=str)


@pytest.mark.parametrize("requirement", asked_for(), ids=str)
def test_the_pins_satisfy_the_project(requirement: Requirement) -> None:
    """Every library asked for is pinned, at a version that is wanted."""
    versions = pinned().get(requirement.name, set())

    assert versions
    assert set() == {version for version in versions if version not in requirement.specifier}


def test_every_pin_has_a_hash() -> None:
    """No package is installed whose content is not known beforehand."""
    for name in ("dev.txt", "pins.txt"):
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]

        assert [] == [block.split(" ")[0] for block in blocks if "--hash=sha256:" not in block]


def test_the_version_is_said_once_and_twice_the_same() -> None:
    """The metadata and `deedbook.__version__` agree."""
    tree = parsed(Path("src/deedbook/__init__.py"))
    said = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
    ]

    assert [PYPROJECT["project"]["version"]] == said


# --- tidiness ----------------------------------------------------------------------------------


def test_a_module_is_about_one_idea() -> None:
    """It can be read in one sitting, and its name and docstring say what it is about."""
    modules = floor_modules()
    lines = {module: len((ROOT / module).read_text(encoding="utf-8").splitlines()) for module in modules}

    assert {} == {
        module: count for module, count in lines.items() if count > LONGER.get(module.as_posix(), MAX_LINES)
    }
    assert [] == [module for module in modules if {module.stem, *module.parts[:-1]} & SAYS_NOTHING]
    assert [] == [module for module in modules if not ast.get_docstring(parsed(module))]


def relative_imports(tree: ast.AST) -> list[int]:
    """The lines that hold a relative import."""
    return [node.lineno for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level > 0]


def looks_at_the_environment(tree: ast.AST) -> list[int]:
    """The lines that read the process's environment; writing to it, as a sandbox's child does, is no look."""
    names = {"environ", "environb", "getenv", "getenvb"}
    lines = []
    written = set()
    for node in ast.walk(tree):
        match node:
            case (
                ast.Attribute(attr="clear" | "update", value=target)
                | ast.Subscript(value=target, ctx=ast.Store())
            ):
                written.add(target)
            case ast.Attribute(attr=attr, value=ast.Name(id="os" | "posix"), ctx=ast.Load()) if attr in names:
                if node not in written:
                    lines.append(node.lineno)
            case ast.ImportFrom(module="os" | "posix", names=imported) if names & {
                alias.name for alias in imported
            }:
                lines.append(node.lineno)
            case _:
                pass
    return lines


def test_imports_are_absolute() -> None:
    """A relative import would be resolved differently through the link and through the folder."""
    assert [] == [module for module in floor_modules() if relative_imports(parsed(module))]


def test_settings_are_read_at_the_front_doors_only() -> None:
    """Behind the command line, `connect` and `Host`, nothing looks at the environment."""
    behind = [
        module
        for module in floor_modules()
        if module.parts[0] != "cli" and module.as_posix() not in FRONT_DOORS
    ]

    assert [] == [module for module in behind if looks_at_the_environment(parsed(module))]


@pytest.mark.parametrize(
    "statement",
    [
        "import os\nos.environ['HOME']",
        "import os\nos.getenv('HOME')",
        "from os import environ as surroundings",
    ],
)
def test_a_look_at_the_environment_is_noticed(statement: str) -> None:
    """The test above sees each way of reading it."""
    assert [] != looks_at_the_environment(ast.parse(statement))


def test_nothing_is_left_to_do() -> None:
    """No note to oneself stays behind in the code."""
    marks = re.compile("|".join(rf"\b{mark}\b" for mark in ("TO" + "DO", "FIX" + "ME", "X" * 3)))
    code = [path for path in tracked_files() if path.suffix in {".py", ".sh", ".toml", ".avsc"}]

    assert [] == [str(path) for path in code if marks.search((ROOT / path).read_text(encoding="utf-8"))]


def machine_names(text: str) -> list[str]:
    """What in a text belongs to one machine or one package registry: home folders, registries' hosts."""
    homes = r"(?<![\w.*-])/(?:root|work|home|Users)/[\w.-]+"
    hosts = [
        *("pypi|org", "pythonhosted|org", "npmjs|org", "npmjs|com", "crates|io", "proxy|golang|org"),
        *("repo|maven|apache|org", "repo1|maven|org", "deb|debian|org", "jsdelivr|net", "unpkg|com"),
    ]
    return re.findall("|".join([homes, *(re.escape(host.replace("|", ".")) for host in hosts)]), text)


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    """A clone works from anybody's folder, with anybody's mirror."""
    found = {}
    for path in tracked_files():
        if not (ROOT / path).is_symlink():
            found[str(path)] = machine_names((ROOT / path).read_bytes().decode("utf-8", "replace"))

    assert {} == {path: names for path, names in found.items() if names}


@pytest.mark.parametrize(
    "text", ["see |root|x".replace("|", "/"), "https://pypi|org/simple".replace("|", ".")]
)
def test_the_name_of_a_machine_is_noticed(text: str) -> None:
    """The test above sees a home folder and a registry's host."""
    assert [] != machine_names(text)
