"""Criteria and comparisons as checks, and the one verdict of all checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modelyard.evaluate import decision, gate
from modelyard.evaluate.check import Check, Status
from modelyard.evaluate.gate import Rows
from modelyard.evaluate.paired import Interval
from modelyard.policy import Bound, Evaluate
from modelyard.risk import FAMILIES, LEVELS, Demand, Family, Risk

ALL = Demand(checks=list(FAMILIES), inconclusive="pass", approvers=0)
STRICT = Demand(checks=list(FAMILIES), inconclusive="block", approvers=0)
SPAN = Interval(value=0.7, lower=0.66, upper=0.74, se=0.02, days=21, rows=900)


def check(family: Family, status: Status, message: str = "Said.") -> Check:
    return Check(family=family, name="one", status=status, message=message)


def rows(days: int = 30, each: int = 60) -> tuple[Rows, np.ndarray, np.ndarray]:
    """Labels with an effect of the day, the logits that made them, and noise."""
    draw = np.random.default_rng(5)
    day = np.repeat(np.arange(days), each)
    logit = draw.normal(size=len(day)) * 1.5
    label = (draw.uniform(size=len(day)) < 1 / (1 + np.exp(-logit - draw.normal(size=days)[day]))).astype(float)
    return Rows(day, label), 1 / (1 + np.exp(-logit)), draw.uniform(0.2, 0.8, len(day))


def settings(**more: Any) -> Evaluate:
    return Evaluate(**{"metric": "roc_auc", **more})


@pytest.mark.parametrize(
    ("bound", "status", "told"),
    [
        (Bound(min=0.65), "passed", "is 0.7000 (95 %: 0.6600 to 0.7400); the policy demands at least 0.65."),
        (Bound(min=0.71), "failed", "demands at least 0.71."),
        (Bound(min=0.67, of="bound"), "failed", "at least 0.67, at the worse end of its interval."),
        (Bound(min=0.65, of="bound"), "passed", ""),
        (Bound(min=0.6, max=0.69), "failed", "at least 0.6 and at most 0.69."),
    ],
)
def test_a_criterion_is_held_to_the_value_or_to_the_worse_end(bound: Bound, status: str, told: str) -> None:
    """As the policy says; the sentence names metric, value, interval and demand."""
    (found,) = gate.criteria("binary", {"roc_auc": 0.7}, {"roc_auc": SPAN}, {"roc_auc": bound})

    assert (found.status, found.value, found.lower) == (status, 0.7, 0.66)
    assert told in found.message


def test_the_worse_end_of_a_loss_is_the_upper_one() -> None:
    """More loss is worse."""
    span = Interval(value=0.2, lower=0.18, upper=0.22, se=0.01, days=21, rows=900)

    (found,) = gate.criteria("binary", {"brier": 0.2}, {"brier": span}, {"brier": Bound(max=0.21, of="bound")})

    assert found.status == "failed"


@pytest.mark.parametrize(("values", "spans", "bound"), [({}, {}, Bound(min=0.5)), ({"roc_auc": 0.9}, {}, Bound(min=0.5, of="bound"))])
def test_what_a_criterion_needs_and_is_missing_is_unknown(values: dict[str, float], spans: dict[str, Interval], bound: Bound) -> None:
    """A metric that is not defined, or an interval that there is none of: that blocks."""
    (found,) = gate.criteria("binary", values, spans, {"roc_auc": bound})

    assert found.status == "unknown"
    assert decision.decide([found, check("champion", "passed")], ALL)[0] == "block"


def test_superior_means_that_the_interval_lies_above_zero() -> None:
    """A clearly better one passes, the same scores do not, the worse one does not."""
    where, good, bad = rows()

    better = gate.against_champion("binary", settings(), where, good, bad)
    equal = gate.against_champion("binary", settings(), where, good, good)
    worse = gate.against_champion("binary", settings(), where, bad, good)

    assert (better.check.status, better.superior) == ("passed", True)
    assert "superior." in better.check.message
    assert (equal.check.status, equal.superior) == ("inconclusive", False)
    assert (worse.check.status, worse.superior) == ("inconclusive", False)
    assert better.comparison
    assert worse.comparison
    assert worse.comparison.upper == pytest.approx(-better.comparison.lower)


def test_non_inferior_means_not_worse_by_the_margin() -> None:
    """The same scores pass any margin, and are not called superior; much worse ones do not pass."""
    where, good, bad = rows()
    rule = settings(rule="non-inferior", margin=0.02)

    equal = gate.against_champion("binary", rule, where, good, good)
    worse = gate.against_champion("binary", rule, where, bad, good)

    assert (equal.check.status, equal.superior) == ("passed", False)
    assert "not inferior." in equal.check.message
    assert worse.check.status == "inconclusive"
    assert "certainly worse." in worse.check.message


def test_several_challengers_share_the_error() -> None:
    """The bound moves down with their number, and the sentence says so."""
    where, good, _ = rows()
    slightly = good + np.random.default_rng(0).normal(0, 0.05, len(good))

    one = gate.against_champion("binary", settings(), where, good, slightly)
    ten = gate.against_champion("binary", settings(), where, good, slightly, challengers=10)

    assert one.comparison
    assert ten.comparison
    assert ten.comparison.lower < one.comparison.lower
    assert "corrected for 10 challengers" in ten.check.message


def test_days_that_are_too_few_keep_the_champion_and_block_a_first_model() -> None:
    """Nine days show nothing of two models; without a champion nothing may be shown by less."""
    where, good, bad = rows(days=9)

    assert gate.against_champion("binary", settings(), where, good, bad).check.status == "inconclusive"
    assert gate.against_constant("binary", settings(), where, good, 0.5).check.status == "failed"


def test_labels_that_cannot_judge_are_unknown() -> None:
    """One class only: no ROC AUC, no verdict."""
    where, good, bad = rows()
    found = gate.against_champion("binary", settings(), Rows(where.day, np.ones(len(good))), good, bad)

    assert found.check.status == "unknown"
    assert "all labels are 1" in found.check.message


@pytest.mark.parametrize(
    ("champion", "other", "verdict"),
    [
        ("passed", "passed", "promote"),
        ("passed", "noted", "promote"),
        ("passed", "inconclusive", "promote"),
        ("passed", "failed", "block"),
        ("passed", "unknown", "block"),
        ("inconclusive", "passed", "keep"),
        ("inconclusive", "failed", "block"),
        ("unknown", "passed", "block"),
        ("failed", "passed", "block"),
    ],
)
@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "champion"])
def test_one_verdict_of_all_checks(champion: Status, other: Status, verdict: str, family: Family) -> None:
    """Wrong or missing blocks, whatever the family; not shown keeps; only all in order promotes."""
    found, reasons = decision.decide([check("champion", champion, "Compared."), check(family, other)], ALL)

    assert (found, bool(reasons)) == (verdict, True)


def test_at_high_risk_what_could_not_be_decided_blocks() -> None:
    """Else it passes."""
    checks = [check("champion", "passed"), check("fairness", "inconclusive", "Perhaps.")]

    assert decision.decide(checks, STRICT) == ("block", ["Perhaps.", "Said."])


def test_a_family_that_is_not_demanded_is_only_told() -> None:
    """At low risk an unfair model passes, and the reasons name it."""
    verdict, reasons = decision.decide([check("champion", "passed"), check("fairness", "failed")], Risk(impact="negligible").demand)

    assert verdict == "promote"
    assert reasons[-1] == "Not demanded at this risk level, but failed: fairness one."


@pytest.mark.parametrize("level", LEVELS)
def test_without_a_comparison_nothing_is_promoted(level: Any) -> None:
    """At no level, and however many criteria are met."""
    assert decision.decide([check("criteria", "passed")], Risk().demands[level])[0] == "block"
