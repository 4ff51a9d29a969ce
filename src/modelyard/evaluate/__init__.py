"""``modelyard evaluate``: the challenger against the policy's criteria, and against the champion on the same held-out days.

Pure parts: :mod:`.metrics` (point values), :mod:`.statistic` and :mod:`.paired` (interval of the improvement),
:mod:`.decision` (verdict), :mod:`.report` (what is written).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from modelyard.errors import DataError
from modelyard.outcome import Outcome
from modelyard.project import MODEL, Project, find

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from modelyard.champion import Champion
    from modelyard.dataset import Split
    from modelyard.evaluate.paired import Comparison
    from modelyard.evaluate.report import Evaluation, Inputs

REPORT = "evaluate.json"


def run(project: Project) -> Outcome:
    """Judge ``models/model.onnx`` and write ``reports/evaluate.json``; promote is positive, keep and block are not."""
    from modelyard import champion, jsonfile
    from modelyard.console import step
    from modelyard.evaluate import report

    with step("bring the champion"):
        rival = champion.load(project)
    with step("evaluate"):
        found = judge(project, rival)
    jsonfile.write(project.report(REPORT), found)
    by, metric = found.comparison, found.metric
    numbers = {
        "challenger": found.challenger.metrics.get(metric),
        "champion": found.champion.metrics.get(metric) if found.champion else None,
        "difference": by.difference if by else None,
        "lower": by.lower if by else None,
    }
    return Outcome(
        verdict=found.verdict,
        summary=report.summary(found),
        positive=found.verdict == "promote",
        outputs={"metric": metric, **{name: "" if value is None else f"{value:.4f}" for name, value in numbers.items()}},
        problems=tuple(found.reasons) if found.verdict != "promote" else (),
    )


def judge(project: Project, champion: Champion | None) -> Evaluation:
    """Predict the hold-out with both models, and decide.

    Raises
    ------
    DataError
        There is no data, or none before the hold-out.
    ProjectError
        There is no model, or one of the two does not predict what it must.
    """
    from modelyard import dataset
    from modelyard.evaluate import decision, metrics, report
    from modelyard.predictions import of_challenger, of_champion
    from modelyard.release import sha256

    policy = project.policy
    split = dataset.split(project)
    rows, label, day = labelled(project, split.holdout)
    scores = [of_challenger(project, rows)]
    digest = sha256(project.root / MODEL)
    if champion:
        scores.append(of_champion(champion, rows))
    results = [metrics.compute(policy.task, label, score) for score in scores]
    comparison, obstacles = _compare(project, day, label, scores)
    criteria = decision.check(results[0], policy.evaluate.criteria)
    record = champion.release.model if champion else None
    same = record is not None and record.sha256 == digest
    verdict, reasons = decision.decide(policy.evaluate, criteria, obstacles, comparison, same=same)
    return report.Evaluation(
        verdict=verdict,
        reasons=reasons,
        task=policy.task,
        metric=policy.evaluate.metric,
        challenger=report.Challenger(sha256=digest, metrics=results[0]),
        champion=report.Champion(sha256=record.sha256, version=record.version, metrics=results[1]) if record else None,
        comparison=comparison,
        criteria=criteria,
        holdout=(split.start, split.end),
        inputs=_inputs(project, split, day),
    )


def labelled(project: Project, frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """The rows whose label is known, the labels, and the calendar day of each row as a number."""
    policy = project.policy
    known = frame[frame[policy.data.label].notna()].reset_index(drop=True)
    label = known[policy.data.label].to_numpy(dtype=float)
    if policy.task == "binary" and (odd := sorted(set(label) - {0.0, 1.0})):
        raise DataError(f"The label {policy.data.label!r} of a binary task holds {odd[0]:g}.", "Let load() return 0, 1 or missing.")
    return known, label, known[policy.data.time].to_numpy().astype("datetime64[D]").astype(int)


def _compare(project: Project, day: np.ndarray, label: np.ndarray, scores: list[np.ndarray]) -> tuple[Comparison | None, list[str]]:
    """The improvement where there is a champion, and what makes the hold-out unfit to judge on."""
    from modelyard.evaluate import metrics, paired
    from modelyard.policy import METRICS

    policy = project.policy.evaluate
    if why := metrics.undefined(policy.metric, label):
        return None, [f"The hold-out cannot judge {policy.metric}: {why}."]
    if len(scores) == 1:
        return None, []
    up = METRICS[project.policy.task][policy.metric]
    draw = paired.Draw(confidence=policy.confidence, replicates=policy.replicates, seed=policy.seed)
    try:
        return paired.compare(policy.metric, up, day, label, scores[0], scores[1], draw), []
    except ValueError as error:
        return None, [f"The hold-out cannot compare two models: {error}."]


def _inputs(project: Project, split: Split, day: np.ndarray) -> Inputs:
    from modelyard import dataset
    from modelyard.evaluate.report import Batch, Inputs
    from modelyard.release import sha256

    files = [period.file for period in dataset.on_disk(project) if period.end > split.start]
    return Inputs(
        policy=project.policy.evaluate,
        batches=[Batch(path=file.as_posix(), sha256=sha256(project.root / file)) for file in files],
        rows=len(split.holdout),
        labelled=len(day),
        days=len(set(day.tolist())),
    )


@click.command("evaluate")
def command() -> Outcome:
    """Compare the challenger with the criteria and with the champion.

    Both models predict the same hold-out, which neither was trained on. Verdict: promote, keep or block (exit code 10 for the
    latter two); outputs: metric, challenger, champion, difference, lower.
    """
    return run(find())
