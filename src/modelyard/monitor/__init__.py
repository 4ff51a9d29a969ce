"""``modelyard monitor``: the current window against the champion's profile; or any table against any profile.

======================  ===========================================================================================
:mod:`.table`           reading: Parquet, CSV, a frame, as record batches
:mod:`.sketch`          pass 1 over a reference: the choice of cells
:mod:`.profile`         pass 2: the counts, and the profile's file
:mod:`.compare`         three questions per column; :mod:`.blocks` and :mod:`.distance` say what is out of the ordinary
:mod:`.checks`          questions about the whole window; :mod:`.decision` makes a verdict of them
:mod:`.report`          what is found; :mod:`.text` and :mod:`.page` tell it
:mod:`.watch`           a table without a project, with numpy and pyarrow only; :mod:`.live` a project's live model
======================  ===========================================================================================
"""

from __future__ import annotations

import dataclasses
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelyard import clock
from modelyard.errors import ModelyardError, UsageError
from modelyard.outcome import Outcome

if TYPE_CHECKING:
    from modelyard.monitor.report import Monitoring, Verdict
    from modelyard.project import Project

REPORT = "monitor.json"
PAGE = "monitor.html"


def run(project: Project, now: datetime) -> Outcome:
    """Watch the champion on the last ``monitor.window_days`` before ``now``; write ``reports/monitor.json`` and ``.html``.

    Parameters
    ----------
    now
        Logical date, aware.

    Returns
    -------
    Outcome
        ``healthy`` is positive, ``alert`` and ``retrain`` are not; ``none`` (positive) where nothing was released yet.
    """
    from modelyard import champion
    from modelyard.console import step
    from modelyard.monitor import alarm, live, page, watch
    from modelyard.project import REPORTS

    with step("bring the champion"):
        released = champion.load(project)
    if released is None:
        return Outcome(verdict="none", summary="**monitor: none**: nothing is live yet. Run train, and merge its release.")
    with step("monitor"):
        found = live.look(project, released, now)
        watch.write(project.report(REPORT), found)
        page.write(found, project.report(PAGE))
    with step("log the check"):
        before = _before(project)
        unlogged = _log(project, found)
    outcome = _outcome(found, unlogged, (REPORTS / PAGE).as_posix())
    unsent = _notify(found, before)
    return dataclasses.replace(outcome, alert=alarm.issue(found, outcome.summary), problems=(*outcome.problems, *unsent))


def _before(project: Project) -> Verdict | None:
    """Verdict of the check before; None where none is known."""
    from modelyard import registry, state

    folder = project.root / state.FOLDER
    if not (registry.is_remote() or (folder / state.DATABASE).exists()):
        return None
    try:
        return registry.newest_tags(registry.connect(folder), f"{project.policy.name}-monitor").get("verdict")  # type: ignore[return-value]
    except ModelyardError:  # the log of this check will tell
        return None


def _notify(found: Monitoring, before: Verdict | None) -> tuple[str, ...]:
    """Tell chat or mail; sentences on what could not be reached."""
    from modelyard import github
    from modelyard.monitor import alarm, notify

    message = alarm.message(found, before, github.run_url())
    return notify.send(message) if message else ()


def check(profile: Path, current: str, *, json: Path | None, html: Path | None) -> Outcome:
    """Check any table, a Parquet or CSV file, a folder or a glob, against a profile's file."""
    from modelyard.monitor import profile as profiles
    from modelyard.monitor import table as tables
    from modelyard.monitor import watch

    layout = profiles.read(profile).layout
    time = (layout.blocks.column,) if layout.blocks else ()
    texts = [column.name for column in layout.columns if column.kind == "categorical"]
    source = tables.open(current, times=time, as_text=[*texts, *layout.segments])
    found = watch.table(profile, source)
    if json:
        watch.write(json, found)
    if html:
        from modelyard.monitor import page

        page.write(found, html)
    return _outcome(found, (), str(html or ""))


def _outcome(found: Monitoring, unlogged: tuple[str, ...], report: str) -> Outcome:
    from modelyard.monitor import text

    performance = found.performance
    return Outcome(
        verdict=found.verdict,
        summary=text.summary(found) + "".join(f"\n\n{problem}" for problem in unlogged),
        positive=found.verdict == "healthy",
        outputs={
            "reason": found.reason,
            "reasons": str(len(found.reasons)),
            "start": str(found.verdict == "retrain" and not found.needs_approval).lower(),
            "performance": next((c.status for c in found.checks if c.name == "performance"), ""),
            "metric": performance.metric if performance else "",
            "value": f"{performance.value:.4f}" if performance else "",
            "lower": _number(performance.lower) if performance else "",
            "upper": _number(performance.upper) if performance else "",
            "gain": _number(found.decay.gain) if found.decay else "",
            "age": f"{found.champion.age_days:.0f}" if found.champion else "",
            "alarms": " ".join(shift.column for shift in found.columns if shift.alarm),
            "report": report,
            "drifted": " ".join(shift.column for shift in found.columns if shift.shape and shift.shape.alarm),
        },
        problems=(*text.sentences(found), *unlogged),
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _log(project: Project, found: Monitoring) -> tuple[str, ...]:
    """Keep the check with MLflow; what hinders that is told, and does not hide the verdict."""
    from modelyard import registry, state
    from modelyard.project import REPORTS

    name = f"{project.policy.name}-monitor"
    metrics = {f"distance.{shift.column}": shift.js for shift in found.columns if shift.js is not None}
    metrics |= {"rows": found.rows}
    if found.champion:
        metrics["age_days"] = found.champion.age_days
    if found.performance:
        metrics[found.performance.metric] = found.performance.value
    if found.decay:
        metrics["gain"] = found.decay.gain
    version = found.champion.version if found.champion else ""
    date = found.now.isoformat() if found.now else ""

    def write(folder: Path | None) -> None:
        registry.log_run(
            registry.connect(folder),
            experiment=name,
            name=f"monitor {date[:10]}",
            params={},
            metrics=metrics,
            tags={"verdict": found.verdict, "champion": version, "logical_date": date, "reason": found.reason},
            artifacts={file: project.root / REPORTS / file for file in (REPORT, PAGE)},
        )

    try:
        if registry.is_remote():
            write(None)
        else:
            state.transact(project.root, write, f"monitor {date[:10]}")
    except ModelyardError as error:
        return (f"The check was not logged: {error.what}",)
    return ()


@click.command("monitor")
@clock.now_option
@click.option("--profile", type=click.Path(path_type=Path), help="Profile to compare with, without a project.")
@click.option("--current", metavar="TABLE", help="Table to check: a Parquet or CSV file, a folder, a glob.")
@click.option("--json", type=click.Path(path_type=Path), help="Write the report there, too.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page there, too.")
def command(now: datetime, profile: Path | None, current: str | None, json: Path | None, html: Path | None) -> Outcome:
    """Compare the current window with the champion's profile, or any table with any profile.

    In a project: checks data, drift of each column and of the prediction, the metric where labels are there, and the champion's age.
    Verdict: healthy, alert or retrain (exit code 10 for the latter two); none where nothing is live. With --profile and --current,
    anywhere: healthy or alert.
    """
    if profile is None and current is None:
        from modelyard.project import find

        if json or html:
            raise UsageError("--json and --html need --profile and --current.", f"In a project, see reports/{REPORT} and reports/{PAGE}.")
        return run(find(), now)
    if profile is None or current is None:
        raise UsageError(
            "A check needs both --profile and --current.", "Make a profile: modelyard profile reference.parquet -o ref.profile"
        )
    return check(profile, current, json=json, html=html)
