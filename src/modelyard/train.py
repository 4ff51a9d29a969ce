"""``modelyard train``: reproduce the pipeline."""

from __future__ import annotations

import json

import click

from modelyard import store
from modelyard.console import step
from modelyard.errors import ProjectError
from modelyard.outcome import Outcome
from modelyard.project import MODEL, RAW, REPORTS, Project, find
from modelyard.release import sha256

#: What the stage may leave for people to see.
METRICS = REPORTS / "train.json"


def run(project: Project) -> Outcome:
    """``dvc repro``: bring the data that only miss on disk, and run the stages whose inputs changed."""
    with step("bring the data"):
        store.pull_missing_data(project.root, RAW)
    with step("dvc repro"):
        ran = store.reproduce(project.root)
    model = project.root / MODEL
    digest = sha256(model) if model.exists() else ""
    lines = [f"**train: {', '.join(ran) + ' ran' if ran else 'nothing changed'}**", ""]
    if metrics := _metrics(project):
        lines += ["| metric | value |", "|---|---|", *(f"| {name} | {_short(value)} |" for name, value in metrics.items())]
    return Outcome(verdict="", summary="\n".join(lines), outputs={"changed": str(bool(ran)).lower(), "model": digest})


def _metrics(project: Project) -> dict[str, object]:
    path = project.root / METRICS
    try:
        found: dict[str, object] = dict(json.loads(path.read_text()) if path.exists() else {})
    except (ValueError, TypeError):
        raise ProjectError(f"{METRICS} holds no JSON object.", "Let the stage write metric names and their values.") from None
    return found


def _short(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


@click.command("train")
def command() -> Outcome:
    """Reproduce the pipeline: dvc repro, with progress.

    Stages whose inputs did not change are not run again. Outputs: changed (true or false) and the model's SHA-256.
    """
    return run(find())
