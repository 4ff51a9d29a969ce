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
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from modelyard import clock
from modelyard.console import say, step
from modelyard.errors import ModelyardError, UsageError
from modelyard.outcome import Outcome

if TYPE_CHECKING:
    from modelyard.monitor.engine import Engine
    from modelyard.monitor.report import Monitoring, Verdict
    from modelyard.project import Project

REPORT = "monitor.json"
PAGE = "monitor.html"
CHECKS = "monitor"  # folder of all checks, by their dates
_SHOWN = 60  # earlier checks in the index


def run(project: Project, now: datetime) -> Outcome:
    """Watch the champion on the last ``monitor.window_days`` before ``now``; write ``reports/monitor.json`` and ``.html``.

    The same two files stand in ``reports/monitor/`` by their date, beside those of earlier checks and ``index.html``.

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
        _index(project, found, now)
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


def _index(project: Project, found: Monitoring, now: datetime) -> None:
    """Write the check by its date, and the index of all."""
    from modelyard.monitor import page, watch

    path = project.report(f"{CHECKS}/{now.astimezone(UTC):%Y-%m-%d}.json")
    watch.write(path, found)
    page.write(found, path.with_suffix(".html"), index=page.INDEX)
    try:
        _recall(project, path.parent)
    except ModelyardError as error:  # a convenience: the check stands without it
        say(f"The index lacks earlier checks: {error.what}")
    page.write_index(path.parent)


def _recall(project: Project, folder: Path) -> None:
    """Bring what earlier checks logged: a job starts from a fresh clone, which has no reports."""
    import tempfile

    from modelyard import registry, state

    store = project.root / state.FOLDER
    if not (registry.is_remote() or (store / state.DATABASE).exists()):
        return
    known = registry.connect(store)
    for run, tags in registry.newest_runs(known, f"{project.policy.name}-monitor", _SHOWN):
        target = folder / f"{clock.parse(tags.get('logical_date', '')):%Y-%m-%d}.json"
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=folder) as draft:
                registry.download(known, run, PAGE, Path(draft)).replace(target.with_suffix(".html"))
                registry.download(known, run, REPORT, Path(draft)).replace(target)


def _notify(found: Monitoring, before: Verdict | None) -> tuple[str, ...]:
    """Tell chat or mail; sentences on what could not be reached."""
    from modelyard import github
    from modelyard.monitor import alarm, notify

    message = alarm.message(found, before, github.run_url())
    return notify.send(message) if message else ()


def check(
    profile: Path, current: str, *, json: Path | None, html: Path | None, now: datetime | None = None, engine: Engine = "local"
) -> Outcome:
    """Check any table, a Parquet or CSV file, a folder or a glob, against a profile's file.

    Parameters
    ----------
    now
        Until when there should be rows, aware; None where nobody says so.
    """
    from modelyard.monitor import frugal

    frugal.load()
    from modelyard.monitor import profile as profiles
    from modelyard.monitor import table as tables
    from modelyard.monitor import watch

    layout = profiles.read(profile).layout
    time = (layout.blocks.column,) if layout.blocks else ()
    texts = [column.name for column in layout.columns if column.kind == "categorical"]
    source = tables.open(current, times=time, as_text=[*texts, *layout.segments])
    found = watch.table(profile, source, now=now, engine=engine)
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
@click.option("--engine", type=click.Choice(["local", "dask"]), help="Where parts of the table are counted.  [default: local]")
@click.pass_context
def command(
    context: click.Context,
    now: datetime,
    profile: Path | None,
    current: str | None,
    json: Path | None,
    html: Path | None,
    engine: Engine | None,
) -> Outcome:
    """Compare the current window with the champion's profile, or any table with any profile.

    In a project: checks data, drift of each column and of the prediction, the metric where labels are there, and the champion's age.
    Verdict: healthy, alert or retrain (exit code 10 for the latter two); none where nothing is live. With --profile and --current,
    anywhere: healthy or alert; how fresh the rows are is asked where --now is given.
    """
    if profile is None and current is None:
        from modelyard.project import find

        if json or html or engine:
            raise UsageError(
                "--json, --html and --engine need --profile and --current.", f"In a project, see reports/{REPORT} and reports/{PAGE}."
            )
        return run(find(), now)
    if profile is None or current is None:
        raise UsageError(
            "A check needs both --profile and --current.", "Make a profile: modelyard profile reference.parquet -o ref.profile"
        )
    said = context.get_parameter_source("now") is not ParameterSource.DEFAULT
    return check(profile, current, json=json, html=html, now=now if said else None, engine=engine or "local")
