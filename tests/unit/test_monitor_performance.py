"""What labels say of the live model, and what scores say without them."""

from __future__ import annotations

import importlib
from datetime import datetime
from itertools import product
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.evaluate import metrics, statistic
from modelyard.monitor import performance
from modelyard.monitor.performance import Rows
from modelyard.monitor.report import Decay

BENCHMARK = Path(__file__).parents[2] / "benchmarks/monitor/decision"


def _time(days: int, each: int, first: str = "2013-03-01") -> np.ndarray:
    return np.repeat(np.datetime64(first, "s") + np.arange(days) * np.timedelta64(1, "D"), each) + np.tile(
        np.arange(each) * np.timedelta64(60, "s"), days
    )


def _rows(days: int = 28, each: int = 40, *, seed: int = 0, slope: float = 1.0) -> tuple[Rows, np.ndarray]:
    """Rows scored by their true probabilities, which differ by day; and the logits."""
    draw = np.random.default_rng(seed)
    logit = slope * draw.normal(size=days * each) + np.repeat(draw.normal(-1, 0.5, days), each)
    score = 1 / (1 + np.exp(-logit))
    return Rows(_time(days, each), (draw.uniform(size=len(score)) < score).astype(float), score), logit


def test_a_day_matures_with_its_usual_share_of_labels() -> None:
    """90 % of what is usual suffices; the rows without a label stay out."""
    time, label = _time(9, 10), np.zeros(90)
    label[[0, 10, 11, 20, 21, 22]] = np.nan  # 9, 8, 7 of ten on the first days

    known, reason = performance.matured(time, label, usual=0.9)

    assert not reason
    assert known[:30].reshape(3, 10).sum(axis=1).tolist() == [9, 0, 0]
    assert known[30:].all()


@pytest.mark.parametrize(
    ("labels", "usual", "reason"),
    [
        (0, 1.0, "labels of 0 days have matured, and 7 are needed"),
        (6, 1.0, "labels of 6 days have matured, and 7 are needed"),
        (28, 0.0, "the training data have no labels to compare with"),
        (7, 1.0, ""),
    ],
)
def test_too_few_matured_days_are_unknown(labels: int, usual: float, reason: str) -> None:
    """Never "ok" for want of labels."""
    time, label = _time(28, 5), np.full(140, np.nan)
    label[: labels * 5] = 1.0

    known, why = performance.matured(time, label, usual)

    assert why == reason
    assert known.sum() == (0 if reason else labels * 5)


def test_a_window_without_rows_is_unknown() -> None:
    """As one without labels."""
    known, reason = performance.matured(np.empty(0, dtype="datetime64[s]"), np.empty(0), 1.0)

    assert (len(known), reason) == (0, "labels of 0 days have matured, and 7 are needed")
    assert performance.level("roc_auc", Rows(np.empty(0, dtype="datetime64[s]"), np.empty(0), np.empty(0))) == (None, "no row has a label")


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "brier", "log_loss"])
def test_a_level_is_the_mean_of_weeks(name: str) -> None:
    """Cut backwards from the last day; what is left over at the beginning does not count."""
    rows, _ = _rows(days=30)

    found, reason = performance.level(name, rows)

    weeks = [rows.take((rows.day - rows.day[0] - 2) // 7 == k) for k in range(4)]
    values = [metrics.compute("binary", week.label, week.score)[name] for week in weeks]
    assert not reason
    assert found is not None
    assert [point.value for point in found.points] == pytest.approx(values)
    assert found.value == pytest.approx(np.mean(values))
    assert (found.rows, found.days) == (28 * 40, 28)
    assert (found.points[0].start, found.points[0].end) == (datetime(2013, 3, 3), datetime(2013, 3, 10))
    assert found.points[-1].end == datetime(2013, 3, 31)
    assert all(point.lower is not None and point.lower < point.value for point in found.points)
    assert found.lower is not None
    assert found.upper is not None
    assert found.upper - found.value == pytest.approx(found.value - found.lower)


def test_a_week_needs_four_days() -> None:
    """Closed weekends do not spoil it, though they leave its point without bounds; a nearly empty week does not count."""
    rows, _ = _rows(days=21)
    week, weekday = (rows.day - rows.day[0]) // 7, (rows.day - rows.day[0]) % 7
    some = rows.take(((week == 1) & (weekday < 3)) | ((week != 1) & ((weekday < 4) | (weekday == 6))))

    found, _ = performance.level("roc_auc", some)
    none, reason = performance.level("roc_auc", rows.take(weekday < 3))

    assert found is not None
    assert [point.start.day for point in found.points] == [1, 15]
    assert [point.lower for point in found.points] == [None, None]
    assert found.days == 10
    assert found.lower is not None
    assert (none, reason) == (None, "no 7 days hold 4 with labels")


def test_a_week_of_one_class_has_no_auc() -> None:
    """It is left out; where that leaves nothing, the level is unknown."""
    rows, _ = _rows(days=14)
    second = rows.day >= rows.day[0] + 7
    found, _ = performance.level("roc_auc", Rows(rows.time, np.where(second, 0.0, rows.label), rows.score))
    none, reason = performance.level("roc_auc", Rows(rows.time, np.zeros(len(rows)), rows.score))

    assert found is not None
    assert len(found.points) == 1
    assert (none, reason) == (None, "all labels are 0")


def test_the_level_at_release_stands_beside_it() -> None:
    """Three weeks of hold-out and four of window are compared as means of weeks."""
    window, release = (performance.level("brier", _rows(days=days, seed=days)[0])[0] for days in (28, 21))
    assert window is not None

    found = performance.judge("brier", False, window, release)

    assert release is not None
    assert (found.value, found.at_release) == (window.value, release.value)
    assert (len(found.points), len(found.release_points)) == (4, 3)
    assert performance.judge("brier", False, window, None).at_release is None


def test_the_bounds_cover() -> None:
    """Rows of a day share their luck; 95 % bounds hold the true error in 95 of 100 cases."""
    inside = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        label = (draw.uniform(size=420) < np.repeat(draw.uniform(0.1, 0.5, 21), 20)).astype(float)
        found, _ = performance.level("brier", Rows(_time(21, 20), label, np.zeros(420)))  # the share of labels 1: in truth 0.3
        assert found is not None
        assert found.lower is not None
        assert found.upper is not None
        inside += found.lower <= 0.3 <= found.upper
    assert 180 <= inside <= 199


def test_only_what_is_certain_is_decay() -> None:
    """yes: gain at the limit, and certainly above 0; no: certainly under the limit; else undetermined."""
    rows, logit = _rows(each=60)
    worse = 1 / (1 + np.exp(-(logit + np.random.default_rng(1).normal(0, 1.0, len(logit)))))
    spoilt = Rows(rows.time, rows.label, worse)

    by_limit = {limit: performance.decay("roc_auc", True, spoilt, rows.score, limit)[0] for limit in (0.01, 0.2, 0.5)}
    assert by_limit[0.01] is not None
    gain, upper = by_limit[0.01].gain, by_limit[0.01].upper
    between, _ = performance.decay("roc_auc", True, spoilt, rows.score, (gain + upper) / 2)

    assert [found.found for found in by_limit.values() if found] == ["yes", "no", "no"]
    assert between is not None
    assert between.found == "undetermined"
    assert gain == pytest.approx(by_limit[0.5].gain if by_limit[0.5] else None)


def test_a_gain_that_could_be_luck_is_undetermined() -> None:
    """Even over the limit."""
    rows, logit = _rows(days=8, each=10)
    other = logit + np.random.default_rng(3).normal(0, 1.5, len(logit))
    found, _ = performance.decay("roc_auc", True, Rows(rows.time, rows.label, 1 / (1 + np.exp(-other))), rows.score, 0.001)

    assert found is not None
    assert found.lower <= 0 < found.gain
    assert found.found == "undetermined"
    assert found.detectable > found.gain


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["roc_auc", "brier", "log_loss"]))
def test_swapping_the_models_mirrors_the_gain(seed: int, metric: str) -> None:
    """Whichever is called fresh."""
    rows, logit = _rows(days=9, each=12, seed=seed)
    other = 1 / (1 + np.exp(-(logit + np.random.default_rng(seed).normal(0, 1, len(logit)))))
    up = metric == "roc_auc"

    one, _ = performance.decay(metric, up, rows, other, 0.01)
    two, _ = performance.decay(metric, up, Rows(rows.time, rows.label, other), rows.score, 0.01)

    assert one is not None
    assert two is not None
    assert (one.gain, one.lower, one.upper) == pytest.approx((-two.gain, -two.upper, -two.lower))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["roc_auc", "average_precision", "brier", "log_loss"]))
def test_the_order_of_rows_does_not_matter(seed: int, metric: str) -> None:
    """Neither to the level, nor to decay, nor to the estimate."""
    rows, logit = _rows(days=15, each=8, seed=seed)
    shadow = 1 / (1 + np.exp(-0.5 * logit**3))
    mixed = np.random.default_rng(seed).permutation(len(rows))
    again = rows.take(mixed)

    def told(rows: Rows, shadow: np.ndarray) -> list[float | None]:
        level, gain = performance.level(metric, rows)[0], performance.decay(metric, True, rows, shadow, 0.01)[0]
        guess = performance.estimate(metric, rows.time, rows.score)
        assert level
        assert gain
        assert guess
        return [level.value, level.lower, level.upper, gain.gain, gain.lower, gain.upper, guess.value]

    assert told(again, shadow[mixed]) == pytest.approx(told(rows, shadow), nan_ok=True)


def test_gains_in_auc_are_of_rows_of_the_same_day() -> None:
    """A model that only knows which days are bad gains nothing by it; rightly ordered pairs are counted within days."""
    rows, _ = _rows(days=10, each=6, seed=4)
    days = rows.day - rows.day[0]
    knows = np.repeat([rows.label[days == d].mean() for d in range(10)], 6)

    found, _ = performance.decay("roc_auc", True, Rows(rows.time, rows.label, np.full(60, 0.5)), knows, 0.01)
    fresh, _ = performance.decay("roc_auc", True, Rows(rows.time, rows.label, np.full(60, 0.5)), rows.score, 0.01)

    right = pairs = 0.0
    for i, j in product(range(60), range(60)):
        if days[i] == days[j] and rows.label[i] > rows.label[j]:
            pairs += 1
            right += (rows.score[i] > rows.score[j]) + (rows.score[i] == rows.score[j]) / 2
    assert found is not None
    assert fresh is not None
    assert found.gain == pytest.approx(0, abs=1e-12)
    assert fresh.gain == pytest.approx(right / pairs - 0.5)
    assert statistic.SAME_DAY_AUC not in metrics._functions(metrics.DEFAULT)


def test_where_days_hold_no_pairs_all_rows_make_them() -> None:
    """One row a day: the gain is that of the metric itself."""
    rows, logit = _rows(days=40, each=1, seed=2)
    worse = 1 / (1 + np.exp(logit))

    found, _ = performance.decay("roc_auc", True, Rows(rows.time, rows.label, worse), rows.score, 0.01)

    values = [metrics.compute("binary", rows.label, score)["roc_auc"] for score in (rows.score, worse)]
    assert found is not None
    assert found.gain == pytest.approx(values[0] - values[1])


def test_what_cannot_be_compared_has_a_reason() -> None:
    """Too few days, one class, no rows."""
    rows, _ = _rows(days=6)
    one = Rows(_time(9, 3), np.zeros(27), np.full(27, 0.5))
    none = rows.take(np.zeros(len(rows), dtype=bool))

    assert performance.decay("roc_auc", True, rows, rows.score, 0.01) == (None, "labels of 6 days have matured since, and 7 are needed")
    assert performance.decay("roc_auc", True, one, one.score, 0.01) == (None, "all labels are 0")
    assert performance.decay("mae", False, none, none.score, 0.01)[0] is None


def test_the_latest_rows_speak_only_where_they_say_yes() -> None:
    """A model of two weeks loses as a rule: that says nothing."""

    def answer(found: str) -> Decay:
        return Decay(found=found, gain=0.1, lower=0.05, upper=0.2, limit=0.01, days=14, rows=9, detectable=0.1)  # type: ignore[arg-type]

    yes, no, unclear = (answer(found) for found in ("yes", "no", "undetermined"))

    assert performance.strongest(no, yes) is yes
    assert performance.strongest(None, yes) is yes
    assert performance.strongest(unclear, no) is unclear
    assert performance.strongest(None, no) is None
    assert performance.strongest(None, None) is None


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "brier", "log_loss"])
def test_the_estimate_is_what_labels_say_later(name: str) -> None:
    """Scores that are the true probabilities, ties among them: the estimate meets the labels within their own noise."""
    draw = np.random.default_rng(5)
    score = np.round(1 / (1 + np.exp(-draw.normal(-1, 1.2, 28 * 500))), 2)
    rows = Rows(_time(28, 500), (draw.uniform(size=len(score)) < score).astype(float), score)

    found = performance.estimate(name, rows.time, rows.score, realised=0.5)
    later, _ = performance.level(name, rows)

    assert found is not None
    assert later is not None
    assert later.lower is not None
    assert later.upper is not None
    assert later.lower < found.value < later.upper
    assert found.value == pytest.approx(later.value, abs=0.015)
    assert "calibrated" in found.assumes
    assert found.realised == 0.5


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "brier", "log_loss"])
def test_the_estimate_is_the_mean_over_all_labels(name: str) -> None:
    """Of a few hundred rows, drawn often; ratios of means differ from means of ratios only by the square of the noise."""
    draw = np.random.default_rng(0)
    score = np.round(draw.uniform(0.05, 0.9, 300), 1)
    values = []
    for _ in range(300):
        label = (draw.uniform(size=300) < score).astype(float)
        values.append(metrics.compute("binary", label, score)[name])

    found = performance.estimate(name, _time(10, 30), score)
    one_week = performance.estimate(name, np.repeat(np.datetime64("2013-03-01", "s"), 300), score)

    assert found is not None
    assert one_week is not None
    assert one_week.value == pytest.approx(np.mean(values), abs=4 * np.std(values) / np.sqrt(300) + 2e-3)


def test_scores_alone_say_nothing_of_an_error() -> None:
    """No estimate for a value, for nothing, or for scores that know all."""
    time = _time(10, 3)

    assert performance.estimate("mae", time, np.ones(30)) is None
    assert performance.estimate("roc_auc", time[:0], np.empty(0)) is None
    assert performance.estimate("roc_auc", time, np.ones(30)) is None


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the benchmark's flights and recipe."""
    monkeypatch.syspath_prepend(str(BENCHMARK))
    return importlib.import_module("stream")


def test_the_estimate_cannot_see_a_change_of_concept(stream: ModuleType) -> None:
    """Flights: a model of January to March promises more for April to December than the labels keep, so it never decides."""
    flights = stream.make(np.arange(52 * 7))
    planted = stream.plant(flights, 30, 1.0)
    model, inside, late = (0, 13), flights.rows(13, 52), flights.rows(30, 34)
    time = np.datetime64("2013-01-01", "s") + flights.day * np.timedelta64(86400, "s")
    score = flights.scores(model, 13, 52)
    changed = Rows(time[late], planted.label[late], flights.scores(model, 30, 34))

    found, realised = performance.estimate("roc_auc", time[inside], score), _level(Rows(time[inside], flights.label[inside], score))
    blind, fallen = performance.estimate("roc_auc", changed.time, changed.score), _level(changed)

    assert found is not None
    assert blind is not None
    assert found.value > realised + 0.01
    assert blind.value > fallen + 0.1


def _level(rows: Rows) -> float:
    found, _ = performance.level("roc_auc", rows)
    assert found is not None
    return found.value
