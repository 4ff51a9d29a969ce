"""What ``reports/evaluate.json`` holds, and its summary for people. No I/O."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from modelyard import policy
from modelyard.evaluate.decision import Criterion, Verdict
from modelyard.evaluate.paired import Comparison


class Challenger(BaseModel):
    """The model in the working tree."""

    sha256: str
    metrics: dict[str, float] = Field(description="Metrics that are defined on the hold-out.")


class Champion(BaseModel):
    """The model that main's release record names, on the same rows."""

    sha256: str
    version: str = Field(description="Version in the MLflow registry.")
    metrics: dict[str, float]


class Batch(BaseModel):
    """A file that holds rows of the hold-out."""

    path: str
    sha256: str


class Inputs(BaseModel):
    """All that the verdict follows from, beside the two models."""

    policy: policy.Evaluate
    batches: list[Batch]
    rows: int = Field(description="Rows of the hold-out.")
    labelled: int = Field(description="Of them with a label: the rows that the metrics are of.")
    days: int = Field(description="Calendar days with labelled rows.")


class Evaluation(BaseModel):
    """The evidence of one decision; it holds no clock, so that the same inputs give the same bytes."""

    version: Literal[1] = 1
    verdict: Verdict
    reasons: list[str]
    task: policy.Task
    metric: str = Field(description="The metric that decides.")
    challenger: Challenger
    champion: Champion | None = Field(description="None before the first release.")
    comparison: Comparison | None
    criteria: list[Criterion]
    holdout: tuple[datetime, datetime] = Field(description="[start, end), never trained on.")
    inputs: Inputs


def summary(found: Evaluation) -> str:
    """Markdown: the verdict first, the metrics next, the rest folded."""
    start, end = found.holdout
    lines = [f"**evaluate: {found.verdict}** on {start:%Y-%m-%d} to {end:%Y-%m-%d}", "", *(f"- {reason}" for reason in found.reasons), ""]
    bounds = {c.metric: c for c in found.criteria}
    lines += ["| metric | challenger | champion | policy |", "|---|---|---|---|"]
    for name in policy.METRICS[found.task]:
        demand = f"{bounds[name].demand}: {'met' if bounds[name].met else '**missed**'}" if name in bounds else ""
        values = [_number(model.metrics.get(name)) if model else "none" for model in (found.challenger, found.champion)]
        lines.append(f"| {f'**{name}**' if name == found.metric else name} | {' | '.join(values)} | {demand} |")
    lines += ["", "<details><summary>How it was judged</summary>", "", *(f"- {line}" for line in _details(found)), "", "</details>"]
    return "\n".join(lines)


def _details(found: Evaluation) -> list[str]:
    given = found.inputs
    lines = [f"hold-out: {given.rows:,} rows, {given.labelled:,} of them with a label, on {given.days} days"]
    if by := found.comparison:
        lines += [
            f"improvement in {by.metric}: {by.difference:+.4f}, bounds {by.lower:+.4f} and {by.upper:+.4f}, each at {by.confidence:.0%}",
            f"standard error over days: {by.se:.4f}; {by.replicates:,} bootstrap replicates of whole days",
            f"smallest improvement that shows in 8 of 10 cases: {by.detectable:.4f}",
        ]
    lines.append(f"challenger: `{found.challenger.sha256[:12]}`")
    if found.champion:
        lines.append(f"champion: version {found.champion.version}, `{found.champion.sha256[:12]}`")
    return lines


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
