"""``modelyard ingest``: take each complete period of data that is missing."""

from __future__ import annotations

import os
from datetime import datetime

import click

from modelyard import clock, dataset, store
from modelyard.console import step
from modelyard.errors import DataError
from modelyard.outcome import Outcome
from modelyard.project import RAW, Project, find


def run(project: Project, now: datetime) -> Outcome:
    """Load every complete period without a pointer, write it as Parquet, and put it under DVC.

    A period for which ``load()`` has no rows yet stays missing and is asked for again next time.

    Parameters
    ----------
    now
        Logical date, aware.
    """
    taken: dict[str, int] = {}
    late: list[str] = []
    (project.root / RAW).mkdir(parents=True, exist_ok=True)
    for period in dataset.complete_periods(project.policy.data, now.replace(tzinfo=None)):
        if (project.root / store.pointer(period.file)).exists():
            continue
        with step(f"ingest {period.name}"):
            frame = dataset.load(project, period.start, period.end)
            if frame.empty:
                late.append(period.name)
                continue
            # Renamed when whole: a run that is killed leaves no half file where the pipeline reads.
            draft = project.root / ".modelyard" / f"{period.name}.{os.getpid()}.parquet"
            draft.parent.mkdir(exist_ok=True)
            try:
                frame.to_parquet(draft, index=False)
            except (ValueError, TypeError, NotImplementedError) as error:  # what pyarrow's errors derive from
                draft.unlink(missing_ok=True)
                what = f"What {project.policy.package}.data.load returned for {period.name} cannot be written as Parquet: {error}"
                raise DataError(what, f"Give each column one type in src/{project.policy.package}/data.py.") from error
            draft.rename(project.root / period.file)
            store.add(project.root, period.file)
            taken[period.name] = len(frame)
    verdict = "new" if taken else "nothing new"
    lines = [f"**ingest: {verdict}** until {now:%Y-%m-%d %H:%M} UTC", ""]
    lines += [f"- {name}: {rows:,} rows" for name, rows in taken.items()]
    lines += [f"- {name}: no rows yet; asked for again next time" for name in late]
    return Outcome(
        verdict=verdict,
        summary="\n".join(lines),
        outputs={"periods": " ".join(taken), "rows": str(sum(taken.values()))},
        problems=tuple(f"{name}: the source has no rows yet." for name in late),
    )


@click.command("ingest")
@clock.now_option
def command(now: datetime) -> Outcome:
    """Take each complete period of data that is missing.

    Calls the project's load(start, end) for each period since data.start that is over and has no pointer yet, and writes
    data/raw/<period>.parquet with its .dvc file. Verdict: new, or nothing new.
    """
    return run(find(), now)
