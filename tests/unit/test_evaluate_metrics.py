"""Metrics of the policy: against scikit-learn, by hand, and over days drawn with repetition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, fbeta_score, mean_pinball_loss

from modelyard.errors import PolicyError
from modelyard.evaluate import metrics, paired, statistic
from modelyard.policy import METRICS, Costs, Evaluate

GIVEN = metrics.Settings(threshold=0.4, beta=2.0, costs=Costs(false_positive=3, false_negative=7), quantile=0.9)
NEW = [("binary", "calibration_error"), ("binary", "f_beta"), ("binary", "cost"), ("regression", "pinball"), ("regression", "bias")]


def _rows(task: str, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Day, label and a score of eight days with 30 rows each, with ties at two decimals."""
    draw = np.random.default_rng(seed)
    day = np.repeat(np.arange(8), 30)
    if task == "multiclass":
        table = draw.dirichlet([1, 1, 1], len(day))
        return day, np.array([draw.choice(3, p=row) for row in table], dtype=float), table
    score = np.round(draw.uniform(0.02, 0.98, len(day)) ** 2, 2)
    if task == "binary":
        return day, (draw.uniform(size=len(day)) < score).astype(float), score
    return day, score + draw.normal(size=len(day)) + day, score


def _plain(name: str, label: np.ndarray, score: np.ndarray) -> float:
    """The metric without the module's own code."""
    called = score >= GIVEN.threshold
    if name == "calibration_error":
        at = metrics.bins(score)
        return float(sum((at == b).mean() * abs(label[at == b].mean() - score[at == b].mean()) for b in np.unique(at)))
    if name == "f_beta":
        return float(fbeta_score(label, called, beta=GIVEN.beta))
    if name == "cost":
        _, false_positives, false_negatives, _ = confusion_matrix(label, called, labels=[0, 1]).ravel()
        return float(3 * false_positives + 7 * false_negatives) / len(label)
    return float(mean_pinball_loss(label, score, alpha=0.9)) if name == "pinball" else abs(float((score - label).mean()))


@pytest.mark.parametrize(("task", "name"), NEW)
def test_a_metric_with_settings_is_what_its_formula_says(task: str, name: str) -> None:
    """Threshold, beta, costs and quantile other than the default, for the value and for a day left out."""
    day, label, score = _rows(task)

    found = statistic.of(name, day, label, score, GIVEN)

    assert found.value == pytest.approx(_plain(name, label, score), abs=1e-12)
    if name != "calibration_error":  # whose bins stay those of all rows
        assert found.without[3] == pytest.approx(_plain(name, label[day != 3], score[day != 3]), abs=1e-12)


@pytest.mark.parametrize(("task", "name"), [(task, name) for task, names in METRICS.items() for name in names])
def test_a_value_without_days_is_scikit_learn_s(task: str, name: str) -> None:
    """The quick way that segments take gives what `compute` gives."""
    _, label, score = _rows(task)

    assert statistic.value(name, label, score, GIVEN) == pytest.approx(metrics.compute(task, label, score, GIVEN)[name], abs=1e-12)  # type: ignore[arg-type]


def test_the_calibration_error_of_bins_of_equal_size_is_that_of_scikit_learn() -> None:
    """1,000 distinct scores make ten bins of 100: the mean distance from scikit-learn's calibration curve."""
    draw = np.random.default_rng(2)
    score = draw.permutation(np.linspace(0.001, 0.999, 1000))
    label = (draw.uniform(size=1000) < score**2).astype(float)
    observed, predicted = calibration_curve(label, score, n_bins=10, strategy="quantile")

    found = metrics.compute("binary", label, score)["calibration_error"]

    assert found == pytest.approx(np.abs(observed - predicted).mean())
    assert np.bincount(metrics.bins(score)).tolist() == [100] * 10


def test_calibration_error_by_hand() -> None:
    """Two scores make two bins: 0.2 with one of four right, 0.6 with all four."""
    score = np.array([0.2] * 4 + [0.6] * 4)
    label = np.array([1.0, 0, 0, 0, 1, 1, 1, 1])

    assert metrics.compute("binary", label, score)["calibration_error"] == pytest.approx(0.5 * 0.05 + 0.5 * 0.4)


def test_a_constant_score_is_one_bin() -> None:
    """The error is then that of the mean."""
    label = np.array([1.0, 0, 0, 0])

    assert metrics.compute("binary", label, np.full(4, 0.5))["calibration_error"] == pytest.approx(0.25)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=60), st.randoms())
def test_the_order_of_rows_does_not_matter(rows: list[tuple[bool, int]], random: object) -> None:
    """For any labels and any ties, every metric of shuffled rows is the metric."""
    label, score = np.array([float(y) for y, _ in rows]), np.array([s / 20 for _, s in rows])
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]

    one, two = metrics.compute("binary", label, score, GIVEN), metrics.compute("binary", label[order], score[order], GIVEN)

    assert one == pytest.approx(two)
    assert 0 <= one["calibration_error"] <= 1


def test_the_defaults_are_the_policy_s() -> None:
    """Callers without settings judge as a policy does that says nothing."""
    assert metrics.settings(Evaluate(metric="cost")) == metrics.DEFAULT
    given_ = metrics.settings(Evaluate(metric="cost", threshold=0.3, beta=2, costs=Costs(false_negative=5)))
    assert (given_.threshold, given_.beta, given_.costs.false_negative) == (0.3, 2, 5)


def test_pinball_at_one_half_is_half_the_absolute_error() -> None:
    """No key of the policy sets another quantile."""
    _, label, score = _rows("regression")
    found = metrics.compute("regression", label, score)

    assert found["pinball"] == pytest.approx(found["mae"] / 2)


def test_bias_has_no_sign_and_the_mean_error_has() -> None:
    """A model that says 2 too little is as biased as one that says 2 too much."""
    label = np.array([1.0, 2, 3])

    assert metrics.compute("regression", label, label - 2)["bias"] == metrics.compute("regression", label, label + 2)["bias"] == 2
    assert (metrics.mean_error(label, label - 2), metrics.mean_error(label, label + 2)) == (-2, 2)


@pytest.mark.parametrize(
    ("label", "left_out"),
    [
        ([0.0, 0, 0], {"roc_auc", "average_precision", "f_beta"}),
        ([1.0, 1, 1], {"roc_auc", "average_precision"}),
        ([], set(METRICS["binary"])),
        ([0.0, np.nan, 1], set(METRICS["binary"])),
    ],
)
def test_a_metric_without_a_value_is_left_out(label: list[float], left_out: set[str]) -> None:
    """One class, no row, missing labels."""
    found = metrics.compute("binary", np.array(label), np.full(len(label), 0.5))

    assert set(METRICS["binary"]) - set(found) == left_out
    assert all(np.isfinite(value) for value in found.values())


def test_missing_labels_are_counted() -> None:
    """Said in words, not a traceback of scikit-learn's."""
    assert metrics.undefined("mae", np.array([1.0, np.nan])) == "1 of 2 labels are missing"


def test_an_unknown_metric_is_refused_with_the_known_ones() -> None:
    """It is never taken for another one."""
    with pytest.raises(PolicyError, match="'auc' is no metric of a binary task; known are roc_auc, "):
        metrics.known("binary", "auc")
    with pytest.raises(KeyError):
        statistic.of("auc", *_rows("binary"))


def test_settings_reach_the_comparison() -> None:
    """Costs of the policy decide which of two models is better: one calls all, the other none."""
    day, label, _ = _rows("binary")
    calls, spares = np.ones(len(day)), np.zeros(len(day))
    dear = metrics.Settings(costs=Costs(false_positive=100))

    assert paired.compare("cost", False, day, label, calls, spares, given=dear).difference < 0
    dear = metrics.Settings(costs=Costs(false_negative=100))
    assert paired.compare("cost", False, day, label, calls, spares, given=dear).difference > 0
    assert paired.interval("cost", day, label, spares, given=dear).value == pytest.approx(100 * label.mean())


def test_the_p_value_is_the_level_at_which_the_bound_reaches_zero() -> None:
    """The upper bound at confidence 1 - p is 0; swapping the models gives 1 - p."""
    day = np.repeat(np.arange(20), 5)
    draw = np.random.default_rng(4)
    label, error = np.zeros(100), 2 + draw.normal(0, 0.2, 100)
    worse = error + np.repeat(0.04 + draw.normal(0, 0.1, 20), 5)

    found = paired.compare("mae", False, day, label, worse, error)

    assert 0.001 < found.p < 0.2
    assert paired.compare("mae", False, day, label, error, worse).p == pytest.approx(1 - found.p)
    assert paired.compare("mae", False, day, label, worse, error, 1 - found.p).upper == pytest.approx(0, abs=1e-12)


def test_for_a_mean_over_days_of_equal_size_it_is_the_paired_t_test() -> None:
    """Of scipy: the same p-value and the same bounds."""
    draw = np.random.default_rng(5)
    first, second = draw.normal(0, 1, (2, 20))
    day, label = np.arange(20), np.zeros(20)

    found = paired.compare("bias", False, day, label, 10 + first, 10 + second, 0.975)

    test = ttest_rel(second, first, alternative="less")
    assert found.p == pytest.approx(test.pvalue)
    assert (found.lower, found.upper) == pytest.approx(tuple(ttest_rel(second, first).confidence_interval(0.95)))


def test_models_that_do_not_differ_are_not_worse() -> None:
    """The p-value is 1, also where each day says the same; where each day says "worse", it is 0."""
    day, label, score = _rows("regression")

    assert paired.compare("mae", False, day, label, score, score).p == 1
    assert paired.compare("mae", False, day, label, label + 2, label + 1).p == 0
    assert paired.compare("mae", False, day, label, label + 1, label + 2).p == 1


def test_a_row_of_weight_two_is_two_rows() -> None:
    """Weights and repetition give the same interval; a row of weight 0 is none."""
    day, label, score = _rows("binary")
    other, times = np.clip(score + 0.1, 0, 1) ** 1.5, np.random.default_rng(6).integers(0, 3, len(day))

    for name in ("roc_auc", "average_precision", "log_loss", "f_beta"):
        rows = [np.repeat(a, times) for a in (day, label, score, other)]
        one = paired.compare(name, True, day, label, score, other, weight=times.astype(float))
        two = paired.compare(name, True, *rows)
        assert (one.difference, one.lower) == pytest.approx((two.difference, two.lower)), name


@pytest.mark.parametrize("name", ["roc_auc", "average_precision"])
def test_labels_of_one_class_are_refused_in_words(name: str) -> None:
    """Not a traceback: without one of the days there is no value."""
    day, label, score = _rows("binary")

    with pytest.raises(ValueError, match="too few days hold both classes"):
        paired.compare(name, True, day, np.where(day == 0, label, 0.0), score, 1 - score)


@pytest.mark.parametrize("name", ["roc_auc", "average_precision"])
def test_rows_without_any_positive_are_refused_in_words(name: str) -> None:
    """Never an improvement that is not a number."""
    day, _, score = _rows("binary")

    with pytest.raises(ValueError, match="no value on these rows"):
        paired.compare(name, True, day, np.zeros(len(day)), score, 1 - score)
