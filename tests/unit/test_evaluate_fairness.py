"""Fairness: values as fairlearn gives them, intervals, verdicts, and what cannot be judged."""

from __future__ import annotations

import numpy as np
import pytest
from fairlearn.metrics import demographic_parity_ratio, equal_opportunity_difference, false_positive_rate_difference
from scipy.stats import ttest_rel

from modelyard.evaluate import between, fairness
from modelyard.evaluate.check import Check
from modelyard.evaluate.gate import Rows
from modelyard.policy import Fairness


class World:
    """20 days of rows of two groups, with the chance of being selected by label and group."""

    def __init__(
        self, *, a: tuple[float, float] = (0.2, 0.7), b: tuple[float, float] = (0.2, 0.7), days: int = 20, each: int = 200
    ) -> None:
        draw = np.random.default_rng(0)
        n = days * each
        self.day = np.repeat(np.arange(days), each)
        self.group = draw.choice(["a", "b"], n)
        self.label = (draw.uniform(size=n) < 0.4).astype(float)
        chance = np.where(self.group == "a", np.where(self.label == 1, a[1], a[0]), np.where(self.label == 1, b[1], b[0]))
        self.score = np.where(draw.uniform(size=n) < chance, 0.8, 0.2)

    def judge(
        self, *, task: str = "binary", attributes: tuple[str, ...] = ("sex",), threshold: float = 0.5, **limits: float
    ) -> fairness.Fairness:
        policy = Fairness(attributes=list(attributes), **limits)  # type: ignore[arg-type]
        return fairness.judge(task, {"sex": self.group}, Rows(self.day, self.label), self.score, policy, threshold)  # type: ignore[arg-type]


def _by_name(found: fairness.Fairness) -> dict[str, Check]:
    return {check.name.removeprefix("sex: "): check for check in found.checks}


def _statuses(found: fairness.Fairness) -> dict[str, str]:
    return {name: check.status for name, check in _by_name(found).items()}


RATIO, TRUE, FALSE = "ratio of selection rates", "gap of true positive rates", "gap of false positive rates"


def test_alike_groups_pass() -> None:
    """All three checks, each with its interval around the value."""
    found = World().judge()

    assert _statuses(found) == {RATIO: "passed", TRUE: "passed", FALSE: "passed"}
    for check in found.checks:
        assert check.family == "fairness"
        assert (check.lower or 0) <= (check.value or 0) <= (check.upper or 0)


def test_values_are_fairlearn_s() -> None:
    """Ratio, gaps, and the rates of each group."""
    world = World(a=(0.1, 0.5), b=(0.3, 0.8))
    found = world.judge()
    called = (world.score >= 0.5).astype(int)
    arguments = {"y_true": world.label, "y_pred": called, "sensitive_features": world.group}
    values = {name: check.value for name, check in _by_name(found).items()}

    assert values[RATIO] == pytest.approx(demographic_parity_ratio(**arguments))
    assert values[TRUE] == pytest.approx(equal_opportunity_difference(**arguments))
    assert values[FALSE] == pytest.approx(false_positive_rate_difference(**arguments))
    for group in found.attributes[0].groups:
        rows = world.group == group.value
        assert group.selection_rate == pytest.approx(called[rows].mean())
        assert group.true_positive_rate == pytest.approx(called[rows & (world.label == 1)].mean())
        assert group.false_positive_rate == pytest.approx(called[rows & (world.label == 0)].mean())
        assert group.mean_error == pytest.approx((world.score - world.label)[rows].mean())


def test_a_limit_that_the_whole_interval_crosses_fails_and_one_that_it_straddles_is_inconclusive() -> None:
    """The same data under three limits."""
    world = World(a=(0.1, 0.5), b=(0.3, 0.8))
    checks = _by_name(world.judge())

    assert set(_statuses(world.judge()).values()) == {"failed"}
    inside = {"min_ratio": checks[RATIO].value or 0, "max_gap": checks[TRUE].value or 0}
    assert {name: _statuses(world.judge(**inside))[name] for name in (RATIO, TRUE)} == {RATIO: "inconclusive", TRUE: "inconclusive"}
    assert set(_statuses(world.judge(min_ratio=0.3, max_gap=0.5)).values()) == {"passed"}


def test_the_message_says_groups_value_interval_and_limit() -> None:
    """Short, with the numbers."""
    message = _by_name(World(a=(0.1, 0.5), b=(0.3, 0.8)).judge())[RATIO].message

    assert message.startswith("By sex: a is selected 0.5")
    assert " times as often as b (95 %: 0." in message.replace("95%", "95 %")
    assert message.endswith("; at least 0.8 is asked.")


def test_a_group_that_is_never_selected_fails_where_that_is_certain() -> None:
    """The ratio is 0, which has no logarithm: its upper end comes from the number of days without any selection."""
    check = _by_name(World(a=(0.0, 0.0), b=(0.5, 0.9)).judge())[RATIO]

    assert (check.status, check.value, check.lower) == ("failed", 0.0, 0.0)
    assert check.upper == pytest.approx((1 - 0.025 ** (1 / 20)) / 0.66, rel=0.05)
    assert _statuses(World(a=(0.0, 0.0), b=(0.05, 0.3)).judge())[RATIO] == "inconclusive"


def test_a_selection_on_a_single_day_is_inconclusive() -> None:
    """Days drawn without it leave the ratio undefined; the interval is all there is."""
    world = World(a=(0.0, 0.0), b=(0.5, 0.9))
    world.score[np.flatnonzero(world.group == "a")[0]] = 0.8
    check = _by_name(world.judge())[RATIO]

    assert (check.status, check.lower, check.upper) == ("inconclusive", 0.0, 1.0)


def test_nobody_selected_is_unknown() -> None:
    """There is no ratio; the gaps are 0 and pass."""
    found = World().judge(threshold=0.9)

    assert _statuses(found) == {RATIO: "unknown", TRUE: "passed", FALSE: "passed"}
    assert "no row has a score of 0.9 or more" in found.checks[0].message


def test_everybody_selected_passes() -> None:
    """The ratio is 1, without any error."""
    found = World().judge(threshold=0.1)

    assert [(check.status, check.value, check.lower, check.upper) for check in found.checks] == [
        ("passed", 1.0, 1.0, 1.0),
        ("passed", 0.0, 0.0, 0.0),
        ("passed", 0.0, 0.0, 0.0),
    ]


def test_no_attribute_is_noted() -> None:
    """The card repeats the sentence."""
    (check,) = World().judge(attributes=()).checks

    assert (check.status, check.message[:42]) == ("noted", "The policy names no protected attribute: w")


def test_an_attribute_that_is_not_there_is_unknown() -> None:
    """And the other one is judged."""
    found = World().judge(attributes=("age", "sex"))

    assert (found.checks[0].name, found.checks[0].status) == ("age", "unknown")
    assert "no column 'age'" in found.checks[0].message
    assert _statuses(found)[RATIO] == "passed"


def test_groups_with_too_little_are_listed_and_left_out() -> None:
    """Too few rows or days: without rates, and the others are compared without them."""
    world = World(each=400)
    world.group = world.group.astype(object)
    world.group[:100] = "tiny"
    world.group[world.day == 5] = "one day"
    world.group[world.day == 7] = None
    world.score[world.group == "tiny"] = 0.2
    found = world.judge()
    few = {group.value: group.few for group in found.attributes[0].groups if group.few}

    assert few == {"tiny": "fewer than 200 rows", "one day": "fewer than 10 days", "(missing)": "fewer than 10 days"}
    assert all(group.selection_rate is None for group in found.attributes[0].groups if group.few)
    assert set(_statuses(found).values()) == {"passed"}


def test_missing_values_are_a_group() -> None:
    """Rows of unknown sex that are treated otherwise fail like any others."""
    world = World(a=(0.1, 0.3), b=(0.3, 0.8))
    world.group = np.where(world.group == "a", None, world.group.astype(object))

    assert _statuses(world.judge())[RATIO] == "failed"
    assert "(missing) is selected" in world.judge().checks[0].message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"group": "a"}, "of 1 groups 1 have 200 rows"),
        ({"label": np.nan}, "4,000 of 4,000 labels are missing"),
        ({"score": np.nan}, "predicts no number"),
    ],
)
def test_what_cannot_be_judged_is_unknown(change: dict[str, object], reason: str) -> None:
    """One group only, labels or predictions missing: said, and never passed."""
    world = World()
    for name, value in change.items():
        setattr(world, name, np.full(len(world.day), value))
    found = world.judge()

    assert {check.status for check in found.checks} == {"unknown"}
    assert reason in found.checks[0].message


def test_a_tiny_period_and_no_rows_are_unknown() -> None:
    """Six days have too few days for any group; no rows have nothing."""
    assert {check.status for check in World(days=6).judge().checks} == {"unknown"}
    assert "no row has a label" in World(days=0).judge().checks[0].message


@pytest.mark.parametrize(("only", "lost", "kept"), [(0.0, TRUE, FALSE), (1.0, FALSE, TRUE)])
def test_one_class_leaves_one_rate_unknown(only: float, lost: str, kept: str) -> None:
    """Without positives there is no rate of true positives, and so on; the ratio does not need labels of both kinds."""
    world = World(a=(0.3, 0.3), b=(0.3, 0.3))
    world.label[:] = only
    found = world.judge()

    assert _statuses(found) == {RATIO: "passed", lost: "unknown", kept: "passed"}
    rates = {(group.true_positive_rate is None, group.false_positive_rate is None) for group in found.attributes[0].groups}
    assert rates == {(only == 0, only == 1)}


def test_too_many_groups_are_refused() -> None:
    """A column of identifiers is no protected attribute."""
    world = World(each=1000)
    world.group = np.array([f"id{n % 60}" for n in range(len(world.day))])

    found = world.judge()

    assert "of 60 groups 60 have 200 rows on 10 days; it takes 2 to 50" in found.checks[0].message
    assert (len(found.attributes[0].groups), found.attributes[0].groups_total) == (50, 60)


def test_regression_notes_the_gap_of_mean_errors() -> None:
    """Never a verdict: no limit is set for it."""
    world = World()
    world.label = np.random.default_rng(1).normal(10, 1, len(world.day))
    world.score = world.label + np.where(world.group == "a", 0.5, -0.5)
    found = world.judge(task="regression")

    (check,) = found.checks
    assert (check.status, check.value) == ("noted", pytest.approx(1.0))
    assert "of a is 1 above that of b" in check.message
    assert {group.value: group.mean_error for group in found.attributes[0].groups} == pytest.approx({"a": 0.5, "b": -0.5})
    assert {group.selection_rate for group in found.attributes[0].groups} == {None}


def test_the_order_of_rows_does_not_matter() -> None:
    """Shuffled rows give the same checks."""
    one, two = World(a=(0.1, 0.5)), World(a=(0.1, 0.5))
    order = np.random.default_rng(3).permutation(len(two.day))
    two.day, two.group, two.label, two.score = (a[order] for a in (two.day, two.group, two.label, two.score))

    for first, second in zip(one.judge().checks, two.judge().checks, strict=True):
        assert (first.name, first.status) == (second.name, second.status)
        assert [first.value, first.lower, first.upper] == pytest.approx([second.value, second.lower, second.upper])


def test_the_interval_of_two_groups_is_that_of_a_paired_comparison() -> None:
    """Two groups whose rows are alike on each day: the gap of means is a mean of differences, with the t interval of scipy."""
    first, second = np.random.default_rng(2).uniform(0.1, 0.5, (2, 12)) + np.array([[0.4], [0.0]])

    lower, upper = between.widest(np.column_stack([first, second]), np.ones((12, 2)), 0.975)

    assert (lower, upper) == pytest.approx(tuple(ttest_rel(first, second).confidence_interval(0.95)))


@pytest.mark.parametrize(("groups", "log"), [(2, False), (8, False), (8, True)])
def test_groups_that_are_alike_are_rarely_told_apart(groups: int, log: bool) -> None:
    """The lowest and highest of 8 equal groups are picked on the data, and still 0 is covered; Binomial(100, .05) > 12: p = .001."""
    draw, wrong = np.random.default_rng(4), 0
    for _ in range(100):
        rows = draw.poisson(30, (21, groups)) + 1.0
        chance = np.clip(0.3 * np.exp(draw.normal(0, 0.3, (21, 1)) + draw.normal(0, 0.2, (21, groups))), 0, 0.95)
        lower, upper = between.widest(draw.binomial(rows.astype(int), chance).astype(float), rows, 0.975, log=log)
        assert lower <= upper
        wrong += lower > 0

    assert wrong <= 12
