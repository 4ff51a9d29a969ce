"""Champion and shadow on the same requests, from the prediction log: do they agree, what does it cost, and what do labels say.

:func:`compare` is pure; :func:`run` reads the log and writes ``reports/shadow.json``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, Field

from modelyard.evaluate import gate, metrics, paired
from modelyard.evaluate.check import Check
from modelyard.evaluate.gate import Rows
from modelyard.evaluate.paired import MINIMUM_DAYS, TWO_SIDED, Comparison
from modelyard.evaluate.pairs import Pairs
from modelyard.evaluate.report import Range
from modelyard.outcome import Outcome
from modelyard.page.plain import line
from modelyard.policy import Evaluate, Task

if TYPE_CHECKING:
    from modelyard.project import Project

REPORT = "shadow.json"

#: passes: labels show what the policy's rule demands of a challenger; fails: they show the contrary; undecided: neither, or none has come.
Verdict = Literal["passes", "undecided", "fails"]


class Model(BaseModel):
    """One of the two."""

    version: str = Field(description="Version in the MLflow registry; empty where the service did not know.")
    sha256: str
    metric: float | None = Field(None, description="The deciding metric on the rows whose labels have come.")
    p50_ms: float | None = Field(None, description="What its predict took for an answer; none where nobody measured.")
    p95_ms: float | None = None
    p99_ms: float | None = None


class Shadowed(BaseModel):
    """The two on the same rows; it holds no clock, so that the same log and labels give the same bytes."""

    version: Literal[1] = 1
    verdict: Verdict
    metric: str = Field(description="The metric that decides.")
    champion: Model
    shadow: Model
    period: tuple[datetime, datetime] = Field(description="[start, end) of the event times.")
    answers: int = Field(description="Requests that both answered.")
    rows: int
    labelled: int = Field(description="Of them with a label.")
    days: int
    correlation: Range | None = Field(description="Of the predictions (Pearson); none where one of the two always says the same.")
    difference: Range = Field(description="Mean of shadow minus champion.")
    absolute_difference: Range = Field(description="Mean size of the difference.")
    decisions: Range | None = Field(description="Share of rows on the other side of the threshold; none where nothing is decided.")
    threshold: float | None
    check: Check = Field(description="The gate's comparison on the rows whose labels have come.")
    comparison: Comparison | None
    left_out: dict[str, int] = Field(description="Why -> rows of the log that were not compared.")


def compare(task: Task, settings: Evaluate, pairs: Pairs) -> Shadowed:
    """Set the two beside each other.

    Intervals are 95 %, by the jackknife over days of :func:`modelyard.evaluate.paired.compare`; there are none for fewer than seven
    days. Labels that came early may be other ones than those that come late.
    """
    known = ~np.isnan(pairs.label)
    rows = Rows(pairs.day[known], pairs.label[known])
    old, new = pairs.champion[known], pairs.shadow[known]
    found = gate.against_champion(task, settings, rows, new, old, same=pairs.champion_is.sha256 == pairs.shadow_is.sha256)
    defined = not metrics.undefined(settings.metric, rows.label)
    values = [metrics.value(settings.metric, rows.label, score, metrics.settings(settings)) if defined else None for score in (old, new)]
    gap = pairs.shadow - pairs.champion
    threshold = settings.threshold if task == "binary" else None
    other_side = (pairs.shadow >= threshold) != (pairs.champion >= threshold) if threshold is not None else None
    first, last = int(pairs.day.min()), int(pairs.day.max())
    return Shadowed(
        verdict=_verdict(settings, found),
        metric=settings.metric,
        champion=Model(**vars(pairs.champion_is), metric=values[0], **_latency(pairs.champion_seconds)),
        shadow=Model(**vars(pairs.shadow_is), metric=values[1], **_latency(pairs.shadow_seconds)),
        period=(datetime(1970, 1, 1) + timedelta(days=first), datetime(1970, 1, 1) + timedelta(days=last + 1)),
        answers=len(pairs.champion_seconds),
        rows=len(pairs.day),
        labelled=len(rows.label),
        days=len(np.unique(pairs.day)),
        correlation=_correlation(pairs),
        difference=_mean(pairs.day, gap),
        absolute_difference=_mean(pairs.day, np.abs(gap), least=0.0),
        decisions=None if other_side is None else _mean(pairs.day, other_side.astype(float), least=0.0, most=1.0),
        threshold=threshold,
        check=found.check,
        comparison=found.comparison,
        left_out=dict(pairs.left_out),
    )


def _verdict(settings: Evaluate, found: gate.Compared) -> Verdict:
    if found.check.status == "passed":
        return "passes"
    bound = 0.0 if settings.rule == "superior" else -(settings.margin or 0.0)
    return "fails" if found.comparison and found.comparison.upper < bound else "undecided"


def _latency(seconds: np.ndarray) -> dict[str, float | None]:
    known = seconds[~np.isnan(seconds)] * 1000
    if not len(known):
        return {}
    return {f"p{share}_ms": round(float(np.percentile(known, share)), 4) for share in (50, 95, 99)}


def _mean(day: np.ndarray, values: np.ndarray, least: float = -np.inf, most: float = np.inf) -> Range:
    _, place = np.unique(day, return_inverse=True)
    sums, counts = np.bincount(place, weights=values), np.bincount(place)
    rest = counts.sum() - counts
    without = (sums.sum() - sums) / np.where(rest > 0, rest, 1)
    return _range(float(sums.sum() / counts.sum()), without, float(np.abs(values).max()), least, most)


def _correlation(pairs: Pairs) -> Range | None:
    """Pearson's, from sums by day of what is centred: without a day the sums change, not the rows."""
    _, place = np.unique(pairs.day, return_inverse=True)
    x, y = pairs.champion - pairs.champion.mean(), pairs.shadow - pairs.shadow.mean()
    sums = np.stack([np.bincount(place, weights=each) for each in (np.ones(len(x)), x, y, x * x, y * y, x * y)])
    total = sums.sum(axis=1, keepdims=True)
    n, sx, sy, xx, yy, xy = np.concatenate([total, total - sums], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (xy - sx * sy / n) / np.sqrt((xx - sx**2 / n) * (yy - sy**2 / n))
    return _range(float(found[0]), found[1:], 1.0, -1.0, 1.0) if np.isfinite(found[0]) and x.any() and y.any() else None


def _range(value: float, without: np.ndarray, size: float, least: float, most: float) -> Range:
    value = min(max(value, least), most)
    if len(without) < MINIMUM_DAYS:
        return Range(value=value)
    try:
        reach = paired.quantile(TWO_SIDED, len(without)) * paired.spread(value, without, size)
    except ValueError:  # without some day one of the two always says the same
        return Range(value=value)
    return Range(value=value, lower=max(value - reach, least), upper=min(value + reach, most))


def run(project: Project, folder: Path) -> Outcome:
    """Compare the shadow that answered last with the champion beside it, and write ``reports/shadow.json``.

    Parameters
    ----------
    folder
        The prediction log, or its compaction.

    Returns
    -------
    Outcome
        ``passes`` is positive, ``undecided`` and ``fails`` are not.

    Raises
    ------
    DataError
        There is no such log, it holds no shadow's answers, or ``load()`` fails.
    """
    from modelyard import jsonfile
    from modelyard.console import step
    from modelyard.evaluate import pairs

    with step("compare the shadow"):
        found = compare(project.policy.task, project.policy.evaluate, pairs.read(project, folder))
    jsonfile.write(project.report(REPORT), found)
    return outcome(found)


def outcome(found: Shadowed) -> Outcome:
    """What the verb tells."""
    by = found.comparison
    numbers = {
        "challenger": found.shadow.metric,
        "champion": found.champion.metric,
        "difference": by.difference if by else None,
        "lower": by.lower if by else None,
    }
    return Outcome(
        verdict=found.verdict,
        summary=summary(found),
        positive=found.verdict == "passes",
        outputs={"metric": found.metric, **{name: "" if value is None else f"{value:.4f}" for name, value in numbers.items()}},
        problems=(found.check.message,) if found.verdict == "fails" else (),
    )


def summary(found: Shadowed) -> str:
    """Markdown: the verdict first, and why; both models; how far they agree."""
    names = [f"version {model.version}" if model.version else f"`{model.sha256[:12]}`" for model in (found.shadow, found.champion)]
    at = f"{found.period[0]:%Y-%m-%d} to {found.period[1]:%Y-%m-%d}"
    lines = [
        f"**evaluate --shadow: {found.verdict}**: {line(names[0])} beside {line(names[1])} on {at}",
        "",
        f"- {line(found.check.message)}",
        f"- {found.rows:,} rows of {found.answers:,} requests on {found.days} days; labels of {found.labelled:,} rows have come.",
    ]
    if told := [f"{count:,} {why}" for why, count in found.left_out.items() if count]:
        lines.append(f"- Rows that were not compared: {', '.join(told)}.")
    lines += ["", "| | champion | shadow |", "|---|---|---|"]
    for name, key, digits in (
        (f"**{found.metric}**", "metric", 4),
        ("predict, median (ms)", "p50_ms", 2),
        ("predict, 95th percentile (ms)", "p95_ms", 2),
        ("predict, 99th percentile (ms)", "p99_ms", 2),
    ):
        values = [getattr(model, key) for model in (found.champion, found.shadow)]
        lines.append(f"| {name} | {' | '.join('not known' if value is None else f'{value:.{digits}f}' for value in values)} |")
    lines += ["", "| agreement of the predictions | | 95 % |", "|---|---|---|"]
    for name, span in (
        ("correlation", found.correlation),
        ("mean difference, shadow minus champion", found.difference),
        ("mean absolute difference", found.absolute_difference),
        (f"share of decisions that differ, from {found.threshold:g} on" if found.threshold is not None else "", found.decisions),
    ):
        if span:
            ends = "too few days" if span.lower is None else f"{span.lower:.4f} to {span.upper:.4f}"
            lines.append(f"| {name} | {span.value:.4f} | {ends} |")
    return "\n".join(lines)
