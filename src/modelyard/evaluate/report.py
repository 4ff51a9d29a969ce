"""What ``reports/evaluate.json`` holds, and its summary for people. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from modelyard import policy
from modelyard.evaluate import decision
from modelyard.evaluate.check import Check
from modelyard.evaluate.curves import Curves
from modelyard.evaluate.decision import Verdict
from modelyard.evaluate.dependence import Dependence
from modelyard.evaluate.fairness import Fairness
from modelyard.evaluate.importance import Change
from modelyard.evaluate.paired import Comparison, Interval
from modelyard.evaluate.segments import Segments
from modelyard.page.plain import line
from modelyard.risk import FAMILIES, Demand, Level


class Range(BaseModel):
    """A metric on the hold-out, with its 95 % interval over days where there are enough."""

    value: float
    lower: float | None = None
    upper: float | None = None


class Challenger(BaseModel):
    """The model that is judged."""

    sha256: str = Field(description="Of the model file; outside of a project of the file of its predictions.")
    metrics: dict[str, float] = Field(description="Metrics that are defined on the hold-out.")
    ranges: dict[str, Range] = Field(default_factory=dict, description="The same with their intervals.")
    curves: Curves = Curves()


class Champion(BaseModel):
    """The model that it would replace, on the same rows."""

    sha256: str
    version: str = Field(description="Version in the MLflow registry; empty outside of a project.")
    metrics: dict[str, float]
    ranges: dict[str, Range] = Field(default_factory=dict)
    curves: Curves = Curves()


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
    challengers: int = Field(1, description="Models tried on this hold-out, this one included: the error is shared among them.")
    weight: str = Field("", description="Column that says how much each row counts; empty: all alike.")
    independent_rows: bool = Field(False, description="Said by the caller, not checked: rows stand for themselves, not for their day.")


class Evaluation(BaseModel):
    """The evidence of one decision; it holds no clock, so that the same inputs give the same bytes."""

    version: Literal[2] = 2
    verdict: Verdict
    reasons: list[str]
    task: policy.Task
    metric: str = Field(description="The metric that decides.")
    rule: str = Field(description="superior or non-inferior.")
    superior: bool = Field(description="The two-sided 95 % interval of the improvement lies above 0, whatever the rule asks.")
    risk: Level | None = Field(description="Risk level whose demands decided; none outside of a project.")
    demand: Demand = Field(
        decision.EVERYTHING, description="What that level asks for: which checks count, and whether undecided ones block."
    )
    challenger: Challenger
    champion: Champion | None = Field(description="None before the first release.")
    comparison: Comparison | None
    checks: list[Check]
    segments: Segments | None = None
    fairness: Fairness | None = None
    importance: list[Change] = Field(default_factory=list, description="Of raw columns, for both models; the challenger's largest first.")
    dependence: list[Dependence] = Field(default_factory=list, description="Partial dependence of the most important columns.")
    holdout: tuple[datetime, datetime] | None = Field(description="[start, end), never trained on; none where rows have no time.")
    refitted: Literal[False] = Field(False, description="The model released is the model judged: it is not trained anew on the hold-out.")
    inputs: Inputs


def ranges(values: Mapping[str, float], spans: Mapping[str, Interval]) -> dict[str, Range]:
    """Values with their intervals, where there are some."""
    return {
        name: Range(value=value, lower=spans[name].lower, upper=spans[name].upper) if name in spans else Range(value=value)
        for name, value in values.items()
    }


def bearing(found: Evaluation, check: Check) -> str:
    """What a result does to the verdict, where its name does not say it: ``not demanded at low``, ``blocks``; else empty."""
    if check.status == "noted":
        return ""
    if not decision.counts(check.family, found.demand):
        return f"not demanded at {found.risk}"
    return "blocks" if check.status == "inconclusive" and decision.blocks(check, found.demand) else ""


def demands(found: Evaluation) -> list[tuple[str, str]]:
    """What must pass at the risk level, and what is only told, as names and texts; empty outside of a project."""
    if not found.risk:
        return []
    must, told = (", ".join(name for name in FAMILIES if decision.counts(name, found.demand) is asked) for asked in (True, False))
    undecided = "blocks" if found.demand.inconclusive == "block" else "is told, and does not block"
    rows = [("must pass", must), (f"not demanded at {found.risk}", told), ("a check that could not be decided", undecided)]
    return [(name, text) for name, text in rows if text]


_MARKS = {"passed": "✓ ", "failed": "✗ ", "inconclusive": "? ", "unknown": "? ", "noted": ""}
_SHOWN = 12  # checks that stand open; the others are folded


def summary(found: Evaluation) -> str:
    """Markdown: the verdict first, why, the metrics, what did not pass; all else folded."""
    when = f" on {found.holdout[0]:%Y-%m-%d} to {found.holdout[1]:%Y-%m-%d}" if found.holdout else ""
    lines = [f"**evaluate: {found.verdict}**{when}", "", *(f"- {line(reason)}" for reason in found.reasons), ""]
    lines += ["| metric | challenger | champion | policy |", "|---|---|---|---|"]
    bounds = {check.name: check for check in found.checks if check.family == "criteria"}
    for name in policy.METRICS[found.task]:
        demand = f"{bounds[name].limit}: {_result(found, bounds[name])}" if name in bounds else ""
        values = [_metric(model, name) if model else "none" for model in (found.challenger, found.champion)]
        lines.append(f"| {f'**{name}**' if name == found.metric else name} | {' | '.join(values)} | {demand} |")
    loud = [check for check in found.checks if check.status in ("failed", "unknown", "inconclusive")]
    loud.sort(key=lambda check: not decision.counts(check.family, found.demand))
    if loud:
        lines += ["", *_table(found, loud[:_SHOWN])]
    lines += [
        "",
        f"<details><summary>All {len(found.checks)} checks, and how it was judged</summary>",
        "",
        *_table(found, found.checks),
        "",
    ]
    lines += [*(f"- {line}" for line in _details(found)), "", "</details>"]
    return "\n".join(lines)


def _table(found: Evaluation, checks: Iterable[Check]) -> list[str]:
    rows = sorted(checks, key=lambda check: FAMILIES.index(check.family))
    cells = ([check.family, check.name, _result(found, check), check.message] for check in rows)
    return ["| check | of | result | found |", "|---|---|---|---|", *(f"| {' | '.join(map(_cell, row))} |" for row in cells)]


def _result(found: Evaluation, check: Check) -> str:
    """``✗ **failed**``; what does not count against the release is not bold."""
    word = f"**{check.status}**" if decision.blocks(check, found.demand) else check.status
    return ", ".join(filter(None, [_MARKS[check.status] + word, bearing(found, check)]))


def _details(found: Evaluation) -> list[str]:
    given = found.inputs
    blocks = "groups of rows that are said to be independent" if given.independent_rows else "days"
    lines = [f"hold-out: {given.rows:,} rows, {given.labelled:,} of them with a label, in {given.days} {blocks}; not refitted on"]
    if found.risk:
        lines.append(f"risk level: {found.risk}; rule: {found.rule}")
    lines += [f"{name}: {text}" for name, text in demands(found)]
    if given.challengers > 1:
        lines.append(f"models tried on this hold-out: {given.challengers}; the error is shared among them")
    if by := found.comparison:
        lines += [
            f"improvement in {by.metric}: {by.difference:+.4f}, bounds {by.lower:+.4f} and {by.upper:+.4f}, each at {by.confidence:.2%}",
            f"standard error over {blocks}: {by.se:.4f}, by a jackknife",
            f"smallest improvement that shows in 8 of 10 cases: {by.detectable:.4f}",
        ]
    lines.append(f"challenger: `{found.challenger.sha256[:12]}`")
    if found.champion:
        version = f"version {found.champion.version}, " if found.champion.version else ""
        lines.append(f"champion: {version}`{found.champion.sha256[:12]}`")
    return lines


def _metric(model: Challenger | Champion, name: str) -> str:
    value, span = model.metrics.get(name), model.ranges.get(name)
    if value is None:
        return "undefined"
    return f"{value:.4f}" + (
        f" ({span.lower:.4f} to {span.upper:.4f})" if span and span.lower is not None and span.upper is not None else ""
    )


def _cell(text: str) -> str:
    return line(text).replace("|", "\\|")
