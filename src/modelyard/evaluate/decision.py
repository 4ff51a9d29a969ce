"""From metrics and the interval to a verdict with its reasons. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel

from modelyard.evaluate.paired import Comparison
from modelyard.policy import Bound, Evaluate

Verdict = Literal["promote", "keep", "block"]


class Criterion(BaseModel):
    """One bound of the policy, and what the challenger reached."""

    metric: str
    value: float | None
    min: float | None
    max: float | None
    met: bool

    @property
    def demand(self) -> str:
        """The bound in words."""
        bounds = {"at least": self.min, "at most": self.max}
        return " and ".join(f"{words} {bound:g}" for words, bound in bounds.items() if bound is not None)


def check(metrics: Mapping[str, float], criteria: Mapping[str, Bound]) -> list[Criterion]:
    """Hold the challenger's metrics against the bounds; a metric without a value misses its bound."""
    return [
        Criterion(metric=name, value=metrics.get(name), min=bound.min, max=bound.max, met=_within(metrics.get(name), bound))
        for name, bound in criteria.items()
    ]


def decide(
    policy: Evaluate,
    criteria: list[Criterion],
    obstacles: list[str],
    comparison: Comparison | None,
    *,
    same: bool,
) -> tuple[Verdict, list[str]]:
    """The verdict, and its reasons as sentences.

    - ``block``: a criterion is missed, or an obstacle makes the hold-out unfit to judge on;
    - ``promote`` where there is no champion yet;
    - ``keep`` where the challenger is the champion itself;
    - ``promote`` where the challenger is better, and the lower bound is not below minus the tolerance;
    - else ``keep``.

    Parameters
    ----------
    obstacles
        Why the hold-out cannot judge: too few days, one class only.
    comparison
        None where there is no champion, or an obstacle.
    same
        Both models are the same bytes.
    """
    missed = [_missed(c) for c in criteria if not c.met]
    if missed or obstacles:
        return "block", obstacles + missed
    if comparison is None:
        return "promote", ["There is no champion yet, and no criterion is missed."]
    if same:
        return "keep", ["The challenger is the champion itself: the same bytes."]
    name, difference, lower = policy.metric, comparison.difference, comparison.lower
    limit = f"the lower bound at {policy.confidence:.0%} is {lower:+.4f}, and {-policy.tolerance:+.4f} is allowed"
    seen = f"On {comparison.days} days an improvement of {comparison.detectable:.4f} would show in 8 of 10 cases."
    if difference <= 0:
        return "keep", [f"The challenger is not better: {name} improves by {difference:+.4f}.", seen]
    if lower < -policy.tolerance:
        return "keep", [f"The challenger is better by {difference:+.4f} in {name}, but not surely: {limit}.", seen]
    return "promote", [f"The challenger is better by {difference:+.4f} in {name}: {limit}.", seen]


def _within(value: float | None, bound: Bound) -> bool:
    return value is not None and (bound.min is None or value >= bound.min) and (bound.max is None or value <= bound.max)


def _missed(criterion: Criterion) -> str:
    reached = "has no value" if criterion.value is None else f"is {criterion.value:.4f}"
    return f"The challenger's {criterion.metric} {reached}; the policy demands {criterion.demand}."
