"""An evaluation as a static page: whole in one file, without scripts.

jinja2 is imported by whoever imports this module: do so only where a page is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from modelyard import policy
from modelyard.evaluate import chart, decision, report, sections
from modelyard.evaluate.check import Check, Status
from modelyard.evaluate.report import Evaluation
from modelyard.page import figures, template
from modelyard.risk import FAMILIES

MARKS = {"promote": "✓", "keep": "=", "block": "✗", "passed": "✓", "failed": "✗", "inconclusive": "~", "unknown": "?", "noted": "•"}
MEANS = {
    "promote": "Nothing is wrong, and the rule is met: the challenger may be released.",
    "keep": "Nothing is wrong, but the rule is not met: the champion stays.",
    "block": "Something is wrong, or something needed is missing: the challenger must not be released.",
}
_SEVERITY: tuple[Status, ...] = ("failed", "unknown", "inconclusive", "passed", "noted")
_PASSED = _SEVERITY.index("passed")
_FOLDER = Path(__file__).parent
_REASONS = 8
# Bytes for what may be long, so that a page stays under 300 KB whatever the names are.
_ROOM = {"reasons": 12_000, "checks": 80_000, "files": 8_000}


def write(found: Evaluation, path: Path) -> None:
    """Write the page of one evaluation."""
    reasons, _ = sections.fit(found.reasons[:_REASONS], lambda reason: sections.weight(10, reason), _ROOM["reasons"])
    said = template.load("page.html.j2", _FOLDER).render(
        found=found,
        figures=figures,
        marks=MARKS,
        means=MEANS[found.verdict],
        window=_window(found),
        reasons=reasons,
        hidden_reasons=len(found.reasons) - len(reasons),
        facts=_facts(found),
        tiles=_tiles(found),
        checks=_checks(found),
        bearing=partial(report.bearing, found),
        told=[name for name in FAMILIES if not decision.counts(name, found.demand)],
        value=sections.ranged,
        improvement=_improvement(found),
        metrics=sections.metrics(found),
        curves=sections.curves(found),
        segments=sections.segments(found),
        fairness=sections.fairness(found),
        importance=sections.importance(found),
        dependence=sections.dependence(found),
        judged=_judged(found),
    )
    template.write(path, said)


def _window(found: Evaluation) -> str:
    return f"{figures.day(found.holdout[0])} to {figures.day(found.holdout[1])}" if found.holdout else ""


def _blocks(found: Evaluation) -> str:
    return "groups of rows that are said to be independent" if found.inputs.independent_rows else "days"


def _facts(found: Evaluation) -> list[str]:
    """What was compared with what, and by which rule."""
    given = found.inputs
    said = [f"{given.labelled:,} rows with a label, {given.days} {_blocks(found)}", f"rule: {found.rule}"]
    if found.risk:
        said.append(f"risk level: {found.risk}")
    said.append(f"challenger: {found.challenger.sha256[:12]}")
    if not found.champion:
        return [*said, "no champion yet"]
    version = f"version {found.champion.version}, " if found.champion.version else ""
    return [*said, f"champion: {version}{found.champion.sha256[:12]}"]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One figure for who has seconds."""

    name: str
    value: str
    more: str
    status: Status
    at: str  # where on the page it is told whole


def _tiles(found: Evaluation) -> list[Tile]:
    """The deciding metric, the improvement, the checks, the rows."""
    given, by = found.inputs, found.comparison
    rivals = [check for check in found.checks if check.family == "champion"]
    against: Status = min((check.status for check in rivals), key=_SEVERITY.index, default="unknown")
    criterion = next((check for check in found.checks if check.family == "criteria" and check.name == found.metric), None)
    rival = f"champion {figures.number(found.champion.metrics.get(found.metric))}" if found.champion else "no champion yet"
    asked = [check for check in found.checks if check.status != "noted"]
    counted = [check for check in asked if decision.counts(check.family, found.demand)]
    told = _counts([check for check in asked if check not in counted], without="passed")
    unlabelled = given.rows - given.labelled
    return [
        Tile(
            name=found.metric,
            value=figures.number(found.challenger.metrics.get(found.metric)),
            more=f"{rival}; {criterion.limit}" if criterion else rival,
            status=criterion.status if criterion else "noted",
            at="metrics",
        ),
        Tile(
            name="improvement",
            value=figures.number(by.difference, signed=True) if by else "not known",
            more=f"{_bounds(found)}; above {_bound(found):g} is asked" if by else " ".join(check.message for check in rivals[:1]),
            status=against,
            at="improvement",
        ),
        Tile(
            name="checks",
            value=f"{sum(check.status == 'passed' for check in asked)} of {len(asked)} passed",
            more="; ".join(filter(None, [_counts(counted, without="passed"), f"not demanded: {told}" if told else ""]))
            or "none failed, none undecided",
            status=min((check.status for check in counted), key=_SEVERITY.index, default="unknown"),
            at="checks",
        ),
        Tile(
            name="rows judged",
            value=f"{given.labelled:,}",
            more=f"{given.days} {_blocks(found)}" + (f"; {unlabelled:,} more have no label" if unlabelled else ""),
            status="noted",
            at="judged",
        ),
    ]


def _bound(found: Evaluation) -> float:
    """What the improvement must lie above; a first model must beat its baseline whatever the rule is."""
    return -(found.inputs.policy.margin or 0.0) if found.rule == "non-inferior" and found.champion else 0.0


def _bounds(found: Evaluation) -> str:
    """The interval in words, with what it covers."""
    by = found.comparison
    if not by:
        return ""
    if _bound(found):
        return f"one-sided {_percent(by.confidence)} bounds {figures.interval(by.lower, by.upper, signed=True)}"
    return f"{_percent(2 * by.confidence - 1)} interval {figures.interval(by.lower, by.upper, signed=True)}"


def _percent(value: float) -> str:
    return f"{100 * value:.4g} %"


def _counts(checks: Sequence[Check], without: str = "") -> str:
    """``2 failed, 1 unknown``."""
    counts = ((status, sum(check.status == status for check in checks)) for status in _SEVERITY if status != without)
    return ", ".join(f"{count} {status}" for status, count in counts if count)


@dataclass(frozen=True, kw_only=True)
class Family:
    """Checks of one family."""

    name: str
    counts: str
    checks: list[Check]


def _checks(found: Evaluation) -> dict[str, Any]:
    """By family, those that hold what did not pass first, and of these what counts; within one likewise."""
    worst: dict[str, float] = {}
    for name in FAMILIES:
        rank = min((_rank(check) for check in found.checks if check.family == name), default=_PASSED)
        worst[name] = min(rank if decision.counts(name, found.demand) else max(rank, _PASSED - 0.5), _PASSED)
    ordered = sorted(found.checks, key=lambda check: (worst[check.family], FAMILIES.index(check.family), _rank(check)))
    shown, hidden = sections.fit(ordered, _weight, _ROOM["checks"])
    families = []
    for name in dict.fromkeys(check.family for check in shown):
        counts = _counts([check for check in found.checks if check.family == name])
        families.append(Family(name=name, counts=counts, checks=[check for check in shown if check.family == name]))
    return {"families": families, "hidden": hidden}


def _weight(check: Check) -> int:
    return sections.weight(420, check.name, check.message, check.limit, check.why)


def _rank(check: Check) -> int:
    return _SEVERITY.index(check.status)


def _improvement(found: Evaluation) -> dict[str, Any] | None:
    if not (by := found.comparison):
        return None
    rivals = [check for check in found.checks if check.family == "champion"]
    shows = f"A true improvement of {figures.number(by.detectable)} would show in 8 of 10 cases on {by.days} {_blocks(found)}."
    text = f"{figures.number(by.difference, signed=True)} in {by.metric}, positive is better; {_bounds(found)}"
    text += f", corrected for {found.inputs.challengers} challengers on these rows. " if found.inputs.challengers > 1 else ". "
    return {"chart": chart.improvement(rivals, by, _bound(found)), "text": text + shows}


def _judged(found: Evaluation) -> dict[str, Any]:
    """All that the verdict rests on: rows of name and text, and hashes."""
    given = found.inputs
    hashes = [("challenger", found.challenger.sha256)]
    if found.champion:
        version = f", version {found.champion.version}" if found.champion.version else ""
        hashes.append((f"champion{version}", found.champion.sha256))
    hashes += [(batch.path, batch.sha256) for batch in given.batches]
    files, hidden = sections.fit(hashes, lambda pair: sections.weight(140, *pair), _ROOM["files"])
    return {"rows": [*_rule(found), *_evidence(found), *_settings(found)], "files": files, "hidden": hidden}


def _rule(found: Evaluation) -> Iterable[tuple[str, str]]:
    margin = found.inputs.policy.margin or 0
    if found.rule == "superior":
        yield "rule", "superior: the two-sided 95 % interval of the improvement lies above 0"
    else:
        yield "rule", f"non-inferior: the one-sided 95 % bound of the improvement lies above {-margin:g}, the margin"
        yield "superior as well", "yes" if found.superior else "no"
    yield "deciding metric", f"{found.metric}; {'more' if policy.METRICS[found.task][found.metric] else 'less'} is better"
    if found.risk:
        yield "risk level", found.risk
    yield from report.demands(found)


def _evidence(found: Evaluation) -> Iterable[tuple[str, str]]:
    given, by = found.inputs, found.comparison
    if by:
        yield "improvement", sections.ranged(by.difference, by.lower, by.upper, signed=True)
        yield "confidence", f"{_percent(by.confidence)} for each end of the interval"
        yield "standard error", f"{figures.number(by.se)}, over {by.days} {_blocks(found)}"
        yield "smallest detectable difference", f"{figures.number(by.detectable)} would show in 8 of 10 cases"
        yield "method", f"t over a jackknife of {_blocks(found)}"
    if found.holdout:
        start, end = map(figures.day, found.holdout)
        yield "hold-out", f"from {start}, before {end}; the released model is not trained anew on it"
    yield "rows", f"{given.rows:,}; {given.labelled:,} with a label, on {given.days} {_blocks(found)}"
    if given.independent_rows:
        yield "assumed, not checked", "rows of one day are no more alike than others"
    shared = "; the error is shared among them" if given.challengers > 1 else ""
    yield "models tried on this hold-out", f"{given.challengers}{shared}"


def _settings(found: Evaluation) -> Iterable[tuple[str, str]]:
    settings = found.inputs.policy
    by, fair, costs = settings.segments, settings.fairness, settings.costs
    if found.task == "binary":
        cost = f"a false positive costs {costs.false_positive:g}, a false negative {costs.false_negative:g}"
        yield "threshold", f"{settings.threshold:g}; beta {settings.beta:g}; {cost}"
    if by.columns:
        yield "segments", f"by {', '.join(by.columns)}; margin {by.margin:g}; at least {by.min_rows:,} rows"
    if fair.attributes:
        limits = f"ratio at least {fair.min_ratio:g}, gap at most {fair.max_gap:g}" if found.task == "binary" else "no limits"
        yield "fairness", f"by {', '.join(fair.attributes)}; {limits}; at least {fair.min_rows:,} rows"
