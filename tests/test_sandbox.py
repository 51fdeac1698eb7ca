"""Whatever a model does, the worker gets numbers or a reason, and the next honest job succeeds."""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from deedbook.artifacts.formats import save_model
from deedbook.consumers.sandbox import Failure, Limits, Predictions, Sandbox
from deedbook.events.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

FEATURES = ["a", "b"]
ROWS = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
HONEST = save_model(LinearRegression().fit([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [1.0, 3.0, 4.0]))
EXPECTED = pytest.approx((9.0, 19.0, 29.0))
SECRET = "the-secret-of-the-worker"  # noqa: S105 (nobody's)
# For code that goes to the C library itself, past everything that Python reports.
NATIVE = "import ctypes; c = ctypes.CDLL(None, use_errno=True); "


class Hostile:
    """A pickle that runs Python source when it is loaded; `model` in it is what was loaded."""

    def __init__(self, source: str) -> None:
        """Keep the source."""
        self.source = source

    def __reduce__(self) -> tuple[object, tuple[str, dict[str, str]]]:
        """Have the unpickler run it."""
        return eval, ("(exec(s, g := {'__name__': 'hostile'}), g.get('model'))[1]", {"s": self.source})


def predicting(expression: str, setup: str = "") -> str:
    """Source of a model whose predictions are an expression of the matrix X."""
    return f"{setup}\nclass Model:\n    def predict(self, X):\n        return {expression}\nmodel = Model()\n"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """One warm sandbox with tight limits, for all that is done to it here; its worker holds a secret."""
    os.environ["DEEDBOOK_TEST_SECRET"] = SECRET
    limits = Limits(wall_seconds=6, cpu_seconds=2, memory_bytes=256 << 20)
    try:
        with Sandbox(limits) as warm:
            yield warm
    finally:
        del os.environ["DEEDBOOK_TEST_SECRET"]


@pytest.fixture
def run(sandbox: Sandbox, tmp_path: Path) -> Iterator[Runner]:
    """Run models in the sandbox; after each test an honest model must still do."""
    runner = Runner(sandbox, tmp_path)
    yield runner
    assert EXPECTED == runner.values(HONEST.data, "skops")


class Runner:
    """Bytes or source in, outcome out."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        """Write models to a folder."""
        self.sandbox = sandbox
        self.folder = folder

    def model(self, data: bytes, format_name: str, rows: list[list[float]] = ROWS) -> Predictions | Failure:
        """Run a model's bytes."""
        file = self.folder / "model"
        file.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        return self.sandbox.predict(file, digest, format_name, FEATURES, rows, allowed={"skops", "pickle"})

    def values(self, data: bytes, format_name: str) -> tuple[float, ...]:
        """Run a model that must succeed."""
        outcome = self.model(data, format_name)
        assert isinstance(outcome, Predictions), outcome
        return outcome.values

    def __call__(self, source: str) -> Predictions | Failure:
        """Run a hostile pickle."""
        return self.model(pickle.dumps(Hostile(source)), "pickle")

    def failure(self, source: str) -> Failure:
        """Run a hostile pickle that must fail, with a reason that can be shown."""
        outcome = self(source)
        assert isinstance(outcome, Failure), outcome
        assert outcome.reason.isprintable()
        assert len(outcome.reason) <= 500
        assert SECRET not in outcome.reason
        return outcome


def test_an_honest_model_predicts_what_it_predicts_outside(run: Runner) -> None:
    """Bit for bit; threads of its own would add up in another order each time, so it gets none."""
    rows = np.random.default_rng(0).normal(size=(500, 2))
    model = RandomForestRegressor(n_estimators=5, n_jobs=4, random_state=0).fit(rows, rows.sum(axis=1))
    outcome = run.model(save_model(model).data, "skops", rows.tolist())

    assert Predictions(tuple(model.set_params(n_jobs=1).predict(rows).tolist())) == outcome


def test_a_model_may_print_as_much_as_it_likes(run: Runner) -> None:
    """What it prints is not what it answers."""
    outcome = run(predicting("(print('x' * 5_000_000), [1, 2, 3])[1]"))
    assert Predictions((1.0, 2.0, 3.0)) == outcome


# --- what is decided before anything runs --------------------------------------------------------


def test_bytes_that_are_not_the_recorded_ones_are_not_run(run: Runner, tmp_path: Path) -> None:
    """Another digest, no file, a file that is too big, a format that is not allowed, or another format."""
    file = tmp_path / "other"
    file.write_bytes(pickle.dumps(Hostile("raise SystemExit")))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    predict = run.sandbox.predict

    outcomes = [
        predict(file, "0" * 64, "pickle", FEATURES, ROWS, allowed={"pickle"}),
        predict(tmp_path / "nothing", digest, "pickle", FEATURES, ROWS, allowed={"pickle"}),
        predict(file, digest, "pickle", FEATURES, ROWS),
        predict(file, digest, "skops", FEATURES, ROWS),
        predict(file, digest, "pickle", FEATURES, [], allowed={"pickle"}),
    ]

    assert [
        Failure("digest", f"the artifact's digest is {digest}, not {'0' * 64} as recorded"),
        Failure("digest", "the artifact can't be read: No such file or directory"),
        Failure("format", "the policy does not allow models in the format pickle"),
        Failure("format", "the model is declared as skops, but its bytes are not: they look like pickle"),
        Failure("malformed", "there are no rows to predict"),
    ] == outcomes


def test_rows_that_do_not_fit_are_the_callers_mistake(sandbox: Sandbox, tmp_path: Path) -> None:
    """It must not look like the model's failure."""
    with pytest.raises(InvalidInput, match="each row needs 2 values"):
        sandbox.predict(tmp_path / "model", "0" * 64, "skops", FEATURES, [[1.0]])


def test_a_skops_file_with_an_untrusted_type_or_no_content_is_refused(run: Runner) -> None:
    """The sentence names the type."""
    untrusted = skops.io.dumps(make_pipeline(FunctionTransformer(os.getenv), LinearRegression()))

    assert Failure("format", "the skops file needs types that are not trusted: os.getenv") == run.model(
        untrusted, "skops"
    )
    assert Failure("format", "the skops file is broken: File is not a zip file") == run.model(
        b"PK\3\4", "skops"
    )


def test_a_zip_bomb_is_refused(run: Runner) -> None:
    """A member that claims two gibibytes."""
    bomb = HONEST.data
    end = bomb.rindex(b"PK\1\2")
    bomb = bomb[: end + 24] + (1 << 31).to_bytes(4, "little") + bomb[end + 28 :]
    outcome = run.model(bomb, "skops")

    assert isinstance(outcome, Failure)
    assert "format" == outcome.kind
    assert "would inflate to" in outcome.reason


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source", ["import time; time.sleep(60)", predicting("__import__('time').sleep(60)")]
)
def test_a_model_that_hangs_is_ended(run: Runner, source: str) -> None:
    """While loading or while predicting."""
    assert Failure("timeout", "the model did not answer within 6 s") == run(source)


def test_a_model_that_computes_for_ever_is_ended(run: Runner) -> None:
    """By its processor time, before its wall-clock time."""
    assert Failure("timeout", "the model used more than 2 s of processor time") == run("while True: pass")


@pytest.mark.parametrize(
    "source",
    [
        "x = bytearray(1 << 30)",
        "x = []\nwhile True: x.append(bytearray(1 << 20))",
        "import numpy; x = numpy.ones(1 << 28)",
        "import mmap; x = mmap.mmap(-1, 1 << 30)",
    ],
)
def test_a_model_that_eats_memory_is_ended(run: Runner, source: str) -> None:
    """However it asks for it."""
    failure = run.failure(source)
    if "mmap" in source:  # mmap says so by an OSError
        assert Failure("exception", "the model raised OSError: [Errno 12] Cannot allocate memory") == failure
    else:
        assert Failure("memory", "the model used more than 256 MiB of memory") == failure


# --- ways to end ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import os; os._exit(0)", "the model ended its process with status 0 before it answered"),
        ("import sys; sys.exit()", "the model ended its process with status 0 before it answered"),
        ("import sys; sys.exit(3)", "the model ended its process with status 3 before it answered"),
        ("import os; os._exit(70)", "the model ended its process with status 70 before it answered"),
        (NATIVE + "c.abort()", "the model's process was ended by SIGABRT before it answered"),
        (NATIVE + "c.kill(c.getpid(), 9)", "the model's process was ended by SIGKILL before it answered"),
        ("import ctypes; ctypes.string_at(0)", "the model's process was ended by SIGSEGV before it answered"),
        (
            "import os, sys; os.write(2, b'\\x1b[31mlast words\\n'); os._exit(5)",
            "ended its process with status 5 before it answered (it printed: \\x1b[31mlast words)",
        ),
    ],
)
def test_a_model_that_ends_its_process_is_said_to(run: Runner, source: str, reason: str) -> None:
    """An answer that never came is not an empty answer."""
    failure = run.failure(source)
    assert "exit" == failure.kind
    assert reason in failure.reason


def test_an_answer_does_not_count_when_the_process_then_fails(run: Runner) -> None:
    """Only a whole answer from a process that ended well is one."""
    forged = "import os, struct; os.write(3, b'P' + struct.pack('!I3d', 24, 1, 2, 3)); os._exit(1)"
    assert "exit" == run.failure(forged).kind


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise ValueError('no')", "the model raised ValueError: no"),
        (
            "raise ValueError('\\x1b[2J\\u202e' + 'x' * 10_000_000)",
            "the model raised ValueError: \\x1b[2J\\u202exxx",
        ),
        ("raise type('E' * 100_000, (Exception,), {})()", "the model raised EEEE"),
        (
            "class E(Exception):\n    def __str__(self): raise E\nraise E",
            "the model raised E: (the exception has no",
        ),
        ("raise KeyboardInterrupt", "the model raised KeyboardInterrupt"),
        ("def f(): f()\nf()", "the model raised RecursionError"),
        ("raise ValueError('\\ud800')", "the model raised ValueError: \\ud800"),
    ],
)
def test_a_model_that_raises_is_quoted_within_bounds(run: Runner, source: str, reason: str) -> None:
    """Escaped, so that a terminal shows it and does not act on it."""
    failure = run.failure(source)
    assert "exception" == failure.kind
    assert failure.reason.startswith(reason)


# --- what a model has no business with -------------------------------------------------------------


def test_a_model_that_opens_a_connection_is_refused_and_nobody_hears_of_it(run: Runner) -> None:
    """Through Python, whether it hides the exception or not, and past Python."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        address = listener.getsockname()
        connect = f"__import__('socket').create_connection({address!r}, 1)"
        hiding = predicting("[1, 2, 3]", f"try: {connect}\nexcept OSError: pass")
        packed = socket.inet_aton(address[0])
        sockaddr = (
            int(socket.AF_INET).to_bytes(2, "little") + address[1].to_bytes(2, "big") + packed + bytes(8)
        )
        native = f"s = c.socket(2, 1, 0); r = c.connect(s, {sockaddr!r}, 16)"

        for source in (connect, hiding):
            failure = run.failure(source)
            assert "refused" == failure.kind
            assert "open a network connection (socket." in failure.reason
        assert Predictions((-1.0, -1.0, -1.0)) == run(predicting("[r] * 3", NATIVE + native))
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_the_workers_environment_does_not_come_out(run: Runner) -> None:
    """Not by asking, and not from any process's /proc."""
    ask = "import os; raise ValueError(os.environ['DEEDBOOK_TEST_SECRET'])"
    dump = predicting("[1, 2, 3]", "import os; found = dict(os.environ)")
    everywhere = (
        "import os\nfound = []\n"
        f"for pid in ['self', 1, os.getppid(), {os.getpid()}, *range(2, 200)]:\n"
        "    try: found.append(open(f'/proc/{pid}/environ').read())\n    except OSError: pass\n"
        "raise ValueError(f'found {found}')"
    )

    assert Failure(
        "refused", "the model tried to read the environment ('DEEDBOOK_TEST_SECRET')"
    ) == run.failure(ask)
    assert Failure("refused", "the model tried to read the environment (all of it)") == run.failure(dump)
    assert "the model tried to read the file '/proc/self/environ'" in run.failure(everywhere).reason
    native = (
        NATIVE + "c.getenv.restype = ctypes.c_char_p; raise ValueError(c.getenv(b'DEEDBOOK_TEST_SECRET'))"
    )
    assert Failure("exception", "the model raised ValueError: None") == run.failure(native)


def test_other_files_and_artifacts_can_not_be_read(run: Runner, tmp_path: Path) -> None:
    """A file beside the model, this test's own source, a file of the system; past Python, too."""
    secret = tmp_path / "artifact"
    secret.write_text(SECRET)
    tmp_path.chmod(0o755)
    secret.chmod(0o644)
    for path in (secret, Path(__file__), Path("/etc/passwd")):
        failure = run.failure(f"raise ValueError(open({str(path)!r}).read())")
        assert Failure("refused", f"the model tried to read the file '{path}'"[:400]) == failure
        native = f"r = c.open({str(path).encode()!r}, 0)"
        assert Predictions((-1.0,) * 3) == run(predicting("[r] * 3", NATIVE + native))


def test_files_can_not_be_written(run: Runner, tmp_path: Path) -> None:
    """Neither new ones nor Python's own libraries, nor the model and the order it was given."""
    tmp_path.chmod(0o777)
    target = tmp_path / "written"
    assert f"write the file '{target}'" in run.failure(f"open({str(target)!r}, 'w')").reason
    for path in (target, Path(np.__file__)):
        name = str(path).encode()
        # Without O_TRUNC: should it work, it does no harm.
        tries = f"c.open({name!r}, {os.O_WRONLY}), c.open({name!r}, {os.O_CREAT}, 0o666), c.utimes({name!r}, None)"
        assert Predictions((-1.0,) * 3) == run(predicting("r", f"{NATIVE}r = [{tries}]"))
    assert not target.exists()
    own = "c.write(4, b'x', 1), c.ftruncate(4, 0), c.write(5, b'x', 1)"
    assert Predictions((-1.0,) * 3) == run(predicting("r", f"{NATIVE}r = [{own}]"))


def test_a_model_has_only_the_files_it_was_given(run: Runner) -> None:
    """Nothing: the standard three, its answer, the model and the order; those two closed once they are read."""
    source = (
        "import os\n"
        "def is_open(fd):\n    try: os.fstat(fd); return True\n    except OSError: return False\n"
        "raise ValueError([fd for fd in range(4096) if is_open(fd)])"
    )
    assert Failure("exception", "the model raised ValueError: [0, 1, 2, 3, 4]") == run.failure(source)


@pytest.mark.parametrize(
    "source",
    [
        "import os; os.fork()",
        "import os; os.system('true')",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.posix_spawn('/bin/true', ['true'], {})",
        "import os; os.kill(os.getppid(), 9)",
        "import os; os.kill(-1, 9)",
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    ],
)
def test_a_model_that_starts_or_signals_processes_is_refused(run: Runner, source: str) -> None:
    """Also by the hundred."""
    failure = run.failure(source)
    assert "refused" == failure.kind
    assert failure.reason.startswith(("the model tried to start a p", "the model tried to send a signal"))


def test_past_python_a_model_gets_no_further(run: Runner) -> None:
    """Fork, programs, a new user namespace, the server's memory, other processes: the kernel says no."""
    tries = (
        "c.fork()",
        "c.vfork()",
        "c.execv(b'/bin/true', (ctypes.c_char_p * 2)(b'true', None))",
        "c.unshare(0x10000000)",
        "c.ptrace(16, c.getppid(), 0, 0)",
        "c.ptrace(16, 1, 0, 0)",
        "c.kill(1, 9)",
        f"c.kill({os.getpid()}, 9)",
        "c.kill(-1, 9)",
        "c.setuid(0)",
        "c.mount(b'none', b'/', b'tmpfs', 0, None)",
        "c.chroot(b'/')",
        "c.memfd_create(b'x', 0)",
        "c.shmget(0, 1 << 20, 0o600 | 512)",
    )
    setup = f"{NATIVE}r = [{', '.join(tries)}]"
    rows = [[0.0, 0.0]] * len(tries)
    outcome = run.model(pickle.dumps(Hostile(predicting("r", setup))), "pickle", rows)

    assert Predictions((-1.0,) * len(tries)) == outcome


# --- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'garbage')\n    except OSError: pass",
            "known kind",
        ),
        ("import os; os.write(3, b'P')", "a frame is cut short"),
        ("import os; os.write(3, b'P\\xff\\xff\\xff\\xff'); os._exit(0)", "a frame is cut short"),
        (
            "import os; os.write(3, b'E\\0\\0\\0\\1x'); model = type('M', (), {'predict': lambda s, X: [1, 2, 3]})()",
            "follows",
        ),
        ("import os; os.write(3, b'P\\0\\0\\0\\7' + bytes(7)); os._exit(0)", "the predictions are cut short"),
        (
            "import os; os.write(3, b'P\\0\\0\\0\\x08' + bytes(8)); os._exit(0)",
            "predicted 1 values for 3 rows",
        ),
        ("import os; os.write(3, b'S\\0\\0\\0\\2{}'); os._exit(0)", "a frame of another kind"),
        ("import os\nwhile True: os.write(3, b'x' * 65536)", "sent more than an answer can have"),
        (predicting("[float('nan'), 1, float('inf')]"), "predicted NaN or infinity for 2 of 3 rows"),
        (predicting("[1, 2]"), "predicted 2 values for 3 rows"),
        (predicting("[[1, 2, 3]] * 3"), "predicted a list, not a number"),
        (predicting("['a', 'b', 'c']"), "predicted a str, not a number"),
    ],
)
def test_what_is_not_one_finite_number_a_row_is_no_answer(run: Runner, source: str, reason: str) -> None:
    """Garbage, cut, doubled, oversized, or well-formed and wrong."""
    failure = run.failure(source)
    assert "malformed" == failure.kind
    assert reason in failure.reason


@pytest.mark.parametrize("source", [predicting("None"), "model = None", predicting("1 / 0")])
def test_a_model_that_can_not_predict_raises(run: Runner, source: str) -> None:
    """Its exception is the reason."""
    assert "exception" == run.failure(source).kind


# --- the worker lives on ---------------------------------------------------------------------------


def test_a_killed_server_is_started_again(run: Runner) -> None:
    """Between two jobs, and in the middle of one."""
    server = run.sandbox._server  # noqa: SLF001 (there is no public way to its process, nor should there be)
    assert server is not None
    os.kill(server.pid, signal.SIGKILL)
    assert EXPECTED == run.values(HONEST.data, "skops")

    server = run.sandbox._server  # noqa: SLF001
    assert server is not None
    killer = threading.Timer(0.5, os.kill, (server.pid, signal.SIGKILL))
    killer.start()
    assert Failure("timeout", "the model did not answer within 6 s") == run("import time; time.sleep(60)")
    killer.join()


def test_threads_take_turns(run: Runner) -> None:
    """Each gets its own answer."""
    outcomes: dict[int, Predictions | Failure] = {}
    sources = {number: pickle.dumps(Hostile(predicting(f"[{number}] * 3"))) for number in range(6)}

    def job(number: int) -> None:
        file = run.folder / f"model-{number}"
        file.write_bytes(sources[number])
        digest = hashlib.sha256(sources[number]).hexdigest()
        outcomes[number] = run.sandbox.predict(file, digest, "pickle", FEATURES, ROWS, allowed={"pickle"})

    threads = [threading.Thread(target=job, args=(number,)) for number in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {number: Predictions((float(number),) * 3) for number in sources} == outcomes


def test_jobs_leave_no_open_files_in_the_worker(run: Runner) -> None:
    """A worker does this for years."""
    run.values(HONEST.data, "skops")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        run.values(HONEST.data, "skops")
        run.failure("raise ValueError")

    assert before == len(list(Path("/proc/self/fd").iterdir()))


def test_a_closed_sandbox_leaves_no_process_behind(tmp_path: Path) -> None:
    """The server's process is gone when `close` returns."""
    with Sandbox() as sandbox:
        assert EXPECTED == Runner(sandbox, tmp_path).values(HONEST.data, "skops")
        server = sandbox._server  # noqa: SLF001
        assert server is not None
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)
