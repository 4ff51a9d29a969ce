"""``modelyard score``: the champion's predictions of a batch of rows.

====================  ======================================================================
:mod:`.request`       what a row must hold, by the champion's own schema
:mod:`.batch`         what is to be scored, cut into parts that become one file each
:mod:`.rows`          rows held to the contract of the service, and predicted
:mod:`.output`        the files, which say themselves what they were made of
:mod:`.manifest`      what they say
:mod:`.delivery`      the batch in the DVC remote, and its run in MLflow
====================  ======================================================================
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelyard import clock
from modelyard.console import step
from modelyard.errors import UsageError
from modelyard.outcome import Alert, Outcome

if TYPE_CHECKING:
    from modelyard.monitor.engine import Engine
    from modelyard.project import Project
    from modelyard.score.manifest import Manifest

REPORT = "score.json"
#: Where batches lie that are delivered, a folder each.
SCORED = Path("data/scored")
_SHOWN = 10  # reasons in the summary


def run(
    project: Project,
    now: datetime,
    *,
    table: str | None = None,
    span: tuple[datetime, datetime] | None = None,
    to: Path | None = None,
    ids: Sequence[str] | None = None,
    engine: Engine = "local",
) -> Outcome:
    """Score files or what ``load()`` has for a span; by default the last period that is over before ``now``.

    Parameters
    ----------
    now
        Logical date, aware.
    table
        A file, a folder or a glob, instead of ``load()``.
    span
        Naive, in the clock of the data.
    to
        Write there, and deliver nothing; default: ``data/scored/<batch>``, which goes to the DVC remote and to MLflow.
    ids
        Columns that are copied to the output; default: ``monitor.row_id`` of the policy, or else all that neither request nor label are.

    Returns
    -------
    Outcome
        ``complete`` (positive): each row has its prediction; ``partial``: some were refused and stand aside; ``none`` (positive)
        where nothing was released yet.
    """
    from modelyard import champion, jsonfile
    from modelyard.monitor import engine as engines
    from modelyard.score import batch, delivery, output, request

    with step("bring the champion"):
        live = champion.load(project)
    if live is None:
        return Outcome(verdict="none", summary="**score: none**: nothing is live yet. Run train, and merge its release.")
    data = project.policy.data
    asked = batch.Asked(request.columns(live), data.time, data.label, tuple(ids or project.policy.monitor.row_id) or None)
    if table:
        _fetch(project, Path(table).absolute())
        found = batch.of_files(project, table, asked)
    else:
        found = batch.of_periods(project, span, now.replace(tzinfo=None))
    folder = (to or project.root / SCORED / found.name).absolute()
    if table and folder.is_relative_to(Path(table).absolute()):
        raise UsageError(f"{folder} lies in the folder that is scored.", "Name another folder by --to.")
    job = output.Job(live, asked, folder, found.source, now)
    with output.locked(folder):
        if to is None:
            delivery.bring(project, folder, live.release.model.sha256)
        output.check(folder, found)
        with step(f"score {found.name}"):
            written = engines.fold(found.as_table(), partial(output.score, job), operator.add, engine)
        found.still()
        made = output.finish(job, found.name, written)
        if to is None:
            with step("deliver"):
                delivery.deliver(project, folder, made, now)
    jsonfile.write(project.report(REPORT), made)
    place = folder.relative_to(project.root).as_posix() if folder.is_relative_to(project.root) else folder.as_posix()
    return _outcome(project, made, place, sum(each.output.rows for each in written if each.fresh))


def _fetch(project: Project, path: Path) -> None:
    """Bring a file or folder that is only a DVC pointer here, as in a job's checkout."""
    from modelyard import store

    if path.is_relative_to(project.root) and not path.exists() and store.pointer(path).exists():
        with step(f"bring {path.name}"):
            store.pull(project.root, path.relative_to(project.root))


def _outcome(project: Project, made: Manifest, place: str, fresh: int) -> Outcome:
    scored = made.rows - made.refused
    counted = f"{made.refused:,} of {made.rows:,} rows of {made.batch} have no prediction"
    words = f"{scored:,} of {made.rows:,} rows of {made.batch}" if made.refused else f"{made.rows:,} rows of {made.batch}"
    lines = [f"**score: {made.verdict}**, {words} by version {made.model.version} of {made.model.name}, in {place}"]
    lines += ["", f"{fresh:,} rows were scored now." if fresh else "All of it was there: nothing was scored again."]
    reasons: Counter[str] = sum((Counter(each.reasons) for each in made.outputs), Counter())
    unseen: Counter[str] = sum((Counter(each.unseen) for each in made.outputs), Counter())
    if made.refused:
        lines += ["", f"{counted}; they stand in {place}/_refused:", "", "| reason | rows |", "|---|---|"]
        lines += ["| {} | {:,} |".format(reason.replace("|", "\\|"), count) for reason, count in reasons.most_common(_SHOWN)]
    if unseen:
        lines += ["", "Predicted, though training never saw the text:", ""]
        lines += [f"- {column}: {count:,} rows" for column, count in unseen.most_common()]
    return Outcome(
        verdict=made.verdict,
        summary="\n".join(lines),
        positive=made.verdict == "complete",
        outputs={
            "batch": made.batch,
            "folder": place,
            "rows": str(made.rows),
            "refused": str(made.refused),
            "scored": str(fresh),
            "version": made.model.version,
        },
        problems=(f"{counted}: {', '.join(reason for reason, _ in reasons.most_common(3))}.",) if made.refused else (),
        alert=Alert(
            key=f"score:{project.policy.name}",
            title=f"Modelyard: rows of {project.policy.name} have no prediction",
            state=f"{made.batch} {made.refused}",
            news=f"Each row of {made.batch} has its prediction." if not made.refused else f"{counted}.",
            over=not made.refused,
        ),
    )


@click.command("score")
@click.argument("table", required=False, envvar="MODELYARD_SCORE_TABLE", metavar="[FILE|FOLDER|GLOB]")
@clock.now_option
@click.option("--start", envvar="MODELYARD_SCORE_START", metavar="DATE", help="Score what load() has from this event time on.")
@click.option("--end", envvar="MODELYARD_SCORE_END", metavar="DATE", help="Until before this one. Without both: the last period.")
@click.option("--to", type=click.Path(path_type=Path), envvar="MODELYARD_SCORE_TO", help="Write into this folder, and deliver nothing.")
@click.option("--id", "ids", multiple=True, metavar="COLUMN", help="Copy this column, no others; may be given again.")
@click.option(
    "--engine",
    type=click.Choice(["local", "dask"]),
    envvar="MODELYARD_SCORE_ENGINE",
    default="local",
    show_default=True,
    help="Where parts are scored: here, or on the cluster that DASK_SCHEDULER_ADDRESS names, else on this machine's cores.",
)
def command(
    table: str | None, now: datetime, start: str | None, end: str | None, to: Path | None, ids: tuple[str, ...], engine: Engine
) -> Outcome:
    """Give each row of a batch the champion's prediction.

    The batch is a Parquet or CSV file, a folder or a glob, or what the project's load(start, end) returns; by default the last period that
    is over at the logical date. Rows are held to what the service asks of a request: one that it would refuse stands in _refused with the
    reason, and all others are predicted. Verdict: complete, partial (exit code 10), or none where nothing is live.

    Outputs are Parquet files, one for each period or about a million rows of a file: input and row (together they name a row: the file or
    period, and the position in it), the event time, the columns of --id, of monitor.row_id, or else each that neither request nor label
    are, prediction, model, version, sha256 and scored_at (the logical date). _manifest.json, written last, names inputs, outputs and model
    by SHA-256.

    A killed run is continued. What is there is scored again only where its input, the model or --id changed. Without --to, the batch lies
    in data/scored, goes to the DVC remote, and is logged in MLflow with its pointer.
    """
    from modelyard.project import find

    if (start is None) is not (end is None):
        raise UsageError("--start and --end need each other.")
    if table and start:
        raise UsageError("Rows come from files or from load(), not from both.", "Leave the files out, or --start and --end.")
    span = (clock.parse(start).replace(tzinfo=None), clock.parse(end).replace(tzinfo=None)) if start and end else None
    return run(find(), now, table=table, span=span, to=to, ids=ids or None, engine=engine)
