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
        replicates=2000,
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


@pytest.mark.parametrize("make", [promote, keep, block, first], ids=lambda make: make.__name__)
def test_the_summary_is_as_it_was(make: object) -> None:
    """Each verdict's summary is its golden file; ``python -m unit.test_evaluate_report`` in tests/ writes them anew."""
    assert report.summary(make()) + "\n" == (GOLDEN / f"{make.__name__}.md").read_text(encoding="utf-8")  # type: ignore[operator,attr-defined]


def test_names_cannot_break_the_table() -> None:
    """A segment may be called anything."""
    hostile = Check(family="segments", name="shop = a|b\n# c", status="failed", message="Where shop = a|b\n# c, it is worse.")

    lines = report.summary(evaluation("block", [hostile.message], [hostile], None)).splitlines()

    rows = [line for line in lines if "shop" in line and line.startswith("|")]
    assert rows == ["| segments | shop = a\\|b # c | ✗ **failed** | Where shop = a\\|b # c, it is worse. |"] * 2
    assert not [line for line in lines if line.startswith("# ")]


if __name__ == "__main__":
    for each in (promote, keep, block, first):
        (GOLDEN / f"{each.__name__}.md").write_text(report.summary(each()) + "\n", encoding="utf-8")
