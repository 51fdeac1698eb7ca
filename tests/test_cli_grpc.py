"""The command line of those who reach a registry through its service: a training job, a reviewer, a pipeline."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deedbook.cli.program import app
from deedbook.service.access.roles import Role
from deedbook.service.access.token_file import TokenFile
from tests.command import THRESHOLD_POLICY, Command, Ended
from tests.serving.over_grpc import listening


@dataclass(frozen=True)
class People:
    """Who may do what with a served registry, each by a token of one role."""

    folder: Path
    url: str
    tokens: dict[Role, str]

    def __call__(self, role: Role, *arguments: str, given: str = "") -> Ended:
        """Run a command with the token of a role."""
        result = CliRunner().invoke(
            app, ["--url", self.url, *arguments], input=given, env={"DEEDBOOK_TOKEN": self.tokens[role]}
        )
        return Ended(result.exit_code, result.stdout, result.stderr)

    def json(self, role: Role, *arguments: str, given: str = "") -> Any:  # noqa: ANN401 - any JSON
        """Run a command with --json that must succeed, and return its document."""
        ended = self(role, *arguments, "--json", given=given)
        assert 0 == ended.status, ended
        return json.loads(ended.out)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    """A guarded service of an empty registry."""
    folder = tmp_path_factory.mktemp("served") / "registry"
    folder.mkdir()
    file = TokenFile(folder / "tokens.json")
    tokens = {role: file.create(f"the {role}", roles=frozenset({role}))[1] for role in Role}
    with pytest.MonkeyPatch.context() as patched, listening(folder) as url:
        patched.setenv("XDG_STATE_HOME", str(folder.parent / "state"))
        yield People(folder, url, tokens)


@pytest.fixture(scope="module")
def told(people: People, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """From a policy to a rollback, each with the rights of one role: what the commands answered."""
    file = tmp_path_factory.mktemp("models") / "model.cbm"
    file.write_bytes(b"CBM1 and the rest")
    trainings = [
        {"model": "home-price", "metrics": {"mse": n}, "parameters": {"city": "Austin"}} for n in (2, 3)
    ]
    bind = ("--model", "home-price=home-price@1")
    steps = {
        "policy": (Role.REVIEWER, ("policy", "publish", "-"), THRESHOLD_POLICY),
        "logged": (Role.TRAINER, ("log-training", "-"), json.dumps(trainings)),
        "stored": (Role.TRAINER, ("log-training", "-", "--artifact", str(file)), '{"model": "home-price"}'),
        "standing": (
            Role.REVIEWER,
            ("override", "home-price@1", "--deployable", "--reason", "seen to"),
            "",
        ),
        "asked": (Role.REVIEWER, ("revalidate", "home-price@2"), ""),
        "deployed": (Role.DEPLOYER, ("deploy", "pricing", "r1", *bind), ""),
        "next": (Role.DEPLOYER, ("deploy", "pricing", "r2", *bind), ""),
        "back": (Role.DEPLOYER, ("rollback", "pricing", "r1", "--reason", "r2 is slow"), ""),
    }
    return {name: people.json(role, *words, given=given) for name, (role, words, given) in steps.items()}


def test_each_does_their_part_through_the_service(people: People, told: dict[str, Any]) -> None:
    """Each with the rights of one role, and in the name that the token is for."""
    logged, (stored,) = told["logged"], told["stored"]
    refused = people(Role.DEPLOYER, "deploy", "pricing", "r0", "--model", "home-price=home-price@2")

    assert (1, ["accepted"] * 3) == (
        told["policy"]["version"],
        [one["decision"] for one in [*logged, stored]],
    )
    assert [1, 2, 3] == [one["version"] for one in [*logged, stored]]
    assert 3 == refused.status
    assert "is not deployable: pending" in refused.err
    assert (True, "overridden by the reviewer: seen to") == (
        told["standing"]["deployable"],
        told["standing"]["reason"],
    )
    assert logged[1]["training_id"] == told["asked"]["training_id"]
    assert ("accepted", "the deployer") == (told["deployed"]["decision"], told["deployed"]["actor"])
    assert ("r1", "r2 is slow", "the deployer") == tuple(
        told["back"][key] for key in ("release", "reason", "actor")
    )


READING = (
    *(
        "trainings --where mse<2.5 --order-by mse",
        "training home-price@1",
        "metrics home-price mse --by city",
    ),
    *("compare home-price@1 home-price@2", "deployments pricing", "live pricing", "explain home-price@1"),
    *("failures", "policy show home-price", "events --topic all --limit 5"),
)


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("line", READING)
def test_what_is_read_is_what_the_folder_says(people: People, line: str) -> None:
    """The same document, whichever way the registry is asked."""
    words = line.split()

    assert Command(people.folder).json(*words) == people.json(Role.DEPLOYER, *words)


@pytest.mark.usefixtures("told")
def test_a_list_is_printed_as_the_folders(people: People) -> None:
    """For people, too."""
    assert Command(people.folder).done("trainings") == people(Role.TRAINER, "trainings").out


@pytest.mark.usefixtures("told")
def test_an_analyst_asks_in_sql_and_takes_a_snapshot(people: People) -> None:
    """The answer is the folder's; the snapshot is a file here, and is fetched once while nothing changes."""
    query = "select model, version, created_at, parameters, position::hugeint as n, "
    query += (
        "{'a': [1.5::decimal(4, 2)]} as nested, now() > created_at as later from trainings order by version"
    )
    taken = [people.json(Role.ANALYST, "snapshot")["snapshot"] for _ in range(2)]

    assert Command(people.folder).json("sql", query) == people.json(Role.ANALYST, "sql", query)
    assert taken[0] == taken[1]
    assert b"DUCK" == Path(taken[0]).read_bytes()[8:12]


@pytest.mark.parametrize(
    "line",
    [
        *("init", "project", "validate --once", "check"),
        *("copy URL ELSEWHERE", "copy HERE URL"),
    ],
)
def test_what_needs_the_log_says_that_it_runs_where_that_is(
    people: People, line: str, tmp_path: Path
) -> None:
    """In one sentence, and nothing is made."""
    places = {
        "URL": people.url,
        "HERE": f"sqlite:///{people.folder}",
        "ELSEWHERE": f"sqlite:///{tmp_path}/none",
    }
    words = [places.get(word, word) for word in line.split()]
    ended = people(Role.ADMIN, *words)

    assert 2 == ended.status, ended
    assert "run it where the log is" in ended.err
    assert not (tmp_path / "none").exists()


def test_what_a_token_does_not_allow_is_one_sentence(people: People) -> None:
    """Without a word of the token."""
    refused = people(Role.HOST, "override", "home-price@1", "--deployable", "--reason", "me")

    assert 1 == refused.status
    assert "host" in refused.err
    assert people.tokens[Role.HOST] not in refused.err
