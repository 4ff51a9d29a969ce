"""Three questions per column, by blocks and by chance; distances and chances against scipy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from modelyard.monitor import blocks, compare, distance, measure, table
from modelyard.monitor.compare import Comparison
from modelyard.monitor.profile import Profile

FEW = st.lists(st.integers(0, 200), min_size=3, max_size=12).filter(sum)


def _frame(days: int, seed: int, start: str = "2013-01-01", rows: int = 200) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    n = days * rows
    time = pd.Timestamp(start) + pd.to_timedelta(np.repeat(np.arange(days), rows), "D")
    weather = np.repeat(draw.normal(0, 0.3, days), rows)  # days differ, as they do
    return pd.DataFrame(
        {
            "time": time,
            "delay": draw.normal(size=n) + weather,
            "carrier": draw.choice(["AA", "B6", "DL", "UA"], n, p=[0.4, 0.3, 0.2, 0.1]),
            "hour": draw.integers(5, 23, n).astype(float),
        }
    )


def _compared(reference: Profile, current: pd.DataFrame) -> Comparison:
    counts, window = measure.count(reference, table.from_frame(current))
    return compare.compare(reference, counts, window)


@pytest.fixture(scope="module")
def weekly() -> Profile:
    """Twelve weeks."""
    return measure.make(table.from_frame(_frame(84, 0)), time="time", segments=("carrier",))


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (lambda f: f, None),
        (lambda f: f.assign(delay=f["delay"] * 2), ("delay", "shape")),
        (lambda f: f.assign(hour=f["hour"] + 1), ("hour", "shape")),
        (lambda f: f.assign(carrier=f["carrier"].where(f.index % 10 > 0, "ZZ")), ("carrier", "novel")),
        (lambda f: f.assign(delay=f["delay"].where(f.index % 10 > 0)), ("delay", "missing")),
        (lambda f: f.assign(delay=f["delay"].where(f.index % 20 > 0, 999.0)), ("delay", "novel")),
    ],
)
@pytest.mark.parametrize("by", ["blocks", "chance"])
def test_each_fault_alarms_in_its_column(weekly: Profile, by: str, fault: object, expected: tuple[str, str] | None) -> None:
    """Scale, an hour too many, a new code, missing values, values out of range: by weeks and by chance; an ordinary week does not alarm."""
    current = _frame(7, 99, "2013-04-01")
    if by == "chance":
        weekly = measure.make(
            table.from_frame(_frame(84, 0).drop(columns="time").assign(delay=np.random.default_rng(1).normal(size=84 * 200)))
        )
        current = current.drop(columns="time").assign(delay=np.random.default_rng(2).normal(size=7 * 200))

    found = _compared(weekly, fault(current))  # type: ignore[operator]

    assert found.calibration.rule == by
    if expected is None:
        assert found.alarms[0] == frozenset()
    else:
        assert expected in found.alarms[0]


def test_causes_add_up(weekly: Profile) -> None:
    """What the segments contribute is the whole shift, and the one that carries it comes first."""
    current = _frame(7, 98, "2013-04-01")
    current.loc[current["carrier"] == "UA", "delay"] += 6

    found = _compared(weekly, current)
    shift = next(s for s in found.shifts if s.column == "delay")

    assert shift.alarm
    assert shift.causes[0].value == "UA"
    assert shift.causes[0].within > 0.5
    assert sum(part.mix + part.within for part in shift.causes) == pytest.approx(1)


@given(first=FEW, seed=st.integers(0, 1000))
def test_distances_are_those_of_scipy(first: list[int], seed: int) -> None:
    """Jensen-Shannon and the G test agree with scipy's; distances are symmetric, and 0 of the same to the same."""
    a = np.array(first)
    b = np.random.default_rng(seed).integers(5, 200, len(a))

    assert distance.jensen_shannon(a, b) == pytest.approx(jensenshannon(a / a.sum(), b / b.sum(), base=2), abs=1e-7)
    for measure_of in (distance.jensen_shannon, distance.total_variation, distance.kolmogorov, distance.population_stability):
        assert measure_of(a, b) == pytest.approx(measure_of(b, a))
        assert measure_of(a, a) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize(("value", "free"), [(0.5, 1), (3.84, 1), (20, 10), (150, 60), (400, 64), (1e-3, 5)])
def test_the_tail_of_chi2_is_that_of_scipy(value: float, free: int) -> None:
    """To ten digits, also far out."""
    assert distance.chi2_tail(value, free) == pytest.approx(stats.chi2.sf(value, free), rel=1e-9)


def test_chances_are_those_of_scipy() -> None:
    """Kolmogorov's asymptotic tail to a percent, and the chance of rows beyond the reference's range by its product."""
    assert distance.kolmogorov_chance(0.1, 500, 400) == pytest.approx(stats.kstwo.sf(0.1, round(500 * 400 / 900)), rel=0.1)
    assert distance.beyond_chance(1, 99, 1) == pytest.approx(2 / 100)
    assert distance.beyond_chance(0, 10, 10) == 1


@pytest.mark.parametrize("by", ["blocks", "chance"])
@pytest.mark.parametrize("side", ["reference", "current"])
def test_a_column_without_a_value_has_no_shape(weekly: Profile, by: str, side: str) -> None:
    """A shape of nothing is not 0, but unknown; that values are missing alarms all the same."""
    lacks = {"delay": np.nan, "carrier": None}
    before, now = _frame(84, 0), _frame(7, 99, "2013-04-01")
    if by == "chance":
        before, now = before.drop(columns="time"), now.drop(columns="time")
    if side == "current":
        now = now.assign(**lacks)
    else:
        before = before.assign(carrier=None)

    found = _compared(measure.make(table.from_frame(before), time="time" if by == "blocks" else None), now)
    shifts = {shift.column: shift for shift in found.shifts}

    assert found.calibration.rule == by
    assert shifts["carrier"].shape is None
    assert shifts["hour"].shape is not None
    if side == "current":
        assert shifts["delay"].shape is None
        assert {("delay", "missing"), ("carrier", "missing")} <= found.alarms[0]


def test_one_direction_is_as_any_other() -> None:
    """Shares of two cells have a closed form, which gives what the search for directions gives."""
    counts = np.random.default_rng(0).binomial(400, 0.3, size=15)
    two = np.stack([counts, 400 - counts], axis=1)
    shares = np.sqrt(counts / 400)
    residual = np.stack([shares - shares.mean(), np.zeros(15)], axis=1)
    values, vectors = np.linalg.eigh(residual @ residual.T)
    spread = np.maximum(values, 0) / 14
    distance_ = vectors**2 @ (np.maximum(values, 0) / (spread + 1 / 1600))
    expected = (distance_ / (1 - distance_ / 15)) ** (1 / 3) * np.sqrt(9 / 2)

    assert blocks.scores(two) == pytest.approx(expected - np.median(expected), abs=1e-9)


@given(seed=st.integers(0, 500))
def test_blocks_are_treated_alike(seed: int) -> None:
    """The order of the blocks changes nothing but the order of the scores."""
    draw = np.random.default_rng(seed)
    counts = draw.multinomial(500, draw.dirichlet(np.ones(9)), size=14)
    order = draw.permutation(14)

    assert blocks.scores(counts)[order] == pytest.approx(blocks.scores(counts[order]), abs=1e-6)


def test_equal_samples_seldom_alarm() -> None:
    """Of 300 checks of the same law by chance, at most nine alarm: alpha is 1 % for the whole table (the benchmark makes 2,000)."""
    alarms = 0
    for seed in range(300):
        both = _frame(1, seed, rows=1500).drop(columns="time")
        reference = measure.make(table.from_frame(both.iloc[:1000]))
        alarms += bool(_compared(reference, both.iloc[1000:]).alarms[0])
    assert alarms <= 9


def test_the_bare_check_needs_numpy_and_pyarrow_only(tmp_path: Path) -> None:
    """Neither pandas nor scipy, pydantic, jinja2 or rich is imported, nor what costs as much as the check; a JSON report is written."""
    _frame(84, 0).to_parquet(tmp_path / "ref.parquet")
    _frame(7, 99, "2013-04-01").to_parquet(tmp_path / "now.parquet")
    script = (
        "import os, sys; from modelyard.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = {'pandas', 'scipy', 'pydantic', 'jinja2', 'rich', 'mlflow', 'dask', 'distributed'} & set(sys.modules)\n"
        "slow = {'pyarrow.compute', 'numpy.ma', 'http.client', 'importlib.metadata'} if sys.argv[1] == 'monitor' else set()\n"
        "heavy |= slow & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert not {'OPENBLAS_NUM_THREADS', 'ARROW_DEFAULT_MEMORY_POOL'} & set(os.environ)\n"
        "sys.exit(code)"
    )
    set_by_others = ("OPENBLAS_NUM_THREADS", "ARROW_DEFAULT_MEMORY_POOL")  # Dask, in an earlier test of this process
    env = {name: value for name, value in os.environ.items() if name not in set_by_others}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", script, *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    one = run("profile", "ref.parquet", "-o", "ref.profile", "--time", "time")
    assert one.returncode == 0, one.stderr
    two = run("monitor", "--profile", "ref.profile", "--current", "now.parquet", "--json", "out.json")
    assert two.returncode == 0, two.stdout + two.stderr
    assert two.stdout.startswith("**monitor: healthy**")
    assert (tmp_path / "out.json").stat().st_size > 1000
