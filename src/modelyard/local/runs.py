"""One event, and the runs of the workflows that it starts."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from modelyard import git
from modelyard.console import say, under_way
from modelyard.errors import UsageError
from modelyard.local import act, events, filters, origin
from modelyard.local.act import STARTED, Record, Step
from modelyard.local.events import Event
from modelyard.local.origin import Origin
from modelyard.local.workflows import FOLDER, STANDINS, Tree, Workflow, choose, needs, paths

_ENVIRONMENT_DAYS = 30  # a shared environment that nobody used for so long is removed


@dataclass(frozen=True, kw_only=True)
class WorkflowRun:
    """One run of one workflow.

    Parameters
    ----------
    workflow
        Its file's name without the ending.
    conclusion
        ``success``, ``failure`` or ``skipped`` (its filters leave the event out, or no job had anything to do).
    outputs
        Output of steps by name; where several set one, the last.
    steps
        The same as ``<job>.<step id>.<name>``; a job of a reusable workflow is ``<calling job>/<job>``.
    verdict
        The last verdict that a step set; empty where none did.
    jobs
        Job -> ``success``, ``failure`` or ``skipped``.
    summary
        Markdown of its step summaries.
    problems
        The steps that failed, and why it could not run in act's words.
    log
        What its steps printed.
    """

    workflow: str
    event: str
    conclusion: str
    seconds: float = 0.0
    outputs: dict[str, str] = field(default_factory=dict)
    steps: dict[str, str] = field(default_factory=dict)
    verdict: str = ""
    jobs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    problems: tuple[str, ...] = ()
    log: str = ""


def tell(step: Step) -> None:
    """Print one step's end, and of a failed one the end of its output; on a terminal also what is under way."""
    if step.conclusion == STARTED:
        under_way(f"{step.workflow} / {step.job} / {step.name}")
        return
    say(f"{step.workflow} / {step.job} / {step.name}: {'' if step.conclusion == 'success' else step.conclusion + ', '}{step.seconds:.1f} s")
    if step.conclusion == "failure":
        say("\n".join(f"  | {line}" for line in step.tail))


def run(
    root: Path,
    event: str,
    workflow: str | None = None,
    *,
    inputs: Mapping[str, str] | None = None,
    payload: Mapping[str, Any] | None = None,
    now: datetime | None = None,
    env: Mapping[str, str] | None = None,
    ref: str = "HEAD",
    before: str | None = None,
    push: bool = False,
    artifacts: Path | None = None,
    keep: bool = False,
    watch: Callable[[Step], None] = tell,
) -> list[WorkflowRun]:
    """Let an event happen to a project, and run the workflows that it starts, one after another.

    Parameters
    ----------
    root
        Folder in the project's repository.
    event
        One of ``events.EVENTS`` or an alias.
    workflow
        Only this one, by its file's name; default: all that have the event and whose filters match.
    inputs
        Inputs of a ``workflow_dispatch``.
    payload
        Laid over the event's payload; of a ``repository_dispatch``, the body of the REST call or the bare ``client_payload``.
    now
        Logical date that jobs see (``MODELYARD_NOW``).
    env
        Further variables for jobs; names that end in TOKEN, PASSWORD, SECRET, KEY or MODELYARD_ENV are ``secrets`` too, the others
        ``vars``.
    ref
        Branch, tag or commit that it happens at.
    before
        Commit before a push, or the base of a pull request.
    push
        Let jobs push to an ``origin`` that is not on this machine.
    artifacts
        Folder that receives ``<workflow>-<run number>/<artifact>/``; default: they are dropped.
    keep
        Leave the temporary folder.
    watch
        Called at the start and at the end of each step.

    Raises
    ------
    UsageError
        act is missing, or the event, workflow or an input is unknown.
    WorkflowError
        A workflow uses something that cannot run here.
    """
    act.program()
    event = events.ALIASES.get(event, event)
    if event not in events.EVENTS:
        raise UsageError(f"{event!r} is no event that can be made here.", f"There are: {', '.join(events.EVENTS)}.")
    root = git.root(root)
    if git.attempt("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", cwd=root).returncode:
        raise UsageError(f"{ref} is no commit of this repository.", "Commit first: what is not committed is not run.")
    if git.run("status", "--porcelain", "--", ".", ":!.modelyard", cwd=root):
        say("There are uncommitted changes: what is not committed is not run.")
    place = origin.resolve(root, push=push)
    happened = events.make(root, event, rev=ref, before=before, default_branch=place.default_branch, payload=dict(payload or {}))
    tree = Tree(root, happened.commit)
    chosen = choose(tree.workflows(), event, workflow)
    checked = [(one, needs(tree, one), events.payload(happened, one, dict(inputs or {}))) for one in chosen]  # all, before the first is run
    say(place.sentence)
    date = {"MODELYARD_NOW": now.isoformat()} if now else {}
    runs = []
    for one, requires, body in checked:
        why = filters.refusal(event, one.triggers[event], ref=happened.filtered_ref, paths=happened.paths, action=happened.action)
        if why:
            say(f"{one.stem} is not started: {why}.")
            if workflow:
                runs.append(WorkflowRun(workflow=one.stem, event=event, conclusion="skipped"))
            continue
        with _folder(keep) as folder:
            number = str(time.time_ns() // 1_000_000)
            results = (artifacts.resolve() if artifacts else folder / "artifacts") / f"{one.stem}-{number}"
            own = _variables(root, folder, place, happened, number, results) | date
            job_env = act.environment(os.environ, env or {}, own)
            _source(root, happened.commit, folder / "source")
            command = act.arguments(folder, event, one.path, job_env, requires, body)
            names = dict(paths(tree, one))
            started = time.monotonic()
            code, record = act.execute(command, folder, names, one.stem, watch)
            runs.append(_result(one, event, code, record, list(names.values()), time.monotonic() - started))
    return runs


def _variables(root: Path, folder: Path, place: Origin, event: Event, number: str, artifacts: Path) -> dict[str, str]:
    """What jobs and the stand-ins are told about this run."""
    artifacts.mkdir(parents=True)
    environments = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelyard" / "environments"
    environments.mkdir(parents=True, exist_ok=True)
    for old in environments.iterdir():
        if time.time() - old.stat().st_mtime > _ENVIRONMENT_DAYS * 86400:
            shutil.rmtree(old, ignore_errors=True)
    variables = {
        "GITHUB_REPOSITORY": events.REPOSITORY,
        "GITHUB_RUN_ID": number,
        "GITHUB_RUN_NUMBER": number,
        "GITHUB_REF": f"refs/pull/{event.extra['number']}/merge" if event.name == "pull_request" else event.ref,
        "SHA_REF": event.commit,  # act's name for what becomes GITHUB_SHA
        "MODELYARD_LOCAL_ORIGIN": place.address,
        "MODELYARD_LOCAL_SOURCE": str(root),
        "MODELYARD_LOCAL_ARTIFACTS": str(artifacts),
        "MODELYARD_LOCAL_ENVIRONMENTS": str(environments),
        "MODELYARD_LOCAL_PYTHON": sys.executable,
        "BASH_ENV": str(STANDINS / "step.bash"),
    }
    if not place.is_remote:
        # As on a runner: nobody's name, signing key, hooks or credentials.
        settings = folder / "gitconfig"
        settings.write_text("[init]\n\tdefaultBranch = main\n[safe]\n\tdirectory = *\n[advice]\n\tdetachedHead = false\n", encoding="utf-8")
        variables |= {"GIT_CONFIG_GLOBAL": str(settings), "GIT_CONFIG_NOSYSTEM": "1"}
    return variables


def _source(root: Path, commit: str, into: Path) -> None:
    """Only the workflow files: everything else reaches jobs through checkout, as on GitHub."""
    for name in git.run("ls-tree", "-r", "--name-only", "-z", commit, "--", FOLDER, cwd=root).split("\0"):
        if name:
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            (into / name).write_bytes(git.show(root, commit, name) or b"")


def _result(workflow: Workflow, event: str, code: int, record: Record, jobs: list[str], seconds: float) -> WorkflowRun:
    results: dict[str, str] = {}
    for job in sorted(jobs, key=lambda path: -path.count("/")):  # inner jobs first: a calling job is what they are
        inner = {result for path, result in results.items() if path.startswith(f"{job}/")}
        derived = "failure" if "failure" in inner else "success" if "success" in inner else "skipped"
        results[job] = record.jobs.get(job, derived)
    ordered = {job: results[job] for job in jobs}
    is_failed = code != 0 or "failure" in ordered.values() or any("no runner has its label" in error for error in record.errors)
    is_skipped = set(ordered.values()) <= {"skipped"}
    return WorkflowRun(
        workflow=workflow.stem,
        event=event,
        conclusion="failure" if is_failed else "skipped" if is_skipped else "success",
        seconds=round(seconds, 2),
        outputs=record.outputs,
        steps=record.steps,
        verdict=next((value for key, value in reversed(record.steps.items()) if key.endswith(".verdict") and value), ""),
        jobs=ordered,
        summary=record.summary,
        problems=_problems(record) if is_failed else (),
        log="\n".join(record.log),
    )


def _problems(record: Record) -> tuple[str, ...]:
    """The steps that failed, then what act says beside "exit status 1"."""
    noise = ("exit status", "exitcode", "Error: Job ", "Job '")
    return (*record.failed, *(error for error in record.errors if not error.startswith(noise)))


@contextmanager
def _folder(keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="modelyard-local-")).resolve()
    try:
        yield folder
    finally:
        if keep:
            say(f"Kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
