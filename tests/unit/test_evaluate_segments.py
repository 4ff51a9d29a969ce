"""Segments: which are judged, when one blocks, and where a model errs most."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control
from sklearn.metrics import roc_auc_score

from modelyard.errors import PolicyError
from modelyard.evaluate import metrics, paired, segments, weakest
from modelyard.evaluate.gate import Rows
from modelyard.policy import METRICS, Costs, Segments


class World:
    """20 days of 60 rows in three segments of one column and two of another, two models of the same skill."""

    def __init__(self, seed: int = 0, days: int = 20, each: int = 60) -> None:
        draw = np.random.default_rng(seed)
        n = days * each
        self.day = np.repeat(np.arange(days), each)
        self.carrier = draw.choice(["AA", "BB", "CC"], n, p=[0.4, 0.4, 0.2])
        self.origin = draw.choice(["x", "y"], n)
        truth = draw.normal(size=n)
        self.label = (truth + draw.normal(size=n) > 0).astype(float)
        self.champion, self.challenger = (1 / (1 + np.exp(-(truth + draw.normal(0, 0.3, n)))) for _ in range(2))

    @property
    def columns(self) -> dict[str, np.ndarray]:
        return {"carrier": self.carrier, "origin": self.origin}

    def judge(self, metric: str = "roc_auc", *, columns: tuple[str, ...] = ("carrier", "origin"), **changed: object) -> segments.Segments:
        policy = Segments(columns=list(columns), min_rows=changed.pop("min_rows", 100), margin=changed.pop("margin", 0.01))  # type: ignore[arg-type]
        champion = changed.pop("champion", self.champion)
        arguments = {"columns": self.columns, **changed}
        return segments.judge(  # type: ignore[arg-type]
            "binary", metric, arguments.pop("columns"), Rows(self.day, self.label), self.challenger, champion, policy, **arguments
        )


def _statuses(found: segments.Segments) -> list[tuple[str, str]]:
    return [(check.name, check.status) for check in found.checks if check.name != "weakest"]


def test_models_of_one_skill_pass_with_every_metric_by_segment() -> None:
    """One check for all; each segment has the metrics that scikit-learn gives for its rows."""
    world = World()
    found = world.judge()

    assert _statuses(found) == [("all", "passed")]
    assert found.checks[0].message.startswith("5 of 5 segments judged, none is certainly worse than the champion by more than 0.01 roc_auc")
    assert [segment.name for segment in found.judged] == [
        *sorted((f"carrier = {v}" for v in ("AA", "BB", "CC")), key=lambda name: -(world.carrier == name[-2:]).sum()),
        *sorted((f"origin = {v}" for v in ("x", "y")), key=lambda name: -(world.origin == name[-1]).sum()),
    ]
    for segment in found.judged:
        rows = world.columns[segment.column] == segment.value
        assert segment.challenger["roc_auc"] == pytest.approx(roc_auc_score(world.label[rows], world.challenger[rows]))
        assert set(segment.challenger) == set(segment.champion or {}) == set(METRICS["binary"])
        assert segment.rows == rows.sum()
        assert segment.improvement == pytest.approx(segment.challenger["roc_auc"] - (segment.champion or {})["roc_auc"])


def test_a_segment_made_worse_blocks_by_its_name() -> None:
    """One carrier's scores are noise: it fails, its neighbours do not, and the better average does not hide it."""
    world = World()
    rows = world.carrier == "CC"
    world.challenger[rows] = np.random.default_rng(1).permutation(world.challenger[rows])
    found = world.judge()

    assert _statuses(found)[0] == ("carrier = CC", "failed")
    assert {segment.name for segment in found.judged if segment.failed} & {"carrier = AA", "carrier = BB"} == set()
    check = found.checks[0]
    (segment,) = (segment for segment in found.judged if segment.value == "CC")
    assert (check.family, check.value, check.lower, check.upper) == ("segments", segment.improvement, segment.lower, segment.upper)
    assert (check.upper or 0) < 0
    assert "Where carrier = CC, roc_auc is worse than the champion's by 0." in check.message
    assert (segment.p or 1) <= 0.05


def test_a_loss_within_the_margin_passes_however_certain() -> None:
    """The margin is in the metric's own unit."""
    world = World()
    rows = world.carrier == "AA"
    world.challenger[:] = world.champion
    world.challenger[rows] = np.clip(world.champion[rows] + 0.02 * (1 - 2 * world.label[rows]), 0.001, 0.999)
    (aa,) = (segment for segment in world.judge("brier", margin=0.05).judged if segment.value == "AA")

    assert _statuses(world.judge("brier", margin=0.05)) == [("all", "passed")]
    assert (aa.p or 1) < 0.05
    assert -0.05 < (aa.improvement or 0) < 0
    assert ("carrier = AA", "failed") in _statuses(world.judge("brier", margin=0.0))


def test_equal_models_pass_without_any_margin() -> None:
    """A difference of exactly 0 is not worse, even at margin 0."""
    world = World()

    assert _statuses(world.judge(champion=world.challenger, margin=0.0)) == [("all", "passed")]


def test_rows_without_a_value_are_a_segment() -> None:
    """None, NaN and missing values of pandas alike."""
    world = World()
    rows = world.carrier == "BB"
    gaps = np.where(rows, None, world.carrier.astype(object))
    gaps[np.flatnonzero(rows)[::2]] = np.nan
    world.carrier = gaps
    world.challenger[rows] = 0.5

    assert ("carrier = (missing)", "failed") in _statuses(world.judge())


def test_what_is_not_judged_is_listed_with_the_reason() -> None:
    """Too few rows, too few days, one class: named, and counted in the message."""
    world = World()
    world.carrier[:50] = "DD"
    world.carrier[(world.day < 8) & (world.carrier == "AA")] = "EE"
    world.label[world.carrier == "CC"] = 0.0
    found = world.judge()

    assert {(few.value, few.why) for few in found.few} == {
        ("DD", "fewer than 100 rows"),
        ("EE", "fewer than 10 days"),
        ("CC", "all labels are 0"),
    }
    assert found.few_total == 3
    assert found.checks[0].message.startswith("4 of 7 segments judged")


def test_a_segment_without_one_class_is_judged_by_other_metrics() -> None:
    """No positives: the Brier score is still defined, and metrics that are not are left out."""
    world = World()
    world.label[world.carrier == "CC"] = 0.0
    found = world.judge("brier")

    (lone,) = (segment for segment in found.judged if segment.value == "CC")
    assert set(lone.challenger) == set(METRICS["binary"]) - {"roc_auc", "average_precision", "f_beta"}


def test_a_class_on_a_single_day_cannot_be_compared() -> None:
    """Days drawn without that day have no AUC: the segment is listed, not judged."""
    world = World()
    world.label[(world.carrier == "CC") & (world.day > 0)] = 0.0
    world.label[np.flatnonzero(world.carrier == "CC")[0]] = 1.0
    found = world.judge()

    assert [(few.value, few.why) for few in found.few] == [("CC", "too few days hold both classes")]


def test_many_values_do_not_flood_the_report() -> None:
    """The largest hundred of those too small are listed, and the number of all."""
    world = World()
    world.carrier = np.array([f"tail-{n % 400}" for n in range(len(world.day))])
    found = world.judge()

    assert (len(found.few), found.few_total) == (100, 400)
    assert _statuses(found) == [("all", "passed")]
    assert found.checks[0].message.startswith("2 of 402 segments judged")


def test_nothing_to_judge_is_unknown() -> None:
    """Every segment too small, a period of six days, no label, a missing one, one class, a model without a number."""
    world = World()
    assert world.judge(min_rows=5000).checks[0].message == "None of 5 segments can be judged: fewer than 5000 rows."
    assert _statuses(world.judge(min_rows=5000)) == [("all", "unknown")]
    assert _statuses(World(days=6, each=300).judge()) == [("all", "unknown")]

    lone = World()
    lone.label[:] = 1.0
    assert "all labels are 1" in lone.judge().checks[0].message
    lone.label[3] = np.nan
    assert "1 of 1,200 labels are missing" in lone.judge().checks[0].message
    world.challenger[3] = np.nan
    assert "the challenger predicts no number" in world.judge().checks[0].message
    assert {status for w in (world, lone) for _, status in _statuses(w.judge())} == {"unknown"}

    empty = World(days=0)
    assert "no row has a label" in empty.judge().checks[0].message


def test_a_column_that_is_not_there_is_unknown_and_the_others_are_judged() -> None:
    """A slip in the policy does not pass in silence."""
    found = World().judge(columns=("carrier", "orign"))

    assert _statuses(found) == [("orign", "unknown"), ("all", "passed")]
    assert "no column 'orign': correct evaluate.segments.columns" in found.checks[0].message
    assert _statuses(World().judge(columns=("orign",))) == [("all", "unknown")]


def test_no_segments_are_noted() -> None:
    """Nothing was asked, and that is said."""
    assert _statuses(World().judge(columns=())) == [("all", "noted")]


def test_a_first_release_has_metrics_only() -> None:
    """Without a champion nothing fails."""
    found = World().judge(champion=None)

    assert _statuses(found) == [("all", "noted")]
    assert {segment.champion for segment in found.judged} == {segment.improvement for segment in found.judged} == {None}


def test_an_unknown_metric_is_refused() -> None:
    """By name, with the known ones."""
    with pytest.raises(PolicyError, match="'auc' is no metric of a binary task"):
        World().judge("auc")


def test_the_policy_s_costs_reach_the_segments() -> None:
    """A false negative that costs a hundred: the model that never says 1 fails where it never does."""
    world = World()
    world.challenger[:] = world.champion
    world.challenger[world.carrier == "AA"] = 0.1
    dear = metrics.Settings(costs=Costs(false_negative=100))

    assert ("carrier = AA", "failed") in _statuses(world.judge("cost", margin=1.0, given=dear))
    assert _statuses(world.judge("cost", margin=1.0)) == [("all", "passed")]


def test_the_order_of_rows_does_not_matter() -> None:
    """Shuffled rows give the same segments and the same checks, but for rounding."""
    one, two = World(), World()
    order = np.random.default_rng(3).permutation(len(two.day))
    for name in ("day", "carrier", "origin", "label", "champion", "challenger"):
        setattr(two, name, getattr(two, name)[order])

    first, second = one.judge(), two.judge()

    assert [(s.name, s.improvement, s.p) for s in first.judged] == [
        (s.name, pytest.approx(s.improvement), pytest.approx(s.p)) for s in second.judged
    ]


def test_one_of_many_segments_is_found() -> None:
    """Holm's correction over 40 segments leaves what is certain."""
    world = World(days=20, each=400)
    world.carrier = np.array([f"c{n % 40}" for n in range(len(world.day))])
    rows = world.carrier == "c7"
    world.challenger[rows] = 1 - world.challenger[rows]
    found = world.judge(columns=("carrier",))

    assert ("carrier = c7", "failed") in _statuses(found)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_s_correction(p: list[float]) -> None:
    """By its definition; it keeps the order, never lowers, is no laxer than Benjamini-Hochberg and no stricter than Bonferroni."""
    given_ = np.array(p)
    found = segments.holm(given_)

    order = np.argsort(given_, kind="stable")
    running = 0.0
    for step, at in enumerate(order):
        running = max(running, min(1.0, (len(p) - step) * p[at]))
        assert found[at] == pytest.approx(running)
    assert (found >= false_discovery_control(given_, method="bh") - 1e-12).all()
    assert (found <= np.minimum(1, len(p) * given_) + 1e-12).all()


def test_models_swapped_by_day_rarely_block() -> None:
    """40 draws in which no model is better: Binomial(40, .05) exceeds 6 with probability .003."""
    blocked = 0
    for seed in range(40):
        world = World(seed, days=21, each=40)
        swap = np.random.default_rng(seed).uniform(size=21)[world.day] < 0.5
        one, two = np.where(swap, world.champion, world.challenger), np.where(swap, world.challenger, world.champion)
        world.challenger, world.champion = one, two
        found = [
            paired.compare("roc_auc", True, world.day[r], world.label[r], one[r], two[r]).p
            for column in world.columns.values()
            for r in (column == value for value in np.unique(column))
        ]
        blocked += bool((segments.holm(np.array(found)) <= 0.05).any())

    assert blocked <= 6


def test_the_weakest_region_is_found_and_told_in_words() -> None:
    """A model that guesses where it is cold in EWR: the condition names both, and its loss is that of those rows on the other days."""
    draw = np.random.default_rng(5)
    n = 6000
    day, temp = np.repeat(np.arange(20), 300), draw.uniform(-10, 30, n)
    origin = draw.choice(["EWR", "JFK", "LGA"], n)
    label = (draw.uniform(size=n) < 0.5).astype(float)
    weak = (temp <= 3) & (origin == "EWR")
    score = np.where(weak, 0.5, 0.1 + 0.8 * label)
    features = {"temp": temp, "origin": origin, "noise": draw.normal(size=n)}

    regions = weakest.find("binary", features, day, label, score, 50)

    shown = day % 2 == 1
    assert regions[0].where.startswith(("temp ≤ 3", "temp ≤ 2.9"))
    assert regions[0].where.endswith("and origin = EWR")
    assert regions[0].loss == pytest.approx(np.log(2), abs=0.03)
    assert abs(regions[0].rows - (weak & shown).sum()) <= 5
    assert regions[0].loss > regions[0].overall


def test_a_weakest_region_may_be_that_of_missing_values() -> None:
    """A column of numbers with gaps, one of text with gaps, one that is all gaps, and infinite values."""
    draw = np.random.default_rng(6)
    n = 4000
    day, temp = np.repeat(np.arange(20), 200), draw.normal(size=n)
    gone = draw.uniform(size=n) < 0.2
    temp[gone] = np.nan
    temp[0] = np.inf
    label = draw.normal(size=n)
    score = label + np.where(gone, 3.0, 0.1)
    texts = np.where(gone, None, draw.choice(["a", "b"], n).astype(object))

    found = weakest.find("regression", {"temp": temp, "gap": np.full(n, np.nan)}, day, label, score, 50)
    told = weakest.find("regression", {"text": texts}, day, label, score, 50)

    assert [(region.where, region.loss) for region in found] == [("temp is missing", pytest.approx(3.0))]
    assert [(region.where, region.loss) for region in told] == [("text is missing", pytest.approx(3.0))]


def test_the_weakest_region_never_decides() -> None:
    """It is noted beside a verdict that stands without it."""
    world = World()
    in_c = world.carrier == "CC"
    world.label[in_c] = np.random.default_rng(1).integers(0, 2, in_c.sum())  # nobody can tell these
    found = world.judge()
    (check,) = (check for check in found.checks if check.name == "weakest")

    assert (check.status, check.limit) == ("noted", "")
    assert check.message.startswith("The challenger's mean log loss is largest where ")
    assert "CC" in found.weakest[0].where
    assert not [check for check in World().judge().checks if check.name == "weakest"]  # and where none is, none is told


def test_few_rows_or_no_columns_have_no_weakest_region() -> None:
    """Nothing is told of ten rows."""
    day = np.repeat(np.arange(10), 2)

    assert weakest.find("regression", {"x": np.arange(20.0)}, day, np.zeros(20), np.arange(20.0), 200) == []
    assert weakest.find("regression", {}, day, np.zeros(20), np.arange(20.0), 1) == []


def test_the_examples_in_the_docstrings_hold() -> None:
    """What the documentation shows is what happens."""
    assert doctest.testmod(segments).failed == 0
