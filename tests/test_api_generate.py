"""What is made when the package is built: once, from what is there, and anew only when that changed."""

import shutil
from pathlib import Path

import pytest

from deedbook.api.generate import MADE, PROTO, SCRIPT, generate
from tests.test_house import GENERATED

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the interface's source alone, and what was made from it."""
    root = tmp_path_factory.mktemp("made") / "tree"
    (root / PROTO).parent.mkdir(parents=True)
    shutil.copy2(ROOT / PROTO, root / PROTO)
    generate(root)
    return root


@pytest.fixture
def tree(made: Path, tmp_path: Path) -> Path:
    """The same, for one test alone."""
    shutil.copytree(made, tmp_path / "tree")
    return tmp_path / "tree"


def state(tree: Path) -> dict[Path, tuple[int, int]]:
    """Which file each of those made is, and when it was written."""
    return {path: ((tree / path).stat().st_ino, (tree / path).stat().st_mtime_ns) for path in MADE}


def test_what_is_made_is_what_this_tree_runs_on(made: Path) -> None:
    """Byte for byte, wherever the sources are: nothing of the place gets into it."""
    assert [] == [path for path in MADE if (made / path).read_bytes() != (ROOT / path).read_bytes()]


def test_the_house_knows_what_is_made() -> None:
    """What the wheel holds besides what git tracks is said in two places, and is the same."""
    assert set(MADE) == GENERATED


def test_nothing_is_made_twice(tree: Path) -> None:
    """Installing again touches no file."""
    before = state(tree)

    generate(tree)

    assert before == state(tree)


def test_a_changed_interface_is_made_anew_and_the_script_is_left(tree: Path) -> None:
    """A new field is there, and who else reads the folder sees one whole file or the other."""
    before = state(tree)
    text = (tree / PROTO).read_text(encoding="utf-8")
    (tree / PROTO).write_text(
        text.replace("message GetStatusRequest {}", "message GetStatusRequest {\n  int32 tea = 1;\n}")
    )

    generate(tree)

    assert {path for path in MADE if path != SCRIPT} == {
        path for path, was in state(tree).items() if was != before[path]
    }
    assert "tea: int" in (tree / "api/v1/registry_pb2.pyi").read_text(encoding="utf-8")


def test_what_was_edited_or_lost_is_made_anew(made: Path, tree: Path) -> None:
    """Its first line says what it was made from: without it, it wasn't."""
    (tree / MADE[0]).unlink()
    (tree / MADE[1]).write_text("anything: int", encoding="utf-8")

    generate(tree)

    assert [] == [path for path in MADE if (made / path).read_bytes() != (tree / path).read_bytes()]


def test_an_interface_that_is_wrong_is_said_to_be_and_changes_nothing(tree: Path) -> None:
    """With the compiler's words, which name the line."""
    before = state(tree)
    with (tree / PROTO).open("a", encoding="utf-8") as file:
        file.write("message Broken { string name = 0; }\n")

    with pytest.raises(SystemExit, match=r"registry\.proto can't be made into code: .*registry\.proto:\d+"):
        generate(tree)

    assert before == state(tree)
    assert [] == [path.name for path in (tree / "api/v1").iterdir() if path.suffix == ".part"]


def test_the_script_is_one_function_that_leaves_one_global() -> None:
    """It can't meet the names of the page's own scripts, and holds the interpreter that needs no evaluation."""
    text = (ROOT / SCRIPT).read_text(encoding="utf-8")
    code = "\n".join(line for line in text.splitlines() if not line.startswith("//"))

    assert code.startswith("(() => {")
    assert code.endswith("})();")
    assert 1 == code.count("window.vegaEmbed=")
    assert "options.ast" in code
