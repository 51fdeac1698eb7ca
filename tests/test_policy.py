"""Policy files: what is written is what the log gets, and every mistake is refused in one sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deedbook.consumers.checks import BUILT_IN, Catalogue
from deedbook.consumers.policy import read_policy
from deedbook.events.codec import Codec
from deedbook.events.errors import DeedbookError, InvalidInput, NotFound
from deedbook.events.facts import BaselineRole, CheckSpec, Parameter, Policy, PolicyPublished
from deedbook.events.ids import new_id
from deedbook.events.log import Record
from deedbook.events.shape import problem_of
from deedbook.projector.view import default_policy

ROOT = Path(__file__).parent.parent
HEAD = 'model = "home-price"\ngroup_by = ["city"]\n'
CHECK = '[[checks]]\ncheck = "artifact_intact"\n'
THRESHOLD = HEAD + '[[checks]]\ncheck = "metric_threshold"\nmetric = "mse"\n'
REGRESSION = HEAD + '[[checks]]\ncheck = "metric_regression"\nmetric = "mse"\n'
ROLES = "last_trained, last_deployable or live"


def test_the_example_is_read_whole_with_every_default_written_out() -> None:
    """What is on the log says everything, whatever a later release's defaults are."""
    policy = read_policy(ROOT / "examples/policy.toml")

    assert ("home-price", 0, ("city",), False) == (
        policy.model,
        policy.version,
        policy.group_by,
        policy.group_by_all,
    )
    assert BaselineRole.LAST_DEPLOYABLE is policy.baseline
    assert ("skops", "onnx") == policy.allowed_formats
    assert [
        ("artifact_intact", ("artifact",)),
        ("features_match", ("features",)),
        ("metric_threshold", ("metric:r2",)),
        ("metric_regression", ("metric:mse",)),
        ("coefficient_similarity", ("coefficients",)),
        ("prediction_similarity", ("artifact", "features", "parameters")),
    ] == [(spec.check, spec.reads) for spec in policy.checks]
    assert (
        Parameter(name="metric", text="r2"),
        Parameter(name="slice", text=""),
        Parameter(name="min", text="0.5", number=0.5),
    ) == policy.checks[2].settings
    assert (
        Parameter(name="method", text="wasserstein"),
        Parameter(name="threshold", text="0.5", number=0.5),
        Parameter(name="min_requests", text="50", number=50.0),
        Parameter(name="scale", text="std"),
    ) == policy.checks[5].settings
    assert {check.name for check in BUILT_IN} == {spec.check for spec in policy.checks}


def test_a_short_policy_gets_the_safe_defaults() -> None:
    """The last deployable training, and no format that runs code."""
    expected = Policy(
        model="home-price",
        group_by=("city",),
        baseline=BaselineRole.LAST_DEPLOYABLE,
        allowed_formats=("cbm", "onnx", "skops"),
        checks=(CheckSpec(check="artifact_intact", reads=("artifact",)),),
    )

    assert expected == read_policy(HEAD + CHECK)


@pytest.mark.parametrize(
    ("written", "expected"),
    [('["city", "kind"]', (("city", "kind"), False)), ("[]", ((), False)), ('"all"', ((), True))],
)
def test_trainings_are_grouped_by_some_parameters_none_or_all(
    written: str, expected: tuple[object, ...]
) -> None:
    """A list, which may be empty, or the word all."""
    policy = read_policy(f'model = "m"\ngroup_by = {written}\n{CHECK}')

    assert expected == (policy.group_by, policy.group_by_all)


@pytest.mark.parametrize("role", ["last_trained", "last_deployable", "live"])
def test_every_baseline_can_be_asked_for(role: str) -> None:
    """By the name it has in the facts."""
    assert BaselineRole(role) is read_policy(f'{HEAD}baseline = "{role}"\n{CHECK}').baseline


def test_a_policy_survives_the_log() -> None:
    """What a validator reads from the log has the same checks and settings."""
    policy = read_policy(ROOT / "examples/policy.toml")
    codec = Codec()
    published = PolicyPublished(event_id=new_id(), occurred_at=1, actor="a", policy=policy, source="")
    new = codec.encode(published)

    fact = codec.decode(Record("registry", 0, 0, 0, new.key, new.value, new.headers))

    assert isinstance(fact, PolicyPublished)
    assert None is problem_of(published)
    assert policy == fact.policy
    for spec in fact.policy.checks:
        check = Catalogue().find(spec.check)
        assert spec.settings == check.settings_recorded(spec.settings).parameters(check.settings)


def test_the_default_policy_names_checks_and_settings_that_exist() -> None:
    """It is plain data, told here and not where it stands, as that floor is below this one."""
    policy = default_policy("home-price")

    assert policy.checks
    for spec in policy.checks:
        check = Catalogue().find(spec.check)
        assert spec.reads == check.reads(check.settings_recorded(spec.settings))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model = ", "the policy is not TOML: Invalid value (at end of document)"),
        (
            'model = "m"\nmodel = "n"\n',
            "the policy is not TOML: Cannot overwrite a value (at line 2",
        ),
        ("", 'the policy has no group_by: write group_by = ["city"], [] for none, or "all"'),
        ("group_by = []", "the policy has no model: say which model this policy is for"),
        ('model = ""\ngroup_by = []', "model is empty"),
        ("model = 7\ngroup_by = []", "model must be a text"),
        (HEAD, "the policy demands no checks, and so would pass nothing: write [[checks]] tables"),
        (
            HEAD + "checks = []",
            "the policy demands no checks, and so would pass nothing: write [[checks]] tables",
        ),
        (HEAD + 'check = "x"', "'check' is not a key of a policy; did you mean 'checks'?"),
        (HEAD + "version = 3\n" + CHECK, "'version' is not a key of a policy (its keys: model,"),
        ('model = "m"\ngroup_by = "city"\n' + CHECK, 'group_by must be a list of parameter names, or "all"'),
        ('model = "m"\ngroup_by = ["a", "a"]\n' + CHECK, "group_by names 'a' twice"),
        ('model = "m"\ngroup_by = [1]\n' + CHECK, "a name in group_by must be a text"),
        (
            HEAD + 'baseline = "last_deployed"\n' + CHECK,
            f"baseline must be {ROLES}; did you mean 'last_deployable'",
        ),
        (HEAD + "baseline = []\n" + CHECK, f"baseline must be {ROLES}"),
        (HEAD + 'baseline = "unspecified"\n' + CHECK, f"baseline must be {ROLES}"),
        (
            HEAD + "allowed_formats = []\n" + CHECK,
            "allowed_formats must be a list of formats, at least one of skops",
        ),
        (HEAD + 'allowed_formats = ["pickel"]\n' + CHECK, "allowed_formats holds 'pickel', not one of"),
        (
            HEAD + "allowed_formats = [[]]\n" + CHECK,
            "allowed_formats holds a value that is no text, not one of",
        ),
        (HEAD + 'allowed_formats = ["skops", "skops"]\n' + CHECK, "allowed_formats names 'skops' twice"),
        (HEAD + "[[checks]]\nmax = 1", 'check 1 has no name: write check = "artifact_intact", for example'),
        (HEAD + "checks = [3]", 'check 1 has no name: write check = "artifact_intact", for example'),
        (
            HEAD + CHECK + '[[checks]]\ncheck = "metric_treshold"',
            "check 2: 'metric_treshold' is not a check; did you mean 'metric_threshold' or",
        ),
        (
            REGRESSION + "max_relativ = 0.1",
            "check 1 (metric_regression): 'max_relativ' is not one of its settings",
        ),
        (THRESHOLD + "max = nan", "check 1 (metric_threshold): max must be a finite number, not NaN"),
        (THRESHOLD + "max = 2024-01-01", "check 1 (metric_threshold): max must be a number, not a date"),
        (HEAD + CHECK + CHECK, "check 2 (artifact_intact) is the same as check 1"),
        (HEAD + CHECK * 101, "the policy has 101 checks; at most 100 are allowed"),
        ("#" * (64 << 10) + "\n", "the policy has more than 65,536 bytes"),
        ("a = " + "[" * 5000 + "]" * 5000, "the policy is not TOML: RecursionError"),
    ],
)
def test_a_mistake_is_refused_in_one_sentence(text: str, reason: str) -> None:
    """It names the line or the key, and what was probably meant."""
    with pytest.raises(InvalidInput, match=re.escape(reason)) as caught:
        read_policy(text)

    assert "\n" not in str(caught.value)


def test_a_file_that_can_not_be_read_is_refused(tmp_path: Path) -> None:
    """Missing, a folder, or no text."""
    (tmp_path / "latin1.toml").write_bytes(b'model = "caf\xe9"')

    with pytest.raises(NotFound, match="there is no policy file"):
        read_policy(tmp_path / "absent.toml")
    with pytest.raises(InvalidInput, match="cannot read the policy file"):
        read_policy(tmp_path)
    with pytest.raises(InvalidInput, match="the policy file is not UTF-8 text"):
        read_policy(tmp_path / "latin1.toml")


def test_names_are_kept_in_one_spelling() -> None:
    """A letter and its accent, typed apart, mean the same name as typed together."""
    apart = read_policy('model = "Zu\u0308rich"\ngroup_by = ["sta\u0308dte"]\n' + CHECK)

    assert ("Z\u00fcrich", ("st\u00e4dte",)) == (apart.model, apart.group_by)


@pytest.mark.parametrize("name", ["\x1b[2J", "a\nb", "\u202egnp.exe", "x" * 201, "\ud800"])
def test_a_name_that_can_not_be_printed_is_refused(name: str) -> None:
    """As a model, as a parameter to group by, as a metric."""
    escaped = "".join(f"\\u{ord(c):04x}" for c in name)
    texts = [
        f'model = "{escaped}"\ngroup_by = []\n{CHECK}',
        f'model = "m"\ngroup_by = ["{escaped}"]\n{CHECK}',
        f'{HEAD}[[checks]]\ncheck = "metric_threshold"\nmetric = "{escaped}"\nmax = 1',
        f'{HEAD}[[checks]]\ncheck = "metric_threshold"\nmetric = "m"\nslice = "{escaped}"\nmax = 1',
        f'{HEAD}[[checks]]\ncheck = "{escaped}"',
        f'{HEAD}"{escaped}" = 1\n{CHECK}',
    ]
    for text in texts:
        with pytest.raises(InvalidInput) as caught:
            read_policy(text)

        assert str(caught.value).isprintable()


VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("artifact_intact"),
    lambda children: st.lists(children, max_size=3),
    max_leaves=5,
)


def as_toml(value: object) -> str:
    """A value as TOML writes it."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return '"' + "".join(f"\\U{ord(c):08x}" for c in value) + '"'
        case list():
            return "[" + ", ".join(as_toml(item) for item in value) + "]"
        case _:
            return repr(value)


@given(
    keys=st.dictionaries(st.sampled_from(["model", "group_by", "baseline", "allowed_formats", "x"]), VALUES),
    check=st.dictionaries(
        st.sampled_from(["check", "metric", "max", "method", "threshold", "dtypes"]), VALUES
    ),
)
@example(keys={}, check={"check": "metric_threshold", "metric": "m", "max": 10**400})
def test_whatever_is_written_it_is_a_policy_or_one_sentence(
    keys: dict[str, object], check: dict[str, object]
) -> None:
    """No other exception, and no policy without a check."""
    table = {"model": "m", "group_by": [], **keys}
    lines = [f"{name} = {as_toml(value)}" for name, value in table.items()]
    lines += ["[[checks]]", *(f"{name} = {as_toml(value)}" for name, value in check.items())]
    try:
        outcome: Policy | DeedbookError = read_policy("\n".join(lines))
    except DeedbookError as error:
        outcome = error

    match outcome:
        case Policy():
            published = PolicyPublished(event_id=new_id(), occurred_at=1, actor="a", policy=outcome)
            assert None is problem_of(published)
            assert 1 == len(outcome.checks)
            assert outcome.model
        case refused:
            assert isinstance(refused, InvalidInput)
            assert str(refused).isprintable()


def test_the_documentation_names_every_key_and_the_error_it_quotes_is_real() -> None:
    """docs/policies.md says what the code does."""
    text = (ROOT / "docs/policies.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    broken = f'{HEAD}{CHECK}[[checks]]\ncheck = "metric_regression"\nmetric = "mse"\nmax_relativ = 0.1'

    with pytest.raises(InvalidInput) as caught:
        read_policy(broken)

    assert ["model", "group_by", "baseline", "allowed_formats", "[[checks]]"] == rows
    assert f"    {caught.value}\n" in text
