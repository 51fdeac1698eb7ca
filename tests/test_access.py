"""Who may do what: roles, tokens and how they are kept, sessions, and where the service may listen."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deedbook.events.errors import InvalidInput, NotAuthenticated, NotFound, PermissionRefused
from deedbook.service.access.access import Access, actor_of
from deedbook.service.access.origins import Origins, check_listening
from deedbook.service.access.roles import GRANTED, WRITING, Caller, Permission, Role
from deedbook.service.access.sessions import MAX_SESSION_SECONDS, form_token, is_form_token
from deedbook.service.access.token_file import TokenFile
from deedbook.service.access.tokens import hash_of, pages_secret, parted

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
TRAINER = frozenset({Role.TRAINER})

# What the documentation says that each role may do.
TABLE = {
    "trainer": {"read", "log", "binding"},
    "validator": {"read", "verdict", "binding"},
    "deployer": {"read", "deploy", "binding"},
    "reviewer": {"read", "override", "revalidate", "policy", "binding"},
    "host": {"binding", "report"},
    "analyst": {"read", "sql", "metrics", "binding"},
    "admin": {permission.value for permission in Permission},
}


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        """Return the time it was set to."""
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the tokens are kept."""
    return tmp_path / "tokens.json"


def changed(path: Path, change: Callable[[Any], object]) -> None:
    """Change the document in a token file by hand."""
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")


# --- roles -------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", Role)
def test_a_role_may_do_what_the_table_says_and_nothing_else(role: Role) -> None:
    """Role by role, permission by permission."""
    caller = Caller("somebody", frozenset({role}))

    assert TABLE[role] == {permission for permission in Permission if caller.may(permission)}


def test_the_documentation_tells_of_each_role() -> None:
    """Each with what it may, and no other."""
    page = (Path(__file__).parent.parent / "docs" / "security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z]+)` \| (`[a-z`, ]+`|everything) \|", page, flags=re.MULTILINE)
    told = {role: set(re.findall(r"`([a-z]+)`", permissions)) for role, permissions in rows}

    assert TABLE | {"admin": set()} == told


def test_several_roles_may_do_what_any_of_them_may() -> None:
    """A token with two roles."""
    caller = Caller("somebody", frozenset({Role.TRAINER, Role.DEPLOYER}))

    assert TABLE["trainer"] | TABLE["deployer"] == {p for p in Permission if caller.may(p)}


def test_every_permission_is_somebodys_besides_the_administrators() -> None:
    """No task needs the administrator's token."""
    granted = {p for role, permissions in GRANTED.items() if role is not Role.ADMIN for p in permissions}

    assert set(Permission) == granted


@pytest.mark.parametrize("permission", sorted(WRITING))
def test_a_token_for_a_model_writes_for_no_other(tmp_path: Path, permission: Permission) -> None:
    """For each kind of writing; a deployment with one foreign model among its own counts as foreign."""
    access = Access(tmp_path / "tokens.json")
    caller = Caller("ana", frozenset({Role.ADMIN}), models=frozenset({"home-price"}))

    access.check(caller, permission, ["home-price"])
    with pytest.raises(PermissionRefused, match="does not hold for the model 'rent'"):
        access.check(caller, permission, ["home-price", "rent"])


@pytest.mark.parametrize("permission", sorted(set(Permission) - WRITING))
def test_a_token_for_a_model_reads_all(tmp_path: Path, permission: Permission) -> None:
    """Scopes are about writing."""
    caller = Caller("ana", frozenset({Role.ADMIN}), models=frozenset({"home-price"}))

    Access(tmp_path / "tokens.json").check(caller, permission, ["rent"])


def test_a_refusal_names_the_role_that_is_missing(tmp_path: Path) -> None:
    """One sentence that whoever runs the registry can act by."""
    with pytest.raises(PermissionRefused) as refused:
        Access(tmp_path / "tokens.json").check(Caller("ci", TRAINER), Permission.OVERRIDE)

    assert str(refused.value) == "ci may not do this: it needs the role reviewer or admin"


# --- who is asking -----------------------------------------------------------------------------


def test_without_tokens_everybody_is_who_they_claim_to_be(path: Path) -> None:
    """And it is known that nobody checked."""
    caller = Access(path).caller_of(None, claimed="ana")

    assert Caller("ana", frozenset(Role)) == caller
    assert not caller.authenticated


def test_a_claimed_name_must_be_a_name(path: Path) -> None:
    """What nobody checked goes into the log for ever."""
    with pytest.raises(InvalidInput, match="the actor's name"):
        Access(path).caller_of(None, claimed="ana\nroot")


def test_a_token_says_who_its_holder_is(path: Path) -> None:
    """Whatever they claim."""
    made, text = TokenFile(path).create("ci", TRAINER, frozenset({"home-price"}))

    caller = Access(path).caller_of(text, claimed="root")

    assert Caller("ci", TRAINER, frozenset({"home-price"}), authenticated=True, token_id=made.id) == caller
    assert actor_of(caller, "root") == "ci"


def test_the_first_token_closes_a_running_server(path: Path) -> None:
    """It was open, and needs no restart to be closed."""
    access = Access(path)
    somebody = access.caller_of(None)
    TokenFile(path).create("ci", TRAINER)

    assert access.required
    assert not access.still_valid(somebody)
    with pytest.raises(NotAuthenticated):
        access.caller_of(None, claimed="ana")


def test_a_file_that_is_gone_lets_nobody_in(path: Path) -> None:
    """A server that had tokens never becomes open."""
    _, text = TokenFile(path).create("ci", TRAINER)
    access = Access(path)
    path.unlink()

    assert access.required
    for token in (None, text):
        with pytest.raises(NotAuthenticated):
            access.caller_of(token)


@pytest.mark.parametrize(
    "text",
    [
        *("", "db_", "db_000000000000_" + "0" * 64, "x" * 10_000, "db_00000000000\u0660_" + "0" * 64),
        *("Bearer db_000000000000_" + "0" * 64, "null", "db_000000000000_" + "0" * 63 + "\n"),
    ],
)
def test_what_is_no_token_lets_nobody_in(path: Path, text: str) -> None:
    """Malformed, unknown, too long."""
    TokenFile(path).create("ci", TRAINER)

    with pytest.raises(NotAuthenticated):
        Access(path).caller_of(text)


def test_a_token_with_another_secret_lets_nobody_in(path: Path) -> None:
    """Its id is no secret."""
    made, text = TokenFile(path).create("ci", TRAINER)
    other = text[:-1] + ("0" if text[-1] != "0" else "1")

    with pytest.raises(NotAuthenticated) as refused:
        Access(path).caller_of(other)

    assert made.id not in str(refused.value)


def test_a_revoked_token_is_refused_at_once(path: Path) -> None:
    """By a server that knew it a moment ago, its open streams included."""
    file = TokenFile(path)
    made, text = file.create("ci", TRAINER)
    access = Access(path)
    caller = access.caller_of(text)
    assert access.still_valid(caller)

    file.revoke(made.id)

    assert not access.still_valid(caller)
    with pytest.raises(NotAuthenticated, match="was revoked"):
        access.caller_of(text)


def test_a_token_ends_when_it_says(path: Path) -> None:
    """To the second, its open streams included."""
    clock = Clock()
    file = TokenFile(path, clock=clock)
    _, text = file.create("ci", TRAINER, expires_at=NOON + timedelta(days=90))
    clock.now += timedelta(days=90) - timedelta(seconds=1)
    caller = file.caller_of(text)

    clock.now += timedelta(seconds=1)

    assert not file.holds(caller)
    with pytest.raises(NotAuthenticated, match="has expired"):
        file.caller_of(text)


def test_a_stream_ends_when_its_token_allows_less(path: Path) -> None:
    """Somebody took a role away by hand."""
    _, text = TokenFile(path).create("ci", frozenset({Role.TRAINER, Role.ANALYST}))
    access = Access(path)
    caller = access.caller_of(text)

    changed(path, lambda document: document["tokens"][0].update(roles=["trainer"]))

    assert not access.still_valid(caller)


# --- the file ----------------------------------------------------------------------------------


def test_no_secret_is_kept_or_shown(path: Path) -> None:
    """Neither in the file nor in what Python shows of a token, and not even its hash there."""
    made, text = TokenFile(path).create("ci", TRAINER)
    _, secret = parted(text) or ("", "")

    kept = path.read_text(encoding="utf-8")
    assert secret not in kept + repr(made)
    assert pages_secret(secret) not in kept
    assert hash_of(secret) not in repr(made)
    assert hash_of(secret) in kept


def test_the_file_is_its_owners_alone(path: Path) -> None:
    """After each change, whatever the process's mask says."""
    before = os.umask(0)
    try:
        file = TokenFile(path)
        made, _ = file.create("ci", TRAINER)
        file.revoke(made.id)
    finally:
        os.umask(before)

    assert path.stat().st_mode & 0o777 == 0o600
    assert {"tokens.json", "tokens.json.lock"} == {each.name for each in path.parent.iterdir()}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o660, 0o777])
def test_a_file_that_is_open_to_others_is_refused(path: Path, mode: int) -> None:
    """At the start of a server, by a running one, and by the command line."""
    file = TokenFile(path)
    _, text = file.create("ci", TRAINER)
    running = Access(path)

    path.chmod(mode)

    with pytest.raises(InvalidInput, match="is open to others"):
        Access(path)
    with pytest.raises(InvalidInput, match="is open to others"):
        file.create("other", TRAINER)
    with pytest.raises(NotAuthenticated):
        running.caller_of(text)


DAMAGES: dict[str, Callable[[Any], object]] = {
    "another version": lambda document: document.update(version=2),
    "a field more": lambda document: document["tokens"][0].update(model=["home-price"]),
    "a field less": lambda document: document["tokens"][0].pop("models"),
    "no roles": lambda document: document["tokens"][0].update(roles=[]),
    "an unknown role": lambda document: document["tokens"][0].update(roles=["root"]),
    "a role that is no text": lambda document: document["tokens"][0].update(roles=[["admin"]]),
    "no list of models": lambda document: document["tokens"][0].update(models="home-price"),
    "no hash": lambda document: document["tokens"][0].update(sha256=""),
    "no name": lambda document: document["tokens"][0].update(name="a\u202eb"),
    "no time": lambda document: document["tokens"][0].update(expires_at="tomorrow"),
    "a time without an offset": lambda document: document["tokens"][0].update(expires_at="2030-01-01"),
    "a number for a time": lambda document: document["tokens"][0].update(revoked_at=5),
    "no id": lambda document: document["tokens"][0].update(id=5),
    "one id twice": lambda document: document["tokens"].append(document["tokens"][0]),
    "no list": lambda document: document.update(tokens={}),
    "something else": lambda document: document.update(open=True),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_lets_nobody_in(path: Path, damage: str) -> None:
    """A server doesn't start with it, and one that runs refuses everybody; it is never taken for no file."""
    _, text = TokenFile(path).create("ci", TRAINER)
    running = Access(path)
    changed(path, DAMAGES[damage])

    with pytest.raises(InvalidInput, match="is no list of tokens"):
        Access(path)
    assert running.required
    with pytest.raises(NotAuthenticated):
        running.caller_of(text)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"null", b"[" * 100_000])
def test_what_is_no_json_lets_nobody_in(path: Path, content: bytes) -> None:
    """Cut short, emptied, overwritten."""
    path.touch(0o600)
    path.write_bytes(content)

    with pytest.raises(InvalidInput, match="is no list of tokens"):
        Access(path)


def test_a_pipe_or_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    """And is not waited for."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(0o700)

    for name in ("pipe", "folder"):
        with pytest.raises(InvalidInput):
            Access(tmp_path / name)


def test_a_mended_file_lets_in_again(path: Path) -> None:
    """Without a restart."""
    _, text = TokenFile(path).create("ci", TRAINER)
    access = Access(path)
    kept = path.read_bytes()
    path.write_bytes(b"{")
    with pytest.raises(NotAuthenticated):
        access.caller_of(text)

    path.write_bytes(kept)

    assert access.caller_of(text).name == "ci"


def test_a_link_to_the_file_stays_one(tmp_path: Path) -> None:
    """As orchestrators hand out secrets."""
    (tmp_path / "there").mkdir()
    link = tmp_path / "tokens.json"
    link.symlink_to(tmp_path / "there" / "tokens.json")

    _, text = TokenFile(link).create("ci", TRAINER)

    assert link.is_symlink()
    assert Access(link).caller_of(text).name == "ci"


def test_tokens_that_are_made_at_once_are_all_kept(path: Path) -> None:
    """From several programs."""
    threads = [
        threading.Thread(target=TokenFile(path).create, args=(f"ci-{number}", TRAINER)) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {f"ci-{number}" for number in range(8)} == {token.name for token in TokenFile(path).tokens()}


@pytest.mark.parametrize(
    ("name", "roles", "models", "days", "sentence"),
    [
        ("", {Role.HOST}, set(), None, "the token's name is empty"),
        ("a\x1bb", {Role.HOST}, set(), None, "the token's name"),
        ("ci", set(), set(), None, "a token needs a role"),
        ("ci", {Role.HOST}, {""}, None, "the model's name is empty"),
        ("ci", {Role.HOST}, {f"model-{number}" for number in range(1_001)}, None, "at most 1,000 models"),
        ("ci", {Role.HOST}, set(), -1, "would have expired already"),
    ],
)
def test_what_no_token_may_be_is_refused_and_nothing_is_written(
    path: Path, *, name: str, roles: set[Role], models: set[str], days: int | None, sentence: str
) -> None:
    """Empty, unprintable, too many, over."""
    end = None if days is None else NOON + timedelta(days=days)

    with pytest.raises(InvalidInput, match=sentence):
        TokenFile(path, clock=Clock()).create(name, frozenset(roles), frozenset(models), expires_at=end)

    assert not path.exists()


def test_only_what_is_there_can_be_revoked(path: Path) -> None:
    """And once revoked it stays so, with its first time."""
    clock = Clock()
    file = TokenFile(path, clock=clock)
    made, _ = file.create("ci", TRAINER)
    first = file.revoke(made.id)
    clock.now += timedelta(days=1)

    assert first == file.revoke(made.id) == replace(made, revoked_at=NOON)
    with pytest.raises(NotFound):
        file.revoke("000000000000")


# --- sessions ----------------------------------------------------------------------------------


@pytest.fixture
def clock() -> Clock:
    """A clock that is set by hand."""
    return Clock()


@pytest.fixture
def signed_in(path: Path, clock: Clock) -> tuple[Access, str, str]:
    """An access, a token of it, and the cookie of a session by that token."""
    _, text = TokenFile(path).create("ana", frozenset({Role.REVIEWER}))
    access = Access(path, clock=clock)
    _, cookie = access.new_session(text)
    return access, text, cookie


def test_a_session_is_its_tokens(signed_in: tuple[Access, str, str]) -> None:
    """The same caller, by the cookie as by the token."""
    access, text, cookie = signed_in

    assert access.caller_of(text) == access.caller_of_session(cookie)


def test_a_sessions_cookie_is_no_token(signed_in: tuple[Access, str, str]) -> None:
    """Nothing in it opens the gRPC interface, and nothing leads back to the token."""
    access, text, cookie = signed_in
    _, secret = parted(text) or ("", "")
    token_id, _, _, derived, signature = cookie.split(".")

    assert secret not in cookie
    for part in (derived, signature, cookie):
        with pytest.raises(NotAuthenticated):
            access.caller_of(f"db_{token_id}_{part}")


def test_a_session_ends_after_hours(signed_in: tuple[Access, str, str], clock: Clock) -> None:
    """However long its token is good, and whatever its cookie says of its beginning."""
    access, _, cookie = signed_in
    clock.now += timedelta(seconds=MAX_SESSION_SECONDS)
    token_id, began_at, *rest = cookie.split(".")
    prolonged = ".".join([token_id, str(int(began_at) + 3_600), *rest])

    for each in (cookie, prolonged):
        with pytest.raises(NotAuthenticated):
            access.caller_of_session(each)


def test_the_list_of_tokens_makes_no_session(signed_in: tuple[Access, str, str], path: Path) -> None:
    """Whoever read the file knows every hash, and can't make a cookie of them."""
    access, _, cookie = signed_in
    (token,) = TokenFile(path).tokens()
    token_id, began_at, nonce, _, signature = cookie.split(".")

    for known in (token.sha256, token.pages_sha256):
        with pytest.raises(NotAuthenticated):
            access.caller_of_session(f"{token_id}.{began_at}.{nonce}.{known}.{signature}")


def test_a_session_ends_with_its_token(signed_in: tuple[Access, str, str], path: Path) -> None:
    """Revoked, it signs out everybody who signed in by it."""
    access, text, cookie = signed_in
    TokenFile(path).revoke(access.caller_of(text).token_id)

    with pytest.raises(NotAuthenticated):
        access.caller_of_session(cookie)


def test_a_session_that_was_signed_out_of_is_over(signed_in: tuple[Access, str, str]) -> None:
    """Also for whoever copied its cookie; the token is as good as before."""
    access, text, cookie = signed_in
    access.end_session(cookie)

    with pytest.raises(NotAuthenticated):
        access.caller_of_session(cookie)
    assert access.caller_of_session(access.new_session(text)[1]).name == "ana"


@pytest.mark.parametrize("cookie", ["", "a.b", "." * 4, "x" * 5_000, "0" * 12 + "." + "9" * 12])
def test_what_is_no_session_signs_nobody_in(signed_in: tuple[Access, str, str], cookie: str) -> None:
    """Malformed, empty, too long."""
    with pytest.raises(NotAuthenticated):
        signed_in[0].caller_of_session(cookie)


def test_a_forms_token_is_good_with_its_own_cookie_alone() -> None:
    """Another browser's form brings nothing."""
    assert is_form_token("a", form_token("a"))
    assert not is_form_token("a", form_token("b"))
    assert not is_form_token("a", "\u00e9")


# --- where to listen ---------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1"])
def test_on_loopback_no_token_is_needed(path: Path, host: str) -> None:
    """Nor TLS."""
    check_listening(host, Access(path), tls=False)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "10.1.2.3", "deeds.example.com", "127.0.0.1.example.com", ""],  # noqa: S104
)
def test_elsewhere_tokens_are_needed_and_tls_or_a_word(path: Path, host: str) -> None:
    """One sentence says what is missing."""
    with pytest.raises(InvalidInput, match="there are no tokens"):
        check_listening(host, Access(path), tls=True)
    made, _ = TokenFile(path).create("ci", TRAINER)
    with pytest.raises(InvalidInput, match="for all to read"):
        check_listening(host, Access(path), tls=False)
    check_listening(host, Access(path), tls=True)
    check_listening(host, Access(path), tls=False, plaintext=True)
    TokenFile(path).revoke(made.id)
    with pytest.raises(InvalidInput, match="no token is good any more"):
        check_listening(host, Access(path), tls=True)


def test_a_public_name_needs_tokens_though_it_listens_on_loopback(path: Path) -> None:
    """Something in front of it hands on what comes from elsewhere, encrypted or not."""
    for name in ("deeds.example.com", "https://deeds.example.com:8443", "http://10.1.2.3"):
        with pytest.raises(InvalidInput, match="is reached from other machines, and there are no tokens"):
            check_listening("127.0.0.1", Access(path), tls=False, public=[name])
    check_listening("127.0.0.1", Access(path), tls=False, public=["http://localhost:8080"])
    TokenFile(path).create("ci", TRAINER)
    check_listening("127.0.0.1", Access(path), tls=False, public=["deeds.example.com"])


@pytest.mark.parametrize(
    ("host", "scheme", "port", "origin"),
    [
        ("localhost:8470", "http", 8470, "http://localhost:8470"),
        ("LOCALHOST:8470", "http", 8470, "http://localhost:8470"),
        ("127.0.0.1:8470", "http", 8470, "http://127.0.0.1:8470"),
        ("[::1]:8470", "http", 8470, "http://[::1]:8470"),
        ("localhost", "http", 80, "http://localhost"),
        ("localhost:443", "https", 443, "https://localhost"),
        ("localhost:8471", "http", 8470, None),
        ("localhost", "http", 8470, None),
        ("10.1.2.3:8470", "http", 8470, "http://10.1.2.3:8470"),
        ("deeds.example.com", "http", 8470, "https://deeds.example.com"),
        ("deeds.example.com:8470", "https", 8470, "https://deeds.example.com:8470"),
        ("deeds.example.com:9999", "https", 8470, None),
        ("plain.example.com:8080", "http", 8470, "http://plain.example.com:8080"),
        ("plain.example.com", "http", 8470, None),
        ("evil.example.com", "http", 8470, None),
        ("localhost.example.com:8470", "http", 8470, None),
        ("localhost:8470@evil.example.com", "http", 8470, None),
        ("localhost:8470/x", "http", 8470, None),
        ("localhost:", "http", 80, None),
        ("", "http", 8470, None),
        ("127.1:8470", "http", 8470, None),
    ],
)
def test_the_service_answers_under_its_own_names_alone(
    host: str, scheme: str, port: int, origin: str | None
) -> None:
    """Whatever else resolves to its address."""
    origins = Origins.of("10.1.2.3", ["deeds.example.com", "http://plain.example.com:8080"])

    assert origin == origins.origin_of(host, scheme=scheme, port=port)


@pytest.mark.parametrize("name", ["*", "http://", "https://a.example/path", "ftp://a.example", "a b", "a,b"])
def test_a_public_name_that_is_none_is_refused(name: str) -> None:
    """No pattern, no path."""
    with pytest.raises(InvalidInput, match="is no address that browsers may use"):
        Origins.of("127.0.0.1", [name])
