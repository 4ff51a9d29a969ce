"""``modelyard train``: reproduce the pipeline."""

from __future__ import annotations

import json

import click

from modelyard import store
from modelyard.console import step
from modelyard.outcome import Outcome
from modelyard.project import MODEL, RAW, REPORTS, Project, find
from modelyard.release import sha256


def run(project: Project) -> Outcome:
    """``dvc repro``: bring the data that only miss on disk, and run the stages whose inputs changed."""
    with step("bring the data"):
        store.pull_missing_data(project.root, RAW)
    with step("dvc repro"):
        ran = store.reproduce(project.root)
    model = project.root / MODEL
    digest = sha256(model) if model.exists() else ""
    lines = [f"**train: {', '.join(ran) + ' ran' if ran else 'nothing changed'}**", ""]
    metrics = project.root / REPORTS / "train.json"
    if metrics.exists():
        lines += ["| metric | value |", "|---|---|"]
        lines += [f"| {name} | {_short(value)} |" for name, value in json.loads(metrics.read_text()).items()]
    return Outcome(verdict="", summary="\n".join(lines), outputs={"changed": str(bool(ran)).lower(), "model": digest})


def _short(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


@click.command("train")
def command() -> Outcome:
    """Reproduce the pipeline: dvc repro, with progress.

    Stages whose inputs did not change are not run again. Outputs: changed (true or false) and the model's SHA-256.
    """
    return run(find())
