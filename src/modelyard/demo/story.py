"""The story: what happens to the project, month by month, each step by its own workflows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from modelyard import git, local
from modelyard.console import say
from modelyard.demo import stage
from modelyard.demo.stage import Yard
from modelyard.errors import WorkflowError
from modelyard.local import WorkflowRun
from modelyard.propose import BRANCH, MAIN

#: The month whose data arrive broken.
BROKEN = datetime(2013, 5, 1)
_FIRST = datetime(2013, 4, 1, 6)


@dataclass(frozen=True)
class Run:
    """A workflow run, and the logical date at which it happened."""

    date: datetime
    run: WorkflowRun

    def as_json(self) -> dict[str, Any]:
        """The run as the demo's ``--json`` has it."""
        run = self.run
        return {
            "date": self.date.isoformat(),
            "workflow": run.workflow,
            "event": run.event,
            "conclusion": run.conclusion,
            "seconds": round(run.seconds, 1),
            "verdict": _verdict(run),
            "outputs": run.outputs,
        }


@dataclass(frozen=True)
class Live:
    """A release that became live."""

    since: datetime
    commit: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """What one date brought."""

    date: datetime
    month: datetime
    monitor: str = ""
    metric: str = ""
    challenger: str = ""
    champion: str = ""
    decision: str = ""
    commit: str = ""


@dataclass(frozen=True)
class Tale:
    """All that happened."""

    runs: list[Run] = field(default_factory=list)
    chapters: list[Chapter] = field(default_factory=list)
    lives: list[Live] = field(default_factory=list)


def play(yard: Yard, tale: Tale, months: int) -> None:
    """Let 2013 happen: a first release, ``months`` months, one of them broken, a rollback and back. ``tale`` grows meanwhile.

    Raises
    ------
    WorkflowError
        A workflow failed, or its verdict is not one that the story can go on with.
    """
    _title("1 April 2013: January to March are there. The first push runs CI, and the first training is asked for")
    git.run("push", "--quiet", "--set-upstream", "origin", MAIN, cwd=yard.root)
    _happen(yard, tale, "push", None, _FIRST)
    run = _happen(yard, tale, "workflow_dispatch", "train", _FIRST)
    tale.chapters.append(_close(yard, tale, run, _FIRST, datetime(2013, 3, 1)))

    month = datetime(2013, 4, 1)
    for _ in range(months):
        after = (month + timedelta(days=32)).replace(day=1)
        _month(yard, tale, month, after + timedelta(hours=6))
        month = after
    _roll_back(yard, tale, tale.lives[-1].since + timedelta(days=2))


def _month(yard: Yard, tale: Tale, month: datetime, date: datetime) -> None:
    _title(f"{date.day} {date:%B}: {month:%B} is over, the schedule runs monitor")
    broken = month == BROKEN
    if broken:
        stage.break_month(yard, month)
        say(f"(Upstream delivers {month:%B} broken: distances in kilometres, a tenth of the temperatures missing.)")
    run = _happen(yard, tale, "schedule", "monitor", date)
    tale.chapters.append(_close(yard, tale, run, date, month))
    if broken:
        _mend(yard, tale, month, date, _output(run, "monitor.verdict"))


def _mend(yard: Yard, tale: Tale, month: datetime, date: datetime, verdict: str) -> None:
    """A broken month: monitor has called people, the next day's training refuses it, and two days later it is whole."""
    if verdict != "alert":
        raise WorkflowError(f"{month:%B} arrived broken, and monitor said {verdict or 'nothing'}.")
    date += timedelta(days=1)
    _title(f"{date.day} {date:%B}: nobody has looked yet; the schedule runs train, which checks the data itself")
    run = _happen(yard, tale, "schedule", "train", date)
    tale.chapters.append(_close(yard, tale, run, date, month))
    if _output(run, "validate.verdict") != "invalid":
        raise WorkflowError(f"{month:%B} arrived broken and was not refused.")
    stage.repair(yard)
    date += timedelta(days=2)
    _title(f"{date.day} {date:%B}: upstream has repaired {month:%B} and sends the event new-data")
    run = _happen(yard, tale, "repository_dispatch", "train", date, payload={"event_type": "new-data", "client_payload": {}})
    tale.chapters.append(_close(yard, tale, run, date, month))


def _roll_back(yard: Yard, tale: Tale, date: datetime) -> None:
    current = tale.lives[-1]
    _title(f"{date.day} {date:%B}: somebody rolls back, and thinks better of it")
    for to, reason in (("previous", "Complaints from the service desk."), (current.version, "They were about something else.")):
        run = _happen(yard, tale, "workflow_dispatch", "rollback", date, inputs={"to": to, "reason": reason})
        if run.verdict != "live":
            raise WorkflowError(f"The rollback to {to} ended {run.verdict or run.conclusion}.")
        git.run("pull", "--quiet", "--ff-only", "origin", MAIN, cwd=yard.root)
        tale.lives.append(Live(date, git.head(yard.root), run.outputs["version"]))
        date += timedelta(hours=1)


def _close(yard: Yard, tale: Tale, run: WorkflowRun, date: datetime, month: datetime) -> Chapter:
    """Decide as the approver: what the workflow proposes is merged, pushed, and becomes live."""
    decision = _trained(run) or "not trained"
    commit = _approve(yard, tale, date) if decision == "promote" else ""
    return Chapter(
        date=date,
        month=month,
        monitor=_output(run, "monitor.verdict"),
        metric=_output(run, "monitor.value"),
        challenger=_output(run, "evaluate.challenger"),
        champion=_output(run, "evaluate.champion"),
        decision={"invalid": "data refused"}.get(decision, decision),
        commit=commit,
    )


def _approve(yard: Yard, tale: Tale, date: datetime) -> str:
    before = git.head(yard.root)
    git.run("fetch", "--quiet", "origin", cwd=yard.root)
    title = git.run("log", "-1", "--format=%s", f"origin/{BRANCH}", cwd=yard.root)
    say(f"The approver reads the evidence and merges: {title}")
    git.run("merge", "--quiet", "--no-ff", f"origin/{BRANCH}", "-m", f"Approve: {title}", cwd=yard.root)
    git.run("push", "--quiet", "origin", MAIN, cwd=yard.root)
    run = _happen(yard, tale, "push", None, date, before=before)
    if run.verdict != "live":
        raise WorkflowError(f"promote ended {run.verdict or run.conclusion}.", run.log[-2000:])
    commit = git.head(yard.root)
    tale.lives.append(Live(date, commit, run.outputs["version"]))
    return commit


def _happen(
    yard: Yard,
    tale: Tale,
    event: str,
    workflow: str | None,
    date: datetime,
    *,
    before: str | None = None,
    inputs: dict[str, str] | None = None,
    payload: dict[str, Any] | None = None,
) -> WorkflowRun:
    """Let an event happen; its one workflow run, which must not fail."""
    runs = local.run(
        yard.root, event, workflow, now=date, before=before, inputs=inputs, payload=payload,
        env={"FLIGHTS_SOURCE": str(yard.upstream)}, artifacts=yard.folder / "artifacts",
    )  # fmt: skip
    runs = [run for run in runs if run.conclusion != "skipped"]
    for run in runs:
        tale.runs.append(Run(date, run))
        verdict = _verdict(run)
        say(f"==> {run.workflow} on {run.event}: {run.conclusion}{f', {verdict}' if verdict else ''} ({run.seconds:.0f} s)")
        if run.conclusion != "success":
            log = yard.folder / f"{run.workflow}.log"
            log.write_text(run.log, encoding="utf-8")
            raise WorkflowError(f"The workflow {run.workflow} ended with {run.conclusion}: {'; '.join(run.problems)}", f"Its log is {log}.")
    if not runs:
        raise WorkflowError(f"The event {event} started no workflow.")
    return runs[-1]


def _verdict(run: WorkflowRun) -> str:
    """What the run decided: a monitor run that retrains goes on with train's verdicts, but its own is that of its own step."""
    return _output(run, f"{run.workflow}.verdict") or (_trained(run) if run.workflow == "train" else run.verdict)


def _trained(run: WorkflowRun) -> str:
    """What a training came to, as train.yml's output has it; empty where nothing was trained."""
    if _output(run, "package.verdict") == "block" or _output(run, "loadtest.verdict") not in ("", "pass"):
        return "block"
    return _output(run, "evaluate.verdict") or _output(run, "validate.verdict")


def _output(run: WorkflowRun, name: str) -> str:
    """The output ``<step>.<name>``, in whatever job of the run."""
    return next((value for key, value in run.steps.items() if key.endswith(f".{name}")), "")


def _title(text: str) -> None:
    say(f"\n--- {text}")
