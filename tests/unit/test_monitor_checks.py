"""The checks of a window, each at its edges, and the decision that follows from them."""

from __future__ import annotations

import ast
import inspect
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.monitor import checks, decision
from modelyard.monitor.report import Answer, Calibration, Check, Decay, Performance, Shift

END = datetime(2013, 7, 1)


def shift(column: str = "x", role: Any = "feature", *, shape: float = 0, missing: float = 0, novel: float = 0, alarm: str = "") -> Shift:
    """A column with its three answers; ``alarm`` names the questions that alarm."""
    sizes = {"shape": shape, "missing": missing, "novel": novel}
    answers = {name: Answer(size=size, reference=0.02, current=0.02 + size, alarm=name in alarm) for name, size in sizes.items()}
    return Shift(column=column, role=role, kind="continuous", **answers)


def blocks(*alarmed: bool) -> Calibration:
    """Eight blocks of the reference with scores up to 8, and a window whose blocks lie above it, or do not."""
    scores = (*range(1, 9), *(9 if above else 3 for above in alarmed))
    return Calibration(
        rule="blocks",
        blocks=8,
        block_days=7,
        level=1 / 9,
        assumes="exchangeable blocks",
        scores=tuple(map(float, scores)),
        limit=8.0,
        moved=alarmed,
    )


CHANCE = Calibration(rule="chance", blocks=0, block_days=None, level=0.01, assumes="independent rows")
NOTHING = Calibration(rule="none", blocks=0, block_days=None, level=0.01, assumes="")
MOVED = shift("temp", shape=0.12, alarm="shape")


def gain(found: Any) -> Decay:
    return Decay(found=found, gain=0.01, lower=-0.01, upper=0.03, limit=0.02, days=28, rows=9000, detectable=0.02)


def measured(value: float, *, lower: float | None, upper: float | None, more: bool = True, before: float | None = 0.8) -> Performance:
    return Performance(metric="m", more_is_better=more, value=value, lower=lower, upper=upper, at_release=before, rows=10, days=7)


def test_the_project_s_failures_are_told_and_counted() -> None:
    """Five are enough to see; the report of validate has all."""
    assert checks.fits([]).status == "ok"

    found = checks.fits([f"c{n}: out of range" for n in range(7)])
    assert (found.status, found.message.count("out of range")) == ("alert", 5)
    assert found.message.endswith("; and 2 more.")


@pytest.mark.parametrize(
    ("current", "status", "told"),
    [
        ({"a": "number", "b": "text"}, "ok", "All 2 columns are there, each of its kind."),
        ({"b": "text", "a": "number"}, "ok", "All 2 columns"),
        ({"a": "number"}, "alert", "Columns gone: b."),
        ({"a": "text", "b": "text"}, "alert", "Columns of another kind: a holds text (was number)."),
        ({"a": "number", "b": "text", "c": "bool"}, "noted", "Columns new: c."),
        ({"a": "time", "c": "bool"}, "alert", "Columns gone: b; of another kind: a holds time (was number); new: c."),
        ({"a": "nothing", "b": "text"}, "ok", "All 2 columns"),
        ({}, "alert", "Columns gone: a, b."),
    ],
)
def test_a_schema_is_columns_and_kinds(current: dict[str, Any], status: str, told: str) -> None:
    """Gone, or of another kind, alerts; new is noted; without a value a column has no kind to break."""
    found = checks.schema({"a": "number", "b": "text"}, current)

    assert found.status == status
    assert found.message.startswith(told)


@pytest.mark.parametrize(
    ("rows", "days", "reference", "status"),
    [
        (279, 28, (2000, 100), "alert"),
        (280, 28, (2000, 100), "ok"),
        (1120, 28, (2000, 100), "ok"),
        (1121, 28, (2000, 100), "alert"),
        (0, 28, (2000, 100), "alert"),
        (0, None, (2000, None), "alert"),
        (5, None, (2000, 100), "unknown"),
        (5, 28, (2000, None), "unknown"),
        (5, 0.0, (2000, 100), "unknown"),
        (5, 28, (0, 100), "unknown"),
    ],
)
def test_the_volume_is_held_to_both_limits(rows: int, days: float | None, reference: tuple[int, float | None], status: str) -> None:
    """Half and twice the reference's 20 rows a day are allowed; without times, only that there is none can be told."""
    assert checks.volume(rows, days, *reference, least=0.5, most=2).status == status


@pytest.mark.parametrize(
    ("age", "rows", "status"),
    [(0, 5, "ok"), (14, 5, "ok"), (14.01, 5, "alert"), (None, 5, "unknown"), (0, 0, "alert"), (None, 0, "alert"), (-3, 5, "ok")],
)
def test_the_newest_row_may_not_be_too_old(age: float | None, rows: int, status: str) -> None:
    """No row is the worst; without times nothing can be said, and that is not ok."""
    newest = None if age is None else END - timedelta(days=age)

    assert checks.freshness(newest, END, 14, rows=rows).status == status


def test_the_newest_row_of_a_table_without_an_end_is_only_told() -> None:
    """A bare file says nothing of the day on which it should end."""
    assert checks.freshness(END, None, 14, rows=1).status == "unknown"


@pytest.mark.parametrize(
    ("share", "before", "status"),
    [(0.01, 0.0, "ok"), (0.011, 0.0, "alert"), (0.5, 0.495, "ok"), (None, 0.0, "unknown"), (0.0, None, "unknown")],
)
def test_repeated_rows_may_not_grow(share: float | None, before: float | None, status: str) -> None:
    """The rise counts, not the level; what was not counted is not known."""
    assert checks.duplicates(share, before, limit=0.01).status == status


@pytest.mark.parametrize(
    ("column", "status"),
    [
        (shift(missing=0.05), "ok"),
        (shift(missing=0.051), "alert"),
        (shift(missing=0.001, alarm="missing"), "alert"),
        (shift(missing=-0.5, alarm="missing"), "ok"),
        (shift(missing=0.9, role="label", alarm="missing"), "ok"),
        (shift(missing=0.051, role="prediction"), "alert"),
        (replace(shift(), missing=None), "ok"),
        (shift(shape=0.9, novel=0.9, alarm="shape novel"), "ok"),
    ],
)
def test_missing_values_alert_by_size_or_by_alarm(column: Shift, status: str) -> None:
    """A rise over the limit, or beyond the reference's blocks; fewer are no fault, and labels are late by nature."""
    assert checks.missing([shift("other"), column], limit=0.05).status == status


def test_a_column_that_misses_more_is_named() -> None:
    """With both shares; of many, five."""
    found = checks.missing([shift(f"c{n}", missing=0.1) for n in range(7)], limit=0.05)

    assert found.message == (
        "More values are missing: c0 2.0 % → 12.0 %, c1 2.0 % → 12.0 %, c2 2.0 % → 12.0 %, c3 2.0 % → 12.0 %, c4 2.0 % → 12.0 % and 2 more."
    )


@pytest.mark.parametrize(
    ("column", "status"),
    [
        (shift(novel=0.2), "ok"),
        (shift(novel=0.2, alarm="novel"), "alert"),
        (shift(novel=-0.2, alarm="novel"), "ok"),
        (shift(shape=1, alarm="shape"), "ok"),
    ],
)
def test_values_never_seen_alert(column: Shift, status: str) -> None:
    """Only where chance, or the blocks, say that there are more than usual."""
    assert checks.novel([column]).status == status


@pytest.mark.parametrize(
    ("alarmed", "status", "told"),
    [
        ((), "ok", ""),
        ((False, False, False, False), "ok", "No column's shape moved"),
        ((False, False, False, True), "noted", "1 of the last 4 weeks, but 2 are needed: temp 12.0 %"),
        ((True, True, True, False), "noted", "3 of the last 4 weeks, but the latest is as usual"),
        ((False, False, True, True), "retrain", "2 of the last 4 weeks, the latest included: temp 12.0 %."),
        ((True, False, False, True), "retrain", "2 of the last 4 weeks, the latest included"),
        ((True, False, False, False, True), "noted", "1 of the last 4 weeks, but 2 are needed"),
        ((True, True), "retrain", "2 of the last 2 weeks"),
        ((True,), "alert", "Shapes moved in the only week: temp 12.0 %"),
        ((False,), "ok", "No column's shape moved"),
    ],
)
def test_drift_counts_after_k_of_n_blocks_with_the_latest(alarmed: tuple[bool, ...], status: str, told: str) -> None:
    """One odd week is noted; a window too short for the rule calls for a person at most."""
    latest = MOVED if alarmed and alarmed[-1] else shift("temp")
    found = checks.drift([shift("other"), latest], blocks(*alarmed), None, need=2, of=4, says="retrain")

    assert (found.status, told in found.message) == (status, True), found.message


def test_drift_says_what_the_policy_wants() -> None:
    """Some want to be asked first."""
    found = checks.drift([MOVED], blocks(True, True), gain("undetermined"), need=2, of=4, says="alert")

    assert found.status == "alert"


@pytest.mark.parametrize("says", ["alert", "retrain"])
@pytest.mark.parametrize("calibration", [blocks(True, True), CHANCE])
def test_drift_is_noted_where_labels_say_that_the_model_holds(calibration: Calibration, says: Any) -> None:
    """Labels answer what drift only hints at; while they do not tell, it counts."""
    noted = checks.drift([MOVED], calibration, gain("no"), need=2, of=4, says=says)

    assert (noted.status, "the labels say that the model holds" in noted.message) == ("noted", True)
    for found in ("yes", "undetermined"):
        assert checks.drift([MOVED], calibration, gain(found), need=2, of=4, says=says).status in ("alert", "retrain")


def test_drift_by_chance_never_trains() -> None:
    """It assumes independent rows, which rows of one day are not, and says so."""
    found = checks.drift([MOVED], CHANCE, None, need=2, of=4, says="retrain")

    assert (found.status, "assumes independent rows" in found.message) == ("alert", True)


def test_what_was_not_compared_is_not_known() -> None:
    """No calibration, no answer."""
    assert checks.drift([], NOTHING, None, need=2, of=4, says="retrain").status == "unknown"


@pytest.mark.parametrize("calibration", [blocks(False, False), CHANCE])
def test_missing_values_are_no_drift(calibration: Calibration) -> None:
    """Broken data are told by their own checks; drift is of shapes."""
    broken = shift(missing=0.5, novel=0.5, alarm="missing novel")

    assert checks.drift([broken], calibration, None, need=2, of=4, says="retrain").status == "ok"


@pytest.mark.parametrize(
    ("found", "shadow", "status"),
    [
        (None, True, "unknown"),
        (None, False, "unknown"),
        (measured(0.8, lower=0.75, upper=0.85), True, "ok"),
        (measured(0.7, lower=0.65, upper=0.75), True, "noted"),
        (measured(0.7, lower=0.65, upper=0.75), False, "alert"),
        (measured(0.78, lower=0.77, upper=0.79), False, "noted"),
        (measured(0.7, lower=0.59, upper=0.81), False, "ok"),
        (measured(1.0, lower=0.9, upper=1.1, more=False), False, "alert"),
        (measured(0.6, lower=0.5, upper=0.7, more=False), False, "ok"),
        (measured(0.2, lower=None, upper=None), False, "ok"),
        (measured(0.2, lower=0.1, upper=0.3, before=None), False, "ok"),
        (measured(0.2, lower=float("nan"), upper=float("nan")), False, "ok"),
    ],
)
def test_the_level_never_trains(found: Performance | None, shadow: bool, status: str) -> None:
    """Lower than at release is noted; a person is called where no shadow judges, and the whole interval lies below by the limit."""
    assert checks.performance(found, "no labels", limit=0.02, shadow=shadow).status == status


@pytest.mark.parametrize(("found", "status"), [("yes", "retrain"), ("no", "ok"), ("undetermined", "unknown")])
def test_decay_is_what_the_shadow_found(found: Any, status: str) -> None:
    """Not yet told is not ok."""
    assert checks.decay(gain(found), "").status == status


def test_decay_without_labels_is_not_known() -> None:
    """With the reason."""
    found = checks.decay(None, "0 of 1,120 rows have a label")

    assert (found.status, found.message) == ("unknown", "Whether the model has decayed is not known: 0 of 1,120 rows have a label.")


@pytest.mark.parametrize(("days", "limit", "status"), [(27.9, 28, "ok"), (28, 28, "retrain"), (900, None, "ok")])
def test_the_age_retrains_when_it_is_reached(days: float, limit: int | None, status: str) -> None:
    """From the limit on; without a limit never."""
    assert checks.age(days, limit).status == status


@pytest.mark.parametrize(
    ("live", "status", "told"),
    [
        ("3", "ok", "Version 3 is recorded and live."),
        ("2", "alert", "main records version 3, but version 2 is live: run promote, or train."),
        ("", "alert", "main records version 3, but nothing is live: run promote, or train."),
        (None, "unknown", "The registry was not asked"),
    ],
)
def test_a_record_that_never_became_live_alerts(live: str | None, status: str, told: str) -> None:
    """A promotion that was refused, or did not run, leaves main ahead of what serves: that must not stay quiet."""
    check = checks.release("3", live)

    assert check.status == status
    assert check.message.startswith(told)


NOW = datetime(2013, 7, 15, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("last", "days", "waits"),
    [(None, 14, False), (NOW - timedelta(days=14), 14, False), (NOW - timedelta(days=13.9), 14, True), (NOW, 0, False), (NOW, 1, True)],
)
def test_a_training_cools_down(last: datetime | None, days: int, waits: bool) -> None:
    """Until the days are over; the sentence says when."""
    assert bool(decision.cooling(NOW, last, days)) is waits


def test_the_cool_down_says_until_when() -> None:
    """Both dates."""
    assert decision.cooling(NOW, NOW.replace(day=10), 14) == (
        "a model was trained on 2013-07-10 06:00, and the next one waits until 2013-07-24 06:00"
    )


def check(name: str, status: Any, message: str | None = None) -> Check:
    return Check(name=name, status=status, message=message or f"What {name} says.")


VOLUME, AGE, DECAY = check("volume", "alert"), check("age", "retrain"), check("decay", "retrain")
RELEASE, DRIFT = check("release", "alert"), check("drift", "alert")
QUIET = [check("schema", "ok"), check("performance", "unknown"), check("drift", "noted")]


@pytest.mark.parametrize(
    ("given_", "verdict", "reason"),
    [
        ([], "healthy", "No check fired."),
        (QUIET, "healthy", "No check fired (noted: drift; not known: performance)."),
        ([VOLUME], "alert", "The data are broken (volume: What volume says)."),
        (
            [RELEASE, AGE, VOLUME, check("missing", "alert")],
            "alert",
            "The data are broken (volume: What volume says; also missing), and the training that is due (age) waits.",
        ),
        ([AGE], "retrain", "A training is due (age: What age says)."),
        ([RELEASE, AGE, DRIFT, DECAY], "retrain", "A training is due (decay: What decay says; also age)."),
        ([RELEASE, DRIFT], "alert", "A person should look (drift: What drift says; also release)."),
    ],
)
def test_the_strongest_wins_and_says_why(given_: list[Check], verdict: str, reason: str) -> None:
    """Broken data first, then a training, then a person; in one sentence."""
    found = decision.decide(given_)

    assert (found.verdict, found.reason, found.needs_approval, found.checks) == (verdict, reason, False, tuple(given_))


def test_all_that_fired_is_told_strongest_first() -> None:
    """Nothing is hidden by what is stronger."""
    told = decision.decide([RELEASE, *QUIET, AGE, DECAY, VOLUME]).reasons

    assert told == ("What volume says.", "What decay says.", "What age says.", "What release says.")
    assert decision.decide([RELEASE, AGE]).reasons == ("What age says.", "What release says.")


def test_within_the_cool_down_a_training_waits() -> None:
    """It is noted and told, and other alerts stand."""
    found = decision.decide([AGE, *QUIET], cooling="a model was trained")

    assert (found.verdict, found.reasons) == ("healthy", ("What age says.",))
    assert found.reason == "Nothing else fired, and the training that is due (age) waits: a model was trained."
    assert [c.status for c in found.checks if c.name == "age"] == ["noted"]

    found = decision.decide([AGE, RELEASE], cooling="a model was trained", approval=True)
    assert (found.verdict, found.needs_approval) == ("alert", False)
    assert found.reason == "A person should look (release: What release says); the training that is due (age) waits: a model was trained."


def test_a_person_is_asked_where_the_policy_wants_it() -> None:
    """The verdict stays retrain; of an alert there is nothing to approve."""
    found = decision.decide([DECAY], approval=True)
    assert (found.verdict, found.needs_approval) == ("retrain", True)
    assert found.reason == "A training is due (decay: What decay says), and a person must start it."

    assert not decision.decide([DECAY, VOLUME], approval=True).needs_approval


NAMES = [*decision.DATA, "decay", "age", "drift", "performance", "release", "another"]
STATUSES = ["ok", "noted", "unknown", "alert", "retrain"]
CHECKS = st.lists(st.builds(check, st.sampled_from(NAMES), st.sampled_from(STATUSES)), max_size=12)


@given(CHECKS, st.sampled_from(decision.DATA), st.booleans(), st.booleans())
def test_broken_data_never_train_and_never_pass(given_: list[Check], name: str, cool: bool, approval: bool) -> None:
    """Whatever else is there, a data check that fails makes the verdict an alert."""
    more: dict[str, Any] = {"cooling": "it waits" if cool else "", "approval": approval}

    assert decision.decide([*given_, check(name, "alert")], **more).verdict == "alert"


@given(CHECKS, st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_the_checks_decides_nothing(given_: list[Check], random: Any, cool: bool) -> None:
    """Each order of the same checks gives the same verdict; nothing that fires is healthy without a reason told, in one sentence."""
    shuffled = list(given_)
    random.shuffle(shuffled)
    found, other = (decision.decide(order, cooling="it waits" if cool else "") for order in (given_, shuffled))

    assert found.verdict == other.verdict
    assert sorted(found.reasons) == sorted(other.reasons)
    assert len(found.reasons) == sum(c.status in ("alert", "retrain") for c in given_)
    assert found.reason.endswith(".")
    assert "\n" not in found.reason
    if found.verdict == "healthy":
        assert not any(c.status in ("alert", "retrain") for c in found.checks)
    if cool:
        assert found.verdict != "retrain"


@pytest.mark.parametrize("module", [checks, decision])
def test_checks_need_the_standard_library_only(module: Any) -> None:
    """The bare check starts with numpy and pyarrow; these modules with neither."""
    imported = set()
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom):
            imported.add(str(node.module))
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}

    assert {name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names} == {
        "modelyard.monitor",
        "modelyard.monitor.report",
    }
