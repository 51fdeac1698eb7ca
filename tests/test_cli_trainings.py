"""Logging trainings and asking for them: log-training, trainings, training, metrics, compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.command import THRESHOLD_POLICY, Command

FIRST = "019a0000-0000-7000-8000-000000000001"


@pytest.fixture
def deedbook(tmp_path: Path) -> Command:
    """The command, on a registry that is not there yet."""
    return Command(tmp_path / "registry")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """A registry that nothing is written to."""
    command = Command(tmp_path_factory.mktemp("empty") / "registry")
    command.done("init")
    return command


@pytest.fixture(scope="module")
def cities(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Six trainings: three months of Austin and Dallas; the last of Dallas went wrong."""
    command = Command(tmp_path_factory.mktemp("cities") / "registry")
    errors: dict[str, list[object]] = {"Austin": [0.5, 0.4, 0.3], "Dallas": [2, 1, "NaN"]}
    command.log(
        *(
            {
                "parameters": {"city": city, "depth": 3 + month},
                "metrics": [
                    {"name": "mse", "value": values[month], "direction": "lower", "unit": "USD²"},
                    {"name": "mse", "slice": "north", "value": month},
                    {"name": "r2", "value": month / 10, "direction": "higher"},
                ],
                "created_at": f"2026-0{month + 1}-01T00:00:00Z",
            }
            for month in range(3)
            for city, values in errors.items()
        )
    )
    return command


# --- log-training --------------------------------------------------------------------------------


def test_the_first_training_makes_the_registry(deedbook: Command) -> None:
    """A newcomer needs one command, and is told the next."""
    ended = deedbook("log-training", "-", given=f'{{"model": "home-price", "training_id": "{FIRST}"}}')

    assert (0, f"Logged home-price@1 ({FIRST}) at position 18.\n") == (ended.status, ended.out)
    assert "Whether it may be deployed is for a verdict to say: deedbook validate --once\n" == ended.err


@pytest.mark.parametrize(
    "text",
    [
        '{"model": "a"}\n{"model": "b"}\n\n',
        '[{"model": "a"}, {"model": "b"}]',
        '\ufeff[\n  {"model": "a"},\n  {"model":\n "b"}\n]\n',
    ],
)
def test_many_trainings_come_as_an_array_or_one_a_line(deedbook: Command, tmp_path: Path, text: str) -> None:
    """Whatever a script writes more easily."""
    (tmp_path / "trainings.json").write_text(text, encoding="utf-8")

    logged = deedbook.json("log-training", str(tmp_path / "trainings.json"))

    assert [("a", 1, "accepted"), ("b", 1, "accepted")] == [
        (one["model"], one["version"], one["decision"]) for one in logged
    ]


def test_a_training_is_kept_as_it_was_described(deedbook: Command) -> None:
    """Every key, and numbers that JSON has no word for."""
    described = {
        "training_id": FIRST,
        "model": "home-price",
        "model_type": "Ridge",
        "framework": "sklearn",
        "parameters": {"city": "São Paulo", "depth": 6, "rate": 0.1, "warm": True, "layers": [1, 2]},
        "metrics": [
            {"name": "mse", "value": "Infinity", "slice": "north", "direction": "lower", "unit": "USD²"}
        ],
        "features": ["rooms", {"name": "area", "dtype": "float64"}],
        "coefficients": {"rooms": 1.5},
        "git_sha": "a41f7c0",
        "data_fingerprint": "f1",
        "created_at": "2026-01-31T16:05:00+02:00",
        "started_at": "2026-01-31T14:00:00",
        "finished_at": "2026-01-31T14:04:00Z",
        "tags": {"why": "monthly"},
    }

    deedbook.done("log-training", "-", given=json.dumps(described))
    found = deedbook.json("training", FIRST)

    assert {"city": "São Paulo", "depth": "6", "rate": "0.1", "warm": "true", "layers": "[1, 2]"} == {
        p["name"]: p["value"] for p in found["parameters"]
    }
    assert [
        {"name": "mse", "slice": "north", "value": "Infinity", "direction": "lower", "unit": "USD²"}
    ] == found["metrics"]
    assert [{"name": "rooms", "dtype": ""}, {"name": "area", "dtype": "float64"}] == found["features"]
    assert [{"name": "rooms", "value": 1.5}] == found["coefficients"]
    same = ("training_id", "model", "model_type", "framework", "git_sha", "data_fingerprint", "tags")
    assert {key: described[key] for key in same} == {key: found[key] for key in same}
    assert [f"2026-01-31T14:0{minute}:00.000000Z" for minute in (5, 0, 4)] == [
        found[key] for key in ("created_at", "started_at", "finished_at")
    ]


def test_logging_a_training_again_changes_nothing(deedbook: Command) -> None:
    """A script that is run again does no harm."""
    text = f'{{"model": "home-price", "training_id": "{FIRST}", "created_at": "2026-01-01"}}'
    deedbook.done("log-training", "-", given=text)

    assert f"home-price@1 ({FIRST}) was there already.\n" == deedbook.done("log-training", "-", given=text)
    assert 1 == len(deedbook.json("trainings"))


def test_another_training_under_a_known_id_is_rejected(deedbook: Command) -> None:
    """Status 3: what was tried and why it does not count is on the log; the others count."""
    deedbook.done("log-training", "-", given=f'{{"model": "home-price", "training_id": "{FIRST}"}}')
    text = f'[{{"model": "other"}}, {{"model": "other", "training_id": "{FIRST}"}}]'

    ended = deedbook("log-training", "-", "--json", given=text)

    reason = f"training {FIRST} was logged at position 18, with other content"
    assert (3, f"deedbook: 1 of 2 trainings were rejected: {reason}\n") == (ended.status, ended.err)
    assert [("accepted", 1), ("rejected", None)] == [
        (one["decision"], one["version"]) for one in json.loads(ended.out)
    ]


def test_a_model_s_file_is_stored_under_its_digest(deedbook: Command, tmp_path: Path) -> None:
    """The record points at bytes that can't change."""
    model = tmp_path / "model.bin"
    model.write_bytes(b"CBM1 and so on")

    deedbook.done("log-training", "-", "--artifact", str(model), given='{"model": "home-price"}')
    found = deedbook.json("training", "home-price@1")

    stored = (
        deedbook.folder / "artifacts" / "sha256" / found["artifact_sha256"][:2] / found["artifact_sha256"]
    )
    assert model.read_bytes() == stored.read_bytes()
    assert ("cbm", 14) == (found["artifact_format"], found["artifact_size_bytes"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"model": "m"}', "the format of "),
        (
            '{"model": "m", "artifact": {"format": "onnx"}}',
            "the model is declared as onnx, but its bytes are not",
        ),
        ('{"model": "m", "artifact": {"format": "h5"}}', "'h5' is not a model format"),
        ('{"model": "m", "artifact": {"uri": "s3://x"}}', "the training names an artifact already"),
    ],
)
def test_a_file_that_is_no_model_is_refused(empty: Command, tmp_path: Path, text: str, sentence: str) -> None:
    """Nothing is stored, nothing is logged."""
    (tmp_path / "model.bin").write_bytes(b"plain text")

    ended = empty("log-training", "-", "--artifact", str(tmp_path / "model.bin"), given=text)

    assert 2 == ended.status
    assert ended.err.startswith(f"deedbook: {sentence}")
    assert not (empty.folder / "artifacts").exists()
    assert [] == empty.json("trainings")


# --- trainings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "versions"),
    [
        ([], [6, 5, 4, 3, 2, 1]),
        (["--limit", "2"], [6, 5]),
        (["--model", "home-price"], [6, 5, 4, 3, 2, 1]),
        (["--model", "other"], []),
        (["--parameter", "city=Austin"], [5, 3, 1]),
        (["--parameter", "city=Austin", "--parameter", "depth=4"], [3]),
        (["--where", "mse < 0.5"], [5, 3]),
        (["--where", "mse >= 1", "--where", "mse[north] > 0"], [4]),
        (["--since", "2026-02-01"], [6, 5, 4, 3]),
        (["--since", "2026-02-01", "--until", "2026-03-01T00:00:00Z"], [4, 3]),
        (["--until", "now"], [6, 5, 4, 3, 2, 1]),
        (["--deployable"], []),
        (["--not-deployable", "--limit", "1"], [6]),
        (["--order-by", "mse"], [5, 3, 1, 4, 2, 6]),
        (["--order-by", "mse", "--desc"], [2, 4, 1, 3, 5, 6]),
    ],
)
def test_trainings_are_found_by_what_they_are(
    cities: Command, arguments: list[str], versions: list[int]
) -> None:
    """Every condition narrows; the newest come first, or the lowest of a metric; NaN is last either way."""
    assert versions == [found["version"] for found in cities.json("trainings", *arguments)]


def test_a_list_names_trainings_and_shows_what_they_are_worth(cities: Command) -> None:
    """Whole ids when piped; every metric, unless some are named."""
    training_id = cities.json("trainings", "--limit", "1")[0]["training_id"]

    lines = cities.done("trainings", "--limit", "1").splitlines()
    named = cities.done("trainings", "--limit", "1", "--show", "mse[north]", "--show", "r2").splitlines()

    assert ["id", "training", "created", "(UTC)", "standing", "parameters", "metrics"] == lines[0].split()
    assert [training_id, "home-price@6", "2026-03-01", "00:00", "pending"] == lines[1].split()[:5]
    assert lines[1].endswith("city=Dallas depth=5  mse=NaN r2=0.2")
    assert ["mse[north]", "r2"] == named[0].split()[-2:]
    assert ["2", "0.2"] == named[1].split()[-2:]


def test_nothing_like_that_is_said(cities: Command) -> None:
    """A search without an answer is no empty screen."""
    assert "No training is like that.\n" == cities.done("trainings", "--model", "other")


# --- training ------------------------------------------------------------------------------------


def test_a_training_is_told_whole(cities: Command) -> None:
    """What it is, where it stands, what it is worth."""
    told = cities.done("training", "home-price@1")

    assert told.startswith("home-price@1\nid")
    for line in ("standing       pending", "parameters     city=Austin depth=3", "position       18"):
        assert line in told
    assert "metric  slice  value  unit  better\nmse              0.5  USD²  lower\n" in told


def test_a_training_is_named_by_its_id_its_beginning_or_its_version(cities: Command) -> None:
    """Six characters or more, if no other begins so."""
    training_id = cities.json("training", "home-price@3")["training_id"]

    for name in (training_id, training_id.upper(), training_id[:-1], "home-price@3"):
        assert training_id == cities.json("training", name)["training_id"]


def test_a_beginning_that_several_have_is_refused_with_some_of_them(cities: Command) -> None:
    """The person sees what was meant, and writes more of it."""
    ids = [found["training_id"] for found in cities.json("trainings", "--order-by", "r2")]

    ended = cities("training", ids[0][:6])

    assert 2 == ended.status
    assert ended.err.startswith(f"deedbook: several trainings begin with {ids[0][:6]}, ")
    assert 2 == sum(training_id in ended.err for training_id in ids)


def test_amendments_and_checks_are_told(deedbook: Command) -> None:
    """What was corrected keeps its old value in sight; what a check found has its reason."""
    import deedbook as library

    (training_id,) = deedbook.log({"metrics": {"mse": 0.5}})
    with library.connect(deedbook.url, actor="bob") as registry:
        registry.amend(training_id, reason="wrong unit", metrics={"mse": 0.4})

    told = deedbook.done("training", training_id)

    assert "Amended at position 19 by bob: metric mse from 0.5 to 0.4: wrong unit\n" in told


# --- metrics -------------------------------------------------------------------------------------


def test_a_metric_is_told_by_the_value_of_a_parameter(cities: Command) -> None:
    """One line for each city: where it began, where it is, and how it went."""
    told = cities.done("metrics", "home-price", "mse", "--by", "city")

    assert [
        "mse of home-price by city, in USD², lower is better",
        "city    over time  n  first  last  min  max  change",
        "Austin  █▅▁        3    0.5   0.3  0.3  0.5  -40.0%",
        "Dallas  █▁         3      2   NaN    1    2",
    ] == told.splitlines()


def test_a_metric_without_a_parameter_is_one_line(cities: Command) -> None:
    """All trainings, in the order of time; a slice has a name of its own."""
    told = cities.done("metrics", "home-price", "mse[north]", "--since", "2026-02-01")

    assert [
        "mse[north] of home-price, in USD², lower is better",
        "trainings  over time  n  first  last  min  max   change",
        "all        ▁▁██       4      1     2    1    2  +100.0%",
    ] == told.splitlines()


def test_a_metric_s_points_are_all_in_the_json(cities: Command) -> None:
    """Programs get every training, and null for one without the parameter."""
    found = cities.json("metrics", "home-price", "r2", "--by", "region")

    assert ("home-price", "r2", "", "region", "higher", "") == tuple(
        found[key] for key in ("model", "metric", "slice", "by", "direction", "unit")
    )
    assert [(None, 6)] == [(series["value"], len(series["points"])) for series in found["series"]]


def test_the_picture_is_drawn_beside_the_table(cities: Command, tmp_path: Path) -> None:
    """The answer stays on standard output, the hint goes to standard error."""
    ended = cities(
        "metrics", "home-price", "mse", "--by", "city", "--json", "--png", str(tmp_path / "mse.png")
    )

    assert (0, f"The chart is in {tmp_path}/mse.png.\n") == (ended.status, ended.err)
    assert 2 == len(json.loads(ended.out)["series"])
    assert (tmp_path / "mse.png").read_bytes().startswith(b"\x89PNG")


def test_a_metric_that_no_training_has_is_refused_with_those_there_are(cities: Command) -> None:
    """A misspelt metric is no flat line."""
    ended = cities("metrics", "home-price", "mes")

    assert (2, "") == (ended.status, ended.out)
    assert "deedbook: no training of home-price has 'mes' in that time; its metrics: mse, r2\n" == ended.err


# --- compare -------------------------------------------------------------------------------------


def test_trainings_are_compared_side_by_side(cities: Command) -> None:
    """What differs, what each is worth, and which is best."""
    told = cities.done("compare", "home-price@1", "home-price@5").splitlines()

    rows = {line.split()[0]: line.split()[1:] for line in told}
    assert ["home-price@1", "home-price@5"] == told[0].split()
    assert (["3", "5"], ["0.5", "0.3", "*"], ["0", "0.2", "*"]) == (rows["depth"], rows["mse"], rows["r2"])
    assert ["The same in all: city=Austin", "* is the best value."] == told[-2:]


def test_a_comparison_is_told_to_programs_by_place(cities: Command) -> None:
    """Values in the order of the trainings; best, by place in it."""
    found = cities.json("compare", "home-price@1", "home-price@5")

    by_name: dict[str, Any] = {metric["name"]: metric for metric in found["metrics"] if not metric["slice"]}
    assert [1, 5] == [training["version"] for training in found["trainings"]]
    assert ([0.5, 0.3], [1]) == (by_name["mse"]["values"], by_name["mse"]["best"])
    assert {"name": "city", "values": ["Austin", "Austin"], "differs": False} in found["parameters"]


@pytest.mark.parametrize("names", [["home-price@1"], ["home-price@1", "home-price@1"]])
def test_one_training_is_no_comparison(cities: Command, names: list[str]) -> None:
    """Nor is one with itself."""
    ended = cities("compare", *names)

    assert (2, "deedbook: a comparison takes 2 to 50 trainings, each once\n") == (ended.status, ended.err)


def test_a_policy_is_no_training(deedbook: Command) -> None:
    """A registry with nothing but a policy still says how to begin."""
    deedbook.done("policy", "publish", "-", given=THRESHOLD_POLICY)

    assert deedbook.done("trainings").startswith("There are no trainings yet.")
