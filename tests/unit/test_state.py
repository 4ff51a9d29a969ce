"""The state branch: whole states only, whoever writes, is killed or is refused."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from modelyard import cli, git, state
from modelyard.errors import GitError, PushRejectedError, StateError, UsageError

#: A program that adds its lines to the state, one transaction each.
WRITER = """
import sys
from pathlib import Path
from modelyard import state

def add(line):
    def apply(folder):
        lines = folder / "lines"
        before = lines.read_text() if lines.exists() else ""
        (folder / "mlflow.db").write_text(before + line)
        lines.write_text(before + line)
    return apply

for line in sys.argv[2:]:
    state.transact(Path(sys.argv[1]), add(line + "\\n"), line)
"""


POLICY = """
version: 1
name: flights
package: flights
task: binary
data: {start: 2013-01-01, time: time, label: late}
evaluate: {metric: roc_auc}
"""


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    folder = tmp_path / "origin.git"
    git.run("init", "--quiet", "--bare", str(folder), cwd=tmp_path)
    return folder


@pytest.fixture
def root(tmp_path: Path, origin: Path) -> Path:
    return clone(tmp_path, origin, "mine")


def clone(tmp_path: Path, origin: Path, name: str) -> Path:
    folder = tmp_path / name
    git.run("clone", "--quiet", str(origin), str(folder), cwd=tmp_path)
    (folder / "modelyard.yaml").touch()
    return folder


def write(**files: str) -> Callable[[Path], Path]:
    """Return an apply that writes files (``a__b`` is a/b) and returns its folder."""

    def apply(folder: Path) -> Path:
        for name, text in files.items():
            path = folder / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return folder

    return apply


def branch(origin: Path) -> str:
    return git.attempt("rev-parse", "--verify", "--quiet", state.BRANCH, cwd=origin).stdout.decode().strip()


def content(origin: Path, name: str) -> str | None:
    found = git.show(origin, state.BRANCH, name)
    return found.decode() if found is not None else None


def leftovers(root: Path) -> list[Path]:
    return [*(root / ".modelyard/tx").glob("*"), *(root / state.FOLDER).rglob("*.lock"), *(root / state.FOLDER / ".git").glob("incoming-*")]


def hook(origin: Path, script: str) -> None:
    path = origin / "hooks/pre-receive"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_pull_without_branch(root: Path, origin: Path) -> None:
    """Where origin has no state branch yet, pull says so and leaves an empty replica that DVC can use."""
    assert state.pull(root) is False
    assert [path.name for path in (root / state.FOLDER).iterdir() if path.name != ".git"] == ["dvc"]
    assert branch(origin) == ""


def test_transaction_reaches_other_clones(tmp_path: Path, root: Path, origin: Path) -> None:
    """What one clone lands, another pulls; the branch keeps one commit without parents."""
    state.transact(root, write(a="1", artifacts__x__y="deep"), "first")
    state.transact(root, write(a="2"), "second")
    other = clone(tmp_path, origin, "other")

    assert state.pull(other) is True
    assert (other / state.FOLDER / "a").read_text() == "2"
    assert (other / state.FOLDER / "artifacts/x/y").read_text() == "deep"
    assert (root / state.FOLDER / "a").read_text() == "2"
    assert git.run("rev-list", "--count", state.BRANCH, cwd=origin) == "1"
    assert leftovers(root) == []


def test_deleted_files_disappear(tmp_path: Path, root: Path, origin: Path) -> None:
    """A file that a transaction removes is removed from branch and replicas."""
    other = clone(tmp_path, origin, "other")
    state.transact(root, write(a="1", b="1"), "both")
    state.pull(other)
    state.transact(root, lambda folder: (folder / "b").unlink(), "remove")
    state.pull(other)

    assert content(origin, "b") is None
    for replica in (root / state.FOLDER, other / state.FOLDER):
        assert (replica / "a").exists()
        assert not (replica / "b").exists()


def test_unchanged_state_is_not_pushed(root: Path, origin: Path) -> None:
    """A transaction that changes no file leaves the branch's commit alone, also where there is no branch."""
    assert state.transact(root, lambda _: "nothing", "none") == "nothing"
    assert branch(origin) == ""
    state.transact(root, write(a="1"), "first")
    before = branch(origin)
    state.transact(root, write(a="1"), "again")

    assert branch(origin) == before


def test_result_and_error_of_apply(root: Path, origin: Path) -> None:
    """Transact returns what apply returns; where apply fails, its error comes through and nothing lands."""
    assert state.transact(root, lambda folder: write(a="1")(folder).name, "first") == "state"
    before = branch(origin)

    def fail(folder: Path) -> None:
        write(a="2")(folder)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        state.transact(root, fail, "second")

    assert branch(origin) == before
    assert leftovers(root) == []


@pytest.mark.parametrize("exists", [True, False], ids=["branch exists", "first creation"])
def test_lost_race_is_applied_again(tmp_path: Path, root: Path, origin: Path, exists: bool) -> None:
    """Where somebody else lands first, apply runs again in a new folder that holds their change; both changes land."""
    other = clone(tmp_path, origin, "other")
    if exists:
        state.transact(root, write(zero="0"), "zero")
    folders: list[Path] = []

    def apply(folder: Path) -> list[bool]:
        folders.append(folder)
        if len(folders) == 1:
            state.transact(other, write(theirs="1"), "theirs")
        write(mine="1")(folder)
        return [(folder / "theirs").exists()]

    assert state.transact(root, apply, "mine") == [True]
    assert len(set(folders)) == 2
    assert (content(origin, "theirs"), content(origin, "mine")) == ("1", "1")
    assert (root / state.FOLDER / "theirs").exists()


def test_endless_races_end(tmp_path: Path, root: Path, origin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a bounded number of lost races the error says that nothing changed and to run it again."""
    monkeypatch.setattr(state, "_ATTEMPTS", 3)
    other = clone(tmp_path, origin, "other")
    rounds: list[Path] = []

    def apply(folder: Path) -> None:
        rounds.append(folder)
        state.transact(other, write(theirs=str(len(rounds))), "theirs")
        write(mine="1")(folder)

    with pytest.raises(StateError, match="3 times somebody else"):
        state.transact(root, apply, "mine")

    assert len(rounds) == 3
    assert content(origin, "mine") is None


def test_writers_at_once_all_land(tmp_path: Path, root: Path, origin: Path) -> None:
    """Two processes in one working copy and one in another, four transactions each: none is lost, and the files agree."""
    other = clone(tmp_path, origin, "other")
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(folder), *(f"{name}{number}" for number in range(4))])
        for name, folder in (("a", root), ("b", root), ("c", other))
    ]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]

    lines = (content(origin, "lines") or "").split()
    assert sorted(lines) == sorted(f"{name}{number}" for name in "abc" for number in range(4))
    assert content(origin, "mlflow.db") == content(origin, "lines")
    assert (root / state.FOLDER / "lines").read_text().split() in (lines, lines[:-1], lines[:-2], lines[:-3], lines[:-4])
    state.pull(root)
    assert (root / state.FOLDER / "lines").read_text().split() == lines


def killed_at(root: Path, step: int, value: str) -> bool:
    """Run a transaction in a child that kills itself before its ``step``-th change of a file or program start; whether it did."""
    child = os.fork()
    if child == 0:
        seen = 0

        def audit(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal seen
            if event in ("subprocess.Popen", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "fcntl.flock"):
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(audit)
        state.transact(root, write(one=value, artifacts__two=value, **{"mlflow.db": value}), value)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def assert_whole(root: Path, origin: Path, old: str | None, new: str) -> str | None:
    """Check that the branch shows the old or the new state, and that the next command finds the replica usable; the state."""
    names = ("one", "artifacts/two", "mlflow.db")
    values = {content(origin, name) for name in names}
    assert len(values) == 1
    assert values <= {old, new}
    replica = [root / state.FOLDER / name for name in names]
    if replica[-1].exists() and replica[-1].read_text() == new:
        assert {path.read_text() for path in replica} == {new}, "the database appears last: what it names is there"
    state.pull(root)
    assert {path.read_text() if path.exists() else None for path in replica} == values
    return values.pop()


def test_kill_between_any_two_steps(root: Path, origin: Path) -> None:
    """Killed before any of its steps, a transaction leaves the old or the new state, and the next one works."""
    value: str | None = None
    outcomes = []
    for step in range(1, 1000):
        target = f"value {step}"
        killed = killed_at(root, step, target)
        after = assert_whole(root, origin, value, target)
        outcomes.append(after == target)
        value = after
        if not killed:
            break
    state.transact(root, write(last="1"), "sweep")

    assert not killed
    assert outcomes[-1] is True
    assert outcomes.count(False) > 10, "too few steps were met before the push"
    assert outcomes.count(True) > 5, "too few steps were met after the push"
    assert leftovers(root) == []


def test_kill_with_git_at_any_moment(root: Path, origin: Path) -> None:
    """Killed together with its git children at moments spread over its run, a transaction leaves the old or the new state."""
    state.transact(root, write(one="0", artifacts__two="0", **{"mlflow.db": "0"}), "zero")
    started = time.monotonic()
    assert killed_at(root, 10_000, "1") is False
    duration = time.monotonic() - started
    value: str | None = "1"
    for step in range(12):
        target = f"moment {step}"
        child = os.fork()
        if child == 0:
            os.setsid()
            state.transact(root, write(one=target, artifacts__two=target, **{"mlflow.db": target}), target)
            os._exit(0)
        time.sleep(duration * (step + 1) / 12)
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        value = assert_whole(root, origin, value, target)


def test_refused_push_changes_nothing(root: Path, origin: Path) -> None:
    """Where a hook of the remote says no, the error says so at once, and branch and replica stay as they were."""
    state.transact(root, write(a="1"), "first")
    before = branch(origin)
    hook(origin, "echo 'not on a Friday' >&2; exit 1")
    calls: list[Path] = []

    with pytest.raises(PushRejectedError, match="not on a Friday"):
        state.transact(root, lambda folder: calls.append(write(a="2")(folder)), "second")

    assert len(calls) == 1
    assert branch(origin) == before
    assert (root / state.FOLDER / "a").read_text() == "1"
    assert leftovers(root) == []


def test_no_origin(tmp_path: Path) -> None:
    """A project without origin is told to add one."""
    git.run("init", "--quiet", cwd=tmp_path)

    for call in (lambda: state.pull(tmp_path), lambda: state.transact(tmp_path, write(a="1"), "first")):
        with pytest.raises(UsageError, match="no remote `origin`"):
            call()


def test_unreachable_origin(tmp_path: Path, root: Path) -> None:
    """An origin that does not answer is an error of the state that names the address."""
    git.run("remote", "set-url", "origin", str(tmp_path / "nowhere.git"), cwd=root)

    with pytest.raises(StateError, match=r"nowhere\.git") as caught:
        state.pull(root)

    assert "git remote get-url origin" in caught.value.fix


def test_vanished_branch_is_not_replaced(root: Path, origin: Path) -> None:
    """Where origin lost the branch, neither pull nor a write loses the replica's state, and the command shown brings it back."""
    state.transact(root, write(a="1"), "first")
    git.run("update-ref", "-d", f"refs/heads/{state.BRANCH}", cwd=origin)

    with pytest.raises(StateError, match="no branch"):
        state.transact(root, write(a="2"), "second")
    with pytest.raises(StateError, match="no branch") as caught:
        state.pull(root)

    assert (root / state.FOLDER / "a").read_text() == "1"
    subprocess.run(caught.value.fix.splitlines()[0].removeprefix("Put it there: "), shell=True, cwd=root, check=True, capture_output=True)
    assert state.pull(root) is True
    assert content(origin, "a") == "1"


def test_hand_made_dvc_push(tmp_path: Path, root: Path, origin: Path) -> None:
    """Files that `dvc push` put into the replica survive pulls, and state.push lands them; half-copied ones stay behind."""
    state.pull(root)
    write(dvc__files__md5__ab__cd="data", **{"dvc__files__md5__ab__cd.x7.tmp": "half"})(root / state.FOLDER)
    state.transact(clone(tmp_path, origin, "other"), write(a="1", dvc__files__md5__ef__01="theirs"), "theirs")
    state.pull(root)
    assert (root / state.FOLDER / "dvc/files/md5/ab/cd").read_text() == "data"

    state.push(root)

    assert content(origin, "dvc/files/md5/ab/cd") == "data"
    assert content(origin, "dvc/files/md5/ef/01") == "theirs"
    assert content(origin, "dvc/files/md5/ab/cd.x7.tmp") is None


def test_replica_heals(root: Path) -> None:
    """What was changed or deleted in the replica is as on the branch after a pull; a database's stale journal is gone."""
    state.transact(root, write(a="1", **{"mlflow.db": "db"}), "first")
    replica = root / state.FOLDER
    (replica / "a").unlink()
    (replica / "mlflow.db").write_text("edited by hand")
    (replica / "mlflow.db-journal").touch()

    state.pull(root)

    assert (replica / "a").read_text() == "1"
    assert (replica / "mlflow.db").read_text() == "db"
    assert not (replica / "mlflow.db-journal").exists()


@pytest.mark.parametrize(
    ("name", "limits", "fix"),
    [
        ("dvc/files/big", {"FILE_LIMIT": 10}, "dvc remote add"),
        ("artifacts/big", {"FILE_LIMIT": 10}, "MLFLOW_TRACKING_URI"),
        ("dvc/files/big", {"TOTAL_LIMIT": 15}, "dvc remote add"),
    ],
)
def test_size_guard(root: Path, origin: Path, monkeypatch: pytest.MonkeyPatch, name: str, limits: dict[str, int], fix: str) -> None:
    """A state too large for a branch is refused by the file's name and with the command that connects a real remote."""
    for limit, value in limits.items():
        monkeypatch.setattr(state, limit, value)

    with pytest.raises(StateError, match=name) as caught:
        state.transact(root, write(small="12345", **{name.replace("/", "__"): "12345678901"}), "big")

    assert fix in caught.value.fix
    assert branch(origin) == ""


def test_only_changes_travel(tmp_path: Path, root: Path, origin: Path) -> None:
    """Neither a push nor a fetch moves the files that both states hold, though their commits share no history."""
    measured = tmp_path / "bytes"
    hook(origin, f'find "$GIT_QUARANTINE_PATH" -type f -exec cat {{}} + | wc -c > {measured}')
    noise = os.urandom(300_000).hex()
    state.transact(root, write(noise=noise), "large")
    assert int(measured.read_text()) > 300_000
    other = clone(tmp_path, origin, "other")
    state.pull(other)

    for writer, reader, value in ((root, other, "1"), (other, root, "2")):
        before = sum(file.stat().st_size for file in (reader / state.FOLDER / ".git/objects").rglob("*"))
        state.transact(writer, write(a=value), "small")
        state.pull(reader)
        after = sum(file.stat().st_size for file in (reader / state.FOLDER / ".git/objects").rglob("*"))

        assert int(measured.read_text()) < 10_000
        assert after - before < 50_000


def test_bytes_survive_any_git_configuration(tmp_path: Path, root: Path, origin: Path) -> None:
    """A person's git configuration neither hides files from the state nor changes their bytes, nor runs hooks on them."""
    (tmp_path / "ignore").write_text("*.db\n")
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks/pre-push").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "hooks/pre-push").chmod(0o755)
    for key, value in (("autocrlf", "true"), ("excludesFile", tmp_path / "ignore"), ("hooksPath", tmp_path / "hooks")):
        git.run("config", "--global", f"core.{key}", str(value), cwd=root)
    raw = b"a\r\nb\nc\r\n"

    state.transact(root, lambda folder: (folder / "x.db").write_bytes(raw), "first")
    other = clone(tmp_path, origin, "other")
    state.pull(other)

    assert git.show(origin, state.BRANCH, "x.db") == raw
    assert (other / state.FOLDER / "x.db").read_bytes() == raw


def test_dead_transactions_are_swept(root: Path) -> None:
    """Folders of dead processes are removed, those of living ones are not."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    dead, alive = (root / f".modelyard/tx/{pid}-0" for pid in (done.pid, os.getppid()))
    for folder in (dead, alive):
        (folder / "state").mkdir(parents=True)

    state.transact(root, write(a="1"), "first")

    assert not dead.exists()
    assert alive.exists()


def test_relative_origin(tmp_path: Path, root: Path, origin: Path) -> None:
    """An origin named relative to the project is found."""
    git.run("remote", "set-url", "origin", "../origin.git", cwd=root)
    state.transact(root, write(a="1"), "first")

    assert content(origin, "a") == "1"


PASSWORD = base64.b64encode(b"x-access-token:secret")


class GitOverHttp(BaseHTTPRequestHandler):
    """Git's own HTTP backend behind a password, as a forge has it."""

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != f"basic {PASSWORD.decode()}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        body = self._body()
        called = {
            "GIT_PROJECT_ROOT": str(self.server.folder),  # type: ignore[attr-defined]
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": "somebody",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(["git", "http-backend"], env=os.environ | called, input=body, capture_output=True, check=True)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(headers.pop("Status", "200 OK").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET  # noqa: N815 - its name in the base class

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_: object) -> None:
        pass


def test_origin_over_http(tmp_path: Path, root: Path, origin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a job's token, transactions land over HTTP, lost races included; without it, the error says what to check."""
    other = clone(tmp_path, origin, "other")
    with ThreadingHTTPServer(("127.0.0.1", 0), GitOverHttp) as server:
        server.folder = tmp_path  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        for folder in (root, other):
            git.run("remote", "set-url", "origin", f"{address}/origin.git", cwd=folder)
        with pytest.raises(StateError, match="cannot be read"):
            state.pull(root)

        monkeypatch.setenv("GITHUB_TOKEN", "secret")
        monkeypatch.setenv("GITHUB_SERVER_URL", address)
        state.transact(root, write(large=os.urandom(2_000_000).hex()), "first")
        rounds: list[Path] = []

        def apply(folder: Path) -> None:
            rounds.append(folder)
            if len(rounds) == 1:
                state.transact(other, write(theirs="1"), "theirs")
            write(mine="1")(folder)

        state.transact(root, apply, "mine")
        server.shutdown()

    assert len(rounds) == 2
    assert (content(origin, "theirs"), content(origin, "mine")) == ("1", "1")
    assert not [file for file in (root / ".modelyard").rglob("*") if file.is_file() and PASSWORD in file.read_bytes()]


def test_relative_project_folder(root: Path, origin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project may be named relative to the working folder."""
    monkeypatch.chdir(root.parent)
    state.transact(Path(root.name), write(a="1"), "first")
    (root / state.FOLDER / "a").unlink()
    assert state.pull(Path(root.name)) is True

    assert (root / state.FOLDER / "a").read_text() == "1"
    assert content(origin, "a") == "1"


def test_command_line(root: Path, origin: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`modelyard state pull` and `push` work inside a project and say in a sentence what is there now."""
    (root / "modelyard.yaml").write_text(POLICY)
    monkeypatch.chdir(root)
    said = []
    for verb in ("pull", "push", "pull"):
        if verb == "push":
            write(dvc__files__md5__ab__cd="data")(root / state.FOLDER)
        with pytest.raises(SystemExit) as ended:
            cli.main(["state", verb])
        assert ended.value.code == 0
        said.append(capsys.readouterr().out)

    assert "no branch modelyard-state yet" in said[0]
    assert "at the state of origin" in said[2]
    assert content(origin, "dvc/files/md5/ab/cd") == "data"


def test_failing_git_is_not_hidden(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A push that fails for another reason than a race or a refusal is no success."""

    def fail(*_: str, cwd: Path) -> None:
        raise GitError("the line went dead")

    monkeypatch.setattr(git, "push", fail)

    with pytest.raises(GitError, match="went dead"):
        state.transact(root, write(a="1"), "first")

    assert leftovers(root) == []
