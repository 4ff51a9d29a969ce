"""``modelyard profile``: the compact reference that ``monitor`` compares with; a stage of the pipeline.

The columns are those of the training rows, since that is what the model knows. The prediction is that of the hold-out: on rows
that a model was trained on it is surer than it will ever be again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from modelyard.outcome import Outcome
from modelyard.project import MODEL, PROFILE, Project, find

if TYPE_CHECKING:
    from modelyard.monitor.profile import Profile


def run(project: Project) -> Outcome:
    """Count the data on disk and the model's predictions, and write ``models/profile.json``."""
    from modelyard import jsonfile
    from modelyard.console import step

    with step("profile"):
        made = make(project)
    path = project.root / PROFILE
    jsonfile.write(path, made)
    size = path.stat().st_size
    what = f"{len(made.columns)} columns, prediction and label in {size / 1000:.1f} kB"
    summary = f"**profile: {made.rows:,} rows on {made.days:g} days**: {what}"
    return Outcome(verdict="", summary=summary, outputs={"columns": str(len(made.columns)), "bytes": str(size)})


def make(project: Project) -> Profile:
    """The profile of the model in the working tree.

    Raises
    ------
    DataError
        There is no data, or none before the hold-out, or none in it.
    ProjectError
        There is no model, or it does not predict what it must.
    """
    import pandas as pd

    from modelyard import dataset
    from modelyard.errors import DataError
    from modelyard.monitor.profile import Profile, describe
    from modelyard.predictions import of_challenger
    from modelyard.release import sha256

    data = project.policy.data
    split = dataset.split(project)
    if split.holdout.empty:
        raise DataError(f"The hold-out from {split.start:%Y-%m-%d} to {split.end:%Y-%m-%d} has no rows.", "Look into data/raw.")
    scores = pd.Series(of_challenger(project, split.holdout))
    time = split.train[data.time]
    covered = sum((min(p.end, split.start) - p.start for p in dataset.on_disk(project) if p.start < split.start), timedelta())
    return Profile(
        model=sha256(project.root / MODEL),
        rows=len(split.train),
        days=covered / timedelta(days=1),
        columns={str(name): describe(split.train[name], time) for name in split.train.columns if name not in (data.time, data.label)},
        label=describe(split.train[data.label]),
        prediction=describe(scores),
    )


@click.command("profile")
def command() -> Outcome:
    """Make the compact reference that monitor compares with.

    Counts per column of the training rows, and of the model's predictions of the hold-out, into models/profile.json; no rows
    are kept.
    """
    return run(find())
