"""``modelyard demo``: generate a project from this template, and let a year of flights happen to it.

Every step is executed by the project's own workflow files, as push, schedule and dispatch events (:mod:`modelyard.local`).
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import click

from modelyard.console import say
from modelyard.demo import measure, page, stage, story
from modelyard.image.builder import VARIABLE
from modelyard.outcome import Outcome


@click.command("demo")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("flights-demo"))
@click.option("--months", type=click.IntRange(1, 9), default=4, show_default=True, help="Months that happen after March.")
@click.option("--task", type=click.Choice(["binary", "regression"]), default="binary", show_default=True, help="What is predicted.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write one object per workflow run to this file."
)
def command(folder: Path, months: int, task: str, json_file: Path | None) -> Outcome:
    """Generate a project and let a year of flights happen to it.

    FOLDER (default ./flights-demo) receives the project, a bare origin.git beside it, the upstream data and a report. January to March are
    there; then month by month the project's workflows monitor, retrain, propose, promote; one month arrives broken; at the end a release is
    rolled back, and comes back.
    """
    started = time.monotonic()
    os.environ.setdefault(VARIABLE, "none")  # images take minutes; `modelyard package` in the project builds them
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
    yard = stage.build(folder.resolve(), task)
    tale = story.Tale()
    try:
        story.play(yard, tale, months)
    finally:  # also of a story that broke off
        if json_file:
            json_file.write_text(json.dumps([run.as_json() for run in tale.runs], indent=2) + "\n", encoding="utf-8")
    say("Measure what the loop gained")
    figures = measure.months(yard, tale)
    report = page.write(yard, tale, figures, seconds=time.monotonic() - started)
    return Outcome(verdict="", summary=page.markdown(yard, tale, figures, report, seconds=time.monotonic() - started))
