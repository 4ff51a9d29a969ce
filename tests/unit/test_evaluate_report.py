"""The summary of an evaluation: golden files for each verdict, and what names may not do to it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from modelyard.evaluate import report
from modelyard.evaluate.check import Check
from modelyard.evaluate.paired import Comparison
from modelyard.evaluate.report import Challenger, Champion, Evaluation, Inputs, Range
from modelyard.policy import Evaluate
from modelyard.risk import Risk

GOLDEN = Path(__file__).parent / "golden/evaluate"
NEW = {"roc_auc": 0.7032, "brier": 0.1391}
OLD = {"roc_auc": 0.6961, "brier": 0.1402}
CRITERION = Check(
    family="criteria", name="roc_auc", status="passed", message="The challenger's roc_auc is 0.7032.", value=0.7032, limit="at least 0.6"
)
SEGMENTS = Check(family="segments", name="all", status="passed", message="14 of 18 segments judged, none is certainly worse.")


def against(status: str, difference: float, lower: float, upper: float, told: str) -> tuple[Check, Comparison]:
    message = f"Against the champion roc_auc changes by {difference:+.4f}: {told}."
    check = Check(family="champion", name="champion", status=status, message=message, value=difference, lower=lower, upper=upper)  # type: ignore[arg-type]
    found = Comparison(
        metric="roc_auc",
        difference=difference,
        lower=lower,
        upper=upper,
        se=0.004,
        detectable=0.011,
        confidence=0.975,
        days=21,
        rows=18_000,
        p=0.5,
    )
    return check, found


def evaluation(verdict: str, reasons: list[str], checks: list[Check], comparison: Comparison | None, **changed: object) -> Evaluation:
    content = {
        "verdict": verdict,
        "reasons": reasons,
        "task": "binary",
        "metric": "roc_auc",
        "rule": "superior",
        "superior": verdict == "promote",
        "risk": "moderate",
        "demand": Risk().demands["moderate"],
        "challenger": Challenger(sha256="a" * 64, metrics=NEW, ranges={"roc_auc": Range(value=0.7032, lower=0.681, upper=0.7254)}),
        "champion": Champion(sha256="b" * 64, version="7", metrics=OLD),
        "comparison": comparison,
        "checks": checks,
        "holdout": (datetime(2013, 6, 10), datetime(2013, 7, 1)),
        "inputs": Inputs(policy=Evaluate(metric="roc_auc"), batches=[], rows=18_400, labelled=18_000, days=21, challengers=1),
    }
    return Evaluation(**{**content, **changed})  # type: ignore[arg-type]


def promote() -> Evaluation:
    check, found = against("passed", 0.0171, 0.0062, 0.028, "superior")
    return evaluation("promote", [check.message], [check, CRITERION, SEGMENTS], found)


def keep() -> Evaluation:
    check, found = against("inconclusive", 0.0071, -0.0012, 0.0154, "not shown to be better")
    return evaluation("keep", [check.message], [check, CRITERION, SEGMENTS], found)


def block() -> Evaluation:
    check, found = against("passed", 0.0171, 0.0062, 0.028, "superior")
    failed = Check(
        family="segments", name="carrier = EV", status="failed", message="Where carrier = EV, roc_auc is worse by 0.0412.", value=-0.0412
    )
    return evaluation("block", [failed.message, check.message], [check, CRITERION, failed], found)


def first() -> Evaluation:
    check, found = against("passed", 0.2032, 0.181, 0.2254, "superior")
    check = check.model_copy(update={"name": "baseline"})
    return evaluation(
        "promote", [check.message], [check, CRITERION], found, champion=None, inputs=block().inputs.model_copy(update={"challengers": 3})
    )


SHOP = Check(family="fairness", name="shop: ratio", status="failed", message="The ratio of shop is 0.61.", value=0.61)
GAP = Check(family="fairness", name="shop: gap", status="inconclusive", message="The gap of shop is 0.08 (0.02 to 0.14).", value=0.08)


def undemanded() -> Evaluation:
    """Fairness failed, and segments could not be decided; moderate demands only the latter, and lets it pass."""
    check, found = against("passed", 0.0171, 0.0062, 0.028, "superior")
    unsure = SEGMENTS.model_copy(update={"status": "inconclusive", "message": "Too few days to tell."})
    return evaluation(
        "promote", [check.message, "Not demanded at this risk level, but failed: fairness shop: ratio."], [check, SHOP, GAP, unsure], found
    )


def undecided() -> Evaluation:
    """At high risk what could not be decided blocks."""
    check, found = against("passed", 0.0171, 0.0062, 0.028, "superior")
    return evaluation("block", [GAP.message, check.message], [check, CRITERION, GAP], found, risk="high", demand=Risk().demands["high"])


ALL = (promote, keep, block, first, undemanded, undecided)


@pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)
def test_the_summary_is_as_it_was(make: object) -> None:
    """Each verdict's summary is its golden file; ``python -m unit.test_evaluate_report`` in tests/ writes them anew."""
    assert report.summary(make()) + "\n" == (GOLDEN / f"{make.__name__}.md").read_text(encoding="utf-8")  # type: ignore[operator,attr-defined]


def test_what_the_level_does_not_demand_comes_after_what_blocks() -> None:
    """However many of the former there are: the twelve that stand open begin with those that made the verdict."""
    many = [SHOP.model_copy(update={"name": f"shop {i}: ratio"}) for i in range(20)]
    failed = block().checks[-1]

    lines = report.summary(evaluation("block", [failed.message], [*many, failed], None)).split("<details>")[0].splitlines()

    rows = [line.split(" | ")[1:3] for line in lines if line.startswith(("| fairness", "| segments"))]
    assert len(rows) == 12
    assert ["carrier = EV", "✗ **failed**"] in rows
    assert ["shop 0: ratio", "✗ failed, not demanded at moderate"] in rows


def test_names_cannot_break_the_table() -> None:
    """A segment may be called anything."""
    hostile = Check(family="segments", name="shop = a|b\n# c", status="failed", message="Where shop = a|b\n# c, it is worse.")

    lines = report.summary(evaluation("block", [hostile.message], [hostile], None)).splitlines()

    rows = [line for line in lines if "shop" in line and line.startswith("|")]
    assert rows == ["| segments | shop = a\\|b # c | ✗ **failed** | Where shop = a\\|b # c, it is worse. |"] * 2
    assert not [line for line in lines if line.startswith("# ")]


if __name__ == "__main__":
    for each in ALL:
        (GOLDEN / f"{each.__name__}.md").write_text(report.summary(each()) + "\n", encoding="utf-8")
