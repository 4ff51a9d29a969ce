"""``modelyard register``: what was trained and judged goes into MLflow, and its data into the DVC remote."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel, Field

from modelyard import clock, git, jsonfile, registry, state, store
from modelyard.console import step
from modelyard.errors import ProjectError
from modelyard.evaluate import PAGE, challenge
from modelyard.evaluate.report import Evaluation
from modelyard.outcome import Outcome
from modelyard.project import EXAMPLES, MODEL, PROFILE, REPORTS, Project, find
from modelyard.release import sha256

#: Name under which the evaluation is kept with the run.
EVALUATION = "evaluate.json"
#: What the verb leaves for ``propose``, among the reports.
REPORT = "register.json"


class Registered(BaseModel):
    """What ``reports/register.json`` holds."""

    run_id: str
    version: str = Field(description="Version in the registry; empty where the verdict was not promote.")
    sha256: str = Field(description="Of the model file.")
    evaluation: str = Field(description="SHA-256 of the evaluation that was kept with the run.")


def run(project: Project, now: datetime) -> Outcome:
    """Log the run; where the verdict is ``promote``, also the model version, alias ``challenger``, and the data.

    One transaction of the state branch: all of it is there afterwards, or nothing. Registering the same model with the same
    evaluation again finds the version that is there.
    """
    report = project.root / REPORTS / EVALUATION
    model = project.root / MODEL
    for path in (report, model):
        if not path.exists():
            raise ProjectError(f"{path.relative_to(project.root)} is missing.", "Run `modelyard train` and `modelyard evaluate` first.")
    evaluation = jsonfile.read(report, Evaluation, "Run `modelyard evaluate` again.")
    digest = sha256(model)
    if evaluation.challenger.sha256 != digest:
        raise ProjectError(f"{report.relative_to(project.root)} judges another model.", "Run `modelyard evaluate` again.")
    embedded = store.is_embedded(project.root)

    def write(folder: Path | None) -> Registered:
        entry = _log(project, folder, evaluation, digest, now)
        if evaluation.verdict == "promote" and folder and embedded:
            store.push(project.root, folder / "dvc")
        return entry

    with step("register"):
        if evaluation.verdict == "promote" and not embedded:
            store.push(project.root)
        if registry.is_remote() and not embedded:
            entry = write(None)
        else:
            entry = state.transact(project.root, write, f"register {project.policy.name} {digest[:12]}")
    jsonfile.write(project.report(REPORT), entry)
    version = entry.version
    what = f"version {version} of {project.policy.name}" if version else f"run {entry.run_id} only: the verdict is {evaluation.verdict}"
    return Outcome(verdict="", summary=f"**register: {what}**", outputs={"version": version, "run-id": entry.run_id})


def _log(project: Project, folder: Path | None, evaluation: Evaluation, digest: str, now: datetime) -> Registered:
    name = project.policy.name
    connection = registry.connect(folder)
    judged = sha256(project.root / REPORTS / EVALUATION)
    known = [v for v in registry.versions(connection, name) if v.tags.get("evaluation") == judged and v.sha256 == digest]
    if known:
        return Registered(run_id=known[0].run_id, version=known[0].version, sha256=digest, evaluation=judged)
    tags = {
        "git.commit": git.head(project.root),
        "trigger": os.environ.get("GITHUB_EVENT_NAME", "local"),
        "logical_date": now.isoformat(),
        "verdict": evaluation.verdict,
        "model.sha256": digest,
        **({"holdout": challenge.period(*evaluation.holdout)} if evaluation.holdout else {}),
    }
    params = _params(project.root)
    artifacts = {EVALUATION: project.root / REPORTS / EVALUATION}
    reports = (REPORTS / PAGE, REPORTS / challenge.READINESS)
    artifacts |= {p.name: project.root / p for p in (EXAMPLES, PROFILE, *reports) if (project.root / p).exists()}
    run_id = registry.log_run(
        connection,
        experiment=name,
        name=f"train {now:%Y-%m-%d}",
        params=params,
        metrics=evaluation.challenger.metrics,
        tags=tags,
        artifacts=artifacts,
    )
    version = ""
    if evaluation.verdict == "promote":
        entry = registry.register(
            connection, name=name, run_id=run_id, model=project.root / MODEL, sha256=digest, tags={"evaluation": judged}
        )
        registry.set_alias(connection, name, "challenger", entry.version)
        version = entry.version
    return Registered(run_id=run_id, version=version, sha256=digest, evaluation=judged)


def _params(root: Path) -> dict[str, str]:
    import yaml

    path = root / "params.yaml"
    raw = yaml.safe_load(path.read_text()) if path.exists() else None
    return {key: str(value) for key, value in _flatten(raw or {}, "")}


def _flatten(tree: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in tree.items():
        rows += _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return rows


@click.command("register")
@clock.now_option
def command(now: datetime) -> Outcome:
    """Log the run, its artifacts and the model version in MLflow.

    A version is made, and data and model are delivered to the DVC remote, only where evaluate said promote.
    """
    return run(find(), now)
