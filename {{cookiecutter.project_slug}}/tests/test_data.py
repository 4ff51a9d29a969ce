from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

from {{ cookiecutter.package }} import data
from {{ cookiecutter.package }}.schema import Batch


def test_periods_are_a_partition() -> None:
    """Two halves of a period hold exactly its rows: none twice, none lost."""
    first, middle, last = datetime(2013, 2, 26), datetime(2013, 3, 1, 12, 30), datetime(2013, 3, 4)
    halves = pd.concat([data.load(first, middle), data.load(middle, last)], ignore_index=True)

    pd.testing.assert_frame_equal(halves, data.load(first, last))


def test_rows_lie_in_the_period() -> None:
    """The start belongs to a period, its end to the next one."""
    start, end = datetime(2013, 7, 1), datetime(2013, 7, 2)
    times = data.load(start, end)[data.TIME]

    assert times.min() >= start
    assert times.max() < end
    assert len(times) > 500


def test_asking_twice_gives_the_same() -> None:
    """An answer does not depend on what was asked before."""
    period = datetime(2013, 5, 1), datetime(2013, 5, 3)
    first = data.load(*period)
    first["carrier"] = "XX"

    assert set(data.load(*period)["carrier"]) != {"XX"}


@pytest.mark.parametrize("year", [2012, 2024, 2026])
def test_other_years_replay_the_same_weekdays(year: int) -> None:
    """Every day of another year has flights, those of the same weekday of 2013; 29 February too."""
    start, end = datetime(year, 2, 1), datetime(year, 3, 15)
    replayed = data.load(start, end)
    days = replayed[data.TIME].dt.normalize()

    assert list(days.unique()) == list(pd.date_range(start, end, inclusive="left"))
    saturdays = days.dt.day_of_week == 5
    assert saturdays.mean() < 1 / 7  # fewer flights than on other days, as in 2013
    Batch.validate(replayed, lazy=True)


def test_a_source_replaces_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FLIGHTS_SOURCE names a folder whose table is used instead."""
    table = data.load(datetime(2013, 1, 1), datetime(2013, 1, 3))
    table.assign(distance=1).to_parquet(tmp_path / "flights.parquet")
    monkeypatch.setenv("FLIGHTS_SOURCE", str(tmp_path))
    loaded = data.load(datetime(2013, 1, 1), datetime(2013, 1, 2))

    assert set(loaded["distance"]) == {1}
