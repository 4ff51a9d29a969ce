"""The command line: exit codes, and one clear message for whatever a person can get wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from unit import mini_project

from modelyard import cli, git, policy
from modelyard.errors import StateError
from modelyard.outcome import Outcome
from modelyard.project import RAW, RELEASE, Project

#: Spoils a whole project; the commands then run in its folder.
Spoil = Callable[[Project, pytest.MonkeyPatch], None]


@pytest.fixture
def told(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command line in this process; exit code, stdout, stderr."""

    def run(*args: str) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main(list(args))
        code = left.value.code
        assert isinstance(code, int)
        return (code, *capfd.readouterr())

    return run


def _write(path: str, text: str | bytes) -> Spoil:
    def spoil(project: Project, _: pytest.MonkeyPatch) -> None:
        (project.root / path).parent.mkdir(parents=True, exist_ok=True)
        (project.root / path).write_bytes(text.encode() if isinstance(text, str) else text)

    return spoil


def _remove(path: str) -> Spoil:
    return lambda project, _: (project.root / path).unlink()


def _policy(**change: object) -> Spoil:
    def spoil(project: Project, _: pytest.MonkeyPatch) -> None:
        path = project.root / policy.FILE
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))

    return spoil


def _load(line: str) -> Spoil:
    def spoil(project: Project, _: pytest.MonkeyPatch) -> None:
        # A name of its own: Python imports a module only once.
        package = project.policy.package
        text = (project.source / package / "data.py").read_text().replace("    fault = json", f"    {line}\n    fault = json")
        other = f"{package}_{abs(hash(line))}"
        _write(f"src/{other}/data.py", text)(project, _)
        _policy(package=other)(project, _)

    return spoil


def _no_git(_: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")


def _no_repository(project: Project, _: pytest.MonkeyPatch) -> None:
    (project.root / ".git").rename(project.root / "not-git")


def _no_origin(project: Project, _: pytest.MonkeyPatch) -> None:
    git.run("remote", "remove", "origin", cwd=project.root)


def _lost_origin(project: Project, _: pytest.MonkeyPatch) -> None:
    git.run("remote", "set-url", "origin", "../nowhere.git", cwd=project.root)


def _no_act(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(".github/workflows/ci.yml", "on: push\njobs:\n  ci:\n    runs-on: ubuntu-latest\n    steps: [{run: 'true'}]\n")(
        project, monkeypatch
    )
    mini_project.commit(project.root, "A workflow")
    (project.root.parent / "bin").mkdir()
    (project.root.parent / "bin/git").symlink_to(shutil.which("git") or "")
    monkeypatch.setenv("PATH", str(project.root.parent / "bin"))
    monkeypatch.setattr(sys, "executable", str(project.root.parent / "bin/python"))


def _broken_release(project: Project, _: pytest.MonkeyPatch) -> None:
    (project.root / RELEASE).parent.mkdir()
    (project.root / RELEASE).write_text("model: [")
    mini_project.commit(project.root, "Break it")


def _outside(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root.parent)


APRIL = ("ingest", "--now", "2013-04-01")


@pytest.mark.parametrize(
    ("spoil", "args", "code", "message"),
    [
        (_outside, ("train",), 2, "is not in a Modelyard project"),
        (_no_git, ("train",), 2, "git was not found.\nInstall git"),
        (_no_repository, ("train",), 2, "is not in a git repository.\nRun `git init`"),
        (_no_origin, ("register",), 2, "no remote `origin`.\nCreate one: git remote add origin"),
        (_no_origin, ("propose",), 2, "no remote `origin`"),
        (_no_origin, ("rollback",), 2, "no remote `origin`"),
        (_no_origin, ("state", "pull"), 2, "no remote `origin`"),
        (_no_act, ("local", "push"), 2, "act, which runs workflows on this machine, was not found.\nAdd it to the project"),
        (_lost_origin, ("state", "pull"), 1, "cannot be read from origin"),
        (_lost_origin, ("propose",), 1, "git fetch"),
        (_policy(risks={}), ("train",), 2, "risks: unknown key; did you mean 'risk'?"),
        (_policy(task="ranking"), ("train",), 2, "task: Input should be 'binary' or 'regression' (found 'ranking')"),
        (_write("modelyard.yaml", ""), ("train",), 2, "modelyard.yaml is empty"),
        (_write("modelyard.yaml", "- a\n"), ("train",), 2, "must hold keys and values, not list"),
        (_write("modelyard.yaml", "a: ["), ("train",), 2, "modelyard.yaml is no YAML"),
        (_write("modelyard.yaml", b"\xff"), ("train",), 2, "modelyard.yaml is no YAML"),
        (_policy(package="nowhere"), APRIL, 2, "nowhere.data cannot be imported: No module named 'nowhere'"),
        (_remove("models/model.onnx"), ("evaluate",), 2, "models/model.onnx is missing.\nRun `modelyard train`"),
        (_remove("models/model.onnx"), ("package",), 2, "models/model.onnx is missing"),
        (_remove("models/model.onnx"), ("register",), 2, "models/model.onnx is missing"),
        (_write("data/raw/2013-02.parquet", "no parquet"), ("evaluate",), 1, "data/raw/2013-02.parquet cannot be read"),
        (_write("data/raw/copy.parquet", ""), ("validate",), 1, "copy.parquet is not named after a month"),
        (_write("data/raw/2013-02.parquet.dvc", "<<<<<<< HEAD"), ("train",), 1, "2013-02.parquet.dvc"),
        (_load("raise RuntimeError('asleep')"), APRIL, 1, "failed: RuntimeError: asleep\nMend load in src/"),
        (_load("return 7"), APRIL, 1, "returned int, not a pandas DataFrame"),
        (_write("dvc.yaml", "stages: ["), ("train",), 1, "dvc.yaml"),
        (_write("params.yaml", "noise: -1"), ("train",), 1, "failed to reproduce 'train'"),
        (_write("reports/evaluate.json", "{"), ("register",), 2, "evaluate.json is not what this version writes"),
        (_broken_release, ("promote",), 2, "releases/production.yaml is no YAML"),
        (_broken_release, ("monitor",), 2, "releases/production.yaml is no YAML"),
        (_no_origin, ("ingest", "--now", "soon"), 2, "'soon' is not a date"),
        (_no_origin, ("promote", "--rev", "nonsense"), 2, "no commit 'nonsense'"),
        (_no_origin, ("report", "card"), 2, "There is no model card"),
    ],
)
def test_what_a_person_can_get_wrong(
    trained: Project,
    told: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    spoil: Spoil,
    args: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    """One message on stderr that says what happened and what to change; the exit code of the design; no traceback, nothing on stdout."""
    monkeypatch.chdir(trained.root)
    spoil(trained, monkeypatch)

    found, out, err = told(*args)

    assert (found, out) == (code, "")
    assert message in err
    assert [line[:7] for line in err.splitlines()].count("Error: ") == 1
    assert "Traceback" not in err
    assert "should not happen" not in err


def test_a_folder_that_cannot_be_written_is_named(
    trained: Project, told: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path and the system's reason, instead of a traceback."""
    monkeypatch.chdir(trained.root)
    for file in (trained.root / "reports").iterdir():
        file.unlink()
    (trained.root / "reports").rmdir()
    (trained.root / "reports").write_text("in the way")

    code, _, err = told("validate")

    assert code == 1
    assert f"{trained.root / 'reports'}: File exists." in err
    assert "permissions" in err


def test_nothing_is_lost_by_a_failure(trained: Project, told: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A load() that breaks on the second month leaves the first, whole and with its pointer, and git as it was."""
    monkeypatch.chdir(trained.root)
    _load("assert start.month != 4, 'no April'")(trained, monkeypatch)
    before = {path: path.read_bytes() for path in (trained.root / RAW).iterdir()}

    assert told("ingest", "--now", "2013-05-01")[0] == 1

    after = {path: path.read_bytes() for path in (trained.root / RAW).iterdir()}
    assert before.items() <= after.items()
    assert sorted(path.name for path in set(after) - set(before)) == ["2013-03.parquet", "2013-03.parquet.dvc"]


def test_a_real_process_ends_with_10_on_a_negative_verdict(tmp_path: Path) -> None:
    """The report is on stdout, the progress on stderr, and outputs and summary are kept."""
    project = mini_project.make(tmp_path / "p", evaluate={"criteria": {"roc_auc": {"min": 0.999}}})
    env = {
        **os.environ,
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }

    command = [str(Path(sys.executable).with_name("modelyard")), "evaluate"]
    done = subprocess.run(command, cwd=project.root, env=env, capture_output=True, text=True, check=False)

    assert done.returncode == 10
    assert done.stdout.startswith("**evaluate: block**")
    assert "\n::warning::" in done.stdout
    assert "evaluate ..." in done.stderr
    assert "block" in (tmp_path / "output").read_text()
    assert (tmp_path / "summary").read_text().startswith("**evaluate: block**")


def test_a_reader_who_has_heard_enough_is_no_error(tmp_path: Path) -> None:
    """As in ``modelyard monitor ... | head``: nothing on stderr, and the verdict's exit code."""
    told = "from modelyard import cli, outcome; "
    told += "cli.modelyard.main = lambda **_: outcome.Outcome(verdict='alert', summary='x' * 10**6, positive=False); cli.main([])"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", told], stdout=write, stderr=subprocess.PIPE, cwd=tmp_path, check=False)
    os.close(write)

    assert (done.returncode, done.stderr) == (10, b"")


def test_a_pipe_that_breaks_before_the_verdict_is_a_failure(tmp_path: Path) -> None:
    """Nothing is known then, and nobody may take it for success."""
    told = "from modelyard import cli\ndef work(**_): raise BrokenPipeError\ncli.modelyard.main = work; cli.main([])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, cwd=tmp_path, check=False)

    assert done.returncode == 1
    assert "BrokenPipeError" in done.stderr


def test_debug_shows_the_traceback(told: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before or after the verb, or by MODELYARD_DEBUG; the message is there all the same."""
    monkeypatch.chdir(tmp_path)

    for args in (("--debug", "train"), ("train", "--debug")):
        code, _, err = told(*args)
        assert code == 2
        assert "Traceback" in err
        assert "Error: " in err
    assert "Traceback" not in told("train")[2]
    monkeypatch.setenv("MODELYARD_DEBUG", "1")
    assert "Traceback" in told("train")[2]


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("promot",), 2, "No such command 'promot'"),
        (("train", "--nonsense"), 2, "No such option"),
        (("report", "everything"), 2, "'everything' is not one of 'audit', 'card'"),
        (("rollback", "--to"), 2, "requires an argument"),
    ],
)
def test_bad_usage_ends_with_2(told: Callable[..., tuple[int, str, str]], args: tuple[str, ...], code: int, message: str) -> None:
    """Unknown verbs, options and values."""
    found, _, err = told(*args)

    assert found == code
    assert message in err


@pytest.mark.parametrize("verb", [*cli.VERBS, *cli.TOOLS])
def test_every_command_has_its_help(verb: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Each explains itself, and stands in the overview."""
    cli.main([verb, "--help"])
    own = capfd.readouterr().out
    cli.main(["--help"])

    assert own.startswith(f"Usage: modelyard {verb}")
    assert f"\n  {verb} " in capfd.readouterr().out


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (StateError("It broke.", "Mend it."), 1, "Error: It broke.\nMend it.\n"),
        (KeyError("x"), 1, "Error: Unexpected KeyError: 'x'\nThis should not happen."),
        (KeyboardInterrupt(), 130, "\nStopped."),
        (click.Abort(), 130, "Stopped."),
        (OSError(28, "No space left on device", "/data/x"), 1, "Error: /data/x: No space left on device.\nCheck the path"),
    ],
)
def test_each_end_of_a_command(
    told: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str
) -> None:
    """Whatever a verb raises ends in one place, with a message and a code; in a job also as an annotation."""

    @click.command("broken")
    def broken() -> Outcome:
        raise error

    monkeypatch.setattr(cli.modelyard, "get_command", lambda *_: broken)
    found, out, err = told("broken")

    assert (found, out) == (code, "")
    assert err.startswith(message)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert ("::error::" in told("broken")[1]) is ("Error: " in message)


def test_an_outcome_that_cannot_be_told_is_an_error(
    told: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The step's file cannot be written: no verdict is claimed."""

    @click.command("fine")
    def fine() -> Outcome:
        return Outcome(verdict="live", summary="done")

    monkeypatch.setattr(cli.modelyard, "get_command", lambda *_: fine)
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path))

    code, _, err = told("fine")

    assert code == 1
    assert f"{tmp_path}: Is a directory." in err


def test_the_version(told: Callable[..., tuple[int, str, str]], capfd: pytest.CaptureFixture[str]) -> None:
    """It is the package's."""
    from modelyard import __version__

    cli.main(["--version"])
    assert capfd.readouterr().out == f"modelyard, version {__version__}\n"
