"""``modelyard profile``: the compact reference that ``monitor`` compares with; a stage of the pipeline, or of any table.

In a project it holds all data on disk, with the model's predictions of them: what the model knows, and the hold-out it was judged on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelyard.errors import UsageError
from modelyard.outcome import Outcome

if TYPE_CHECKING:
    import pandas as pd

    from modelyard.monitor.engine import Engine
    from modelyard.monitor.profile import Profile
    from modelyard.monitor.report import Role
    from modelyard.project import Project

#: Name of the model's predictions among the columns.
PREDICTION = "prediction"


def run(project: Project) -> Outcome:
    """Count the data on disk and the model's predictions, and write ``models/profile.parquet``."""
    from modelyard.console import step
    from modelyard.monitor import profile as profiles
    from modelyard.project import PROFILE

    with step("profile"):
        made = make(project)
        path = project.root / PROFILE
        profiles.write(path, made)
    return _outcome(made, path)


def table(
    given: str,
    output: Path,
    *,
    time: str | None,
    roles: dict[str, Role],
    segments: tuple[str, ...],
    block_days: int,
    engine: Engine = "local",
) -> Outcome:
    """Profile any table, a Parquet or CSV file, a folder or a glob, and write the profile to ``output``."""
    from modelyard.monitor import frugal

    frugal.load()
    from dataclasses import replace

    from modelyard.monitor import files, measure
    from modelyard.monitor import profile as profiles
    from modelyard.monitor import table as tables

    source = tables.open(given, times=(time,) if time else (), as_text=segments)
    made = measure.make(source, time=time, roles=roles, segments=segments, block_days=block_days, engine=engine)
    made = replace(made, hashes={"data": _of_files([Path(path) for path in files.named(given)])})
    profiles.write(output, made)
    return _outcome(made, output)


def make(project: Project) -> Profile:
    """The profile of the model in the working tree.

    Raises
    ------
    DataError
        There is no data, or none before the hold-out.
    ProjectError
        There is no model, or it does not predict what it must.
    """
    from dataclasses import replace

    from modelyard import dataset
    from modelyard.monitor import measure
    from modelyard.monitor import table as tables
    from modelyard.predictions import of_challenger
    from modelyard.project import MODEL
    from modelyard.release import sha256

    data, monitor = project.policy.data, project.policy.monitor
    holdout = dataset.split(project).holdout
    frame = dataset.read(project)
    end = dataset.on_disk(project)[-1].end
    name = prediction_name(frame.columns)
    frame = frame.assign(**{name: of_challenger(project, frame)})
    roles: dict[str, Role] = {name: "prediction", data.label: "label"}
    made = measure.make(
        tables.from_frame(frame, "the data on disk"),
        time=data.time,
        roles=roles,
        segments=tuple(monitor.segments),
        block_days=monitor.block_days,
        end=_microseconds(end),
    )
    hashes = {"model": sha256(project.root / MODEL), "data": _of_files([project.root / each.file for each in dataset.on_disk(project)])}
    return replace(made, hashes=hashes, importance=_importance(project, holdout))


def _of_files(paths: Sequence[Path]) -> str:
    """One SHA-256 of several files: that of the lines which ``sha256sum`` prints of them, with their names alone."""
    whole = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:  # release.sha256 would bring pydantic, which a bare profile does without
            whole.update(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n".encode())
    return whole.hexdigest()


def _importance(project: Project, holdout: pd.DataFrame) -> dict[str, float]:
    """What the deciding metric loses on the hold-out where a column is shuffled."""
    from modelyard.evaluate import importance
    from modelyard.evaluate.challenge import labelled
    from modelyard.predictions import of_challenger

    data, task = project.policy.data, project.policy.task
    rows, label, _ = labelled(project, holdout)
    columns = [name for name in rows.columns if name not in (data.time, data.label)]
    found = importance.by_permutation(
        task, project.policy.evaluate.metric, rows, label, columns, lambda frame: of_challenger(project, frame)
    )
    return {name: round(value, 6) for name, value in found.items()}


def prediction_name(columns: object) -> str:
    """A name for the predictions that no column has."""
    name = PREDICTION
    while name in columns:  # type: ignore[operator]
        name = f"{name}_"
    return name


def _microseconds(moment: object) -> int:
    import numpy as np

    return int(np.datetime64(moment, "us").astype(np.int64))  # type: ignore[call-overload]


def _outcome(made: Profile, path: Path) -> Outcome:
    size = path.stat().st_size
    blocks = made.layout.blocks
    over = f", {blocks.complete} whole blocks of {blocks.length / 86_400_000_000:g} days" if blocks else ""
    what = f"{len(made.layout.columns)} columns{over}, in {size / 1000:.1f} kB"
    summary = f"**profile: {made.counts.total:,} rows**: {what}"
    return Outcome(verdict="", summary=summary, outputs={"columns": str(len(made.layout.columns)), "bytes": str(size)})


@click.command("profile")
@click.argument("reference", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where the profile of REFERENCE goes.")
@click.option("--time", metavar="COLUMN", help="Column of the event time: with it alarms are calibrated on weeks.")
@click.option("--prediction", metavar="COLUMN", help="Column of a model's predictions.")
@click.option("--label", metavar="COLUMN", help="Column of what came true.")
@click.option("--segment", "segments", multiple=True, metavar="COLUMN", help="Column with few values to count by; may be repeated.")
@click.option("--block-days", type=click.IntRange(1), default=7, show_default=True, help="Days of a block.")
@click.option("--engine", type=click.Choice(["local", "dask"]), help="Where parts of REFERENCE are counted.  [default: local]")
def command(
    reference: str | None,
    output: Path | None,
    time: str | None,
    prediction: str | None,
    label: str | None,
    segments: tuple[str, ...],
    block_days: int,
    engine: Engine | None,
) -> Outcome:
    """Make the compact reference that monitor compares with.

    In a project: counts per column of the data on disk and of the model's predictions, into models/profile.parquet. With REFERENCE (a
    Parquet or CSV file, a folder or a glob), anywhere: the profile of that table, into --output. No rows are kept.
    """
    if reference is None:
        from modelyard.project import find

        if output or time or prediction or label or segments or engine:
            raise UsageError(
                "These options need a REFERENCE; a project's profile follows modelyard.yaml.", "Name a table, or leave the options out."
            )
        return run(find())
    if output is None:
        raise UsageError("Where shall the profile go?", "Add -o ref.profile.")
    roles: dict[str, Role] = {}
    if prediction:
        roles[prediction] = "prediction"
    if label:
        roles[label] = "label"
    return table(reference, output, time=time, roles=roles, segments=segments, block_days=block_days, engine=engine or "local")
