"""The data on disk: periods, reading, the promise of load(), and the split."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from modelyard import dataset
from modelyard.errors import DataError
from modelyard.policy import Data, Evaluate, Policy
from modelyard.project import RAW, Project

Make = Callable[..., Project]
_numbers = itertools.count()


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A project whose ``load`` has the given body."""

    def build(body: str = "return None", *, holdout: int = 7, **data: Any) -> Project:
        package = f"dataset_case_{next(_numbers)}"  # imported modules outlive a test
        folder = tmp_path / "src" / package
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
        lines = "\n".join(f"    {line}" for line in body.splitlines())
        (folder / "data.py").write_text(f"import pandas as pd\n\ndef load(start, end):\n{lines}\n")
        monkeypatch.setattr(sys, "path", [*sys.path])
        settings = Data(**{"start": date(2013, 1, 1), "time": "at", "label": "y", **data})
        policy = Policy(name="x", package=package, task="binary", data=settings, evaluate=Evaluate(metric="roc_auc", holdout_days=holdout))
        return Project(tmp_path, policy)

    return build


def write(project: Project, name: str, start: str, periods: int, freq: str = "12h") -> pd.DataFrame:
    frame = pd.DataFrame({"at": pd.date_range(start, periods=periods, freq=freq), "y": 1.0})
    (project.root / RAW).mkdir(parents=True, exist_ok=True)
    frame.to_parquet(project.root / RAW / f"{name}.parquet", index=False)
    return frame


def names(data: Data, until: datetime) -> list[str]:
    return [period.name for period in dataset.complete_periods(data, until)]


def test_a_period_is_complete_at_its_end() -> None:
    """A month is taken from the first moment of the next one on, not before."""
    data = Data(start=date(2012, 12, 1), time="at", label="y")

    assert names(data, datetime(2013, 1, 31, 23, 59)) == ["2012-12"]
    assert names(data, datetime(2013, 2, 1)) == ["2012-12", "2013-01"]
    assert names(data, datetime(2012, 12, 31)) == []


def test_labels_are_waited_for() -> None:
    """``delay_days`` moves the moment at which a period is taken."""
    data = Data(start=date(2013, 1, 1), time="at", label="y", delay_days=3)

    assert names(data, datetime(2013, 2, 3, 23)) == []
    assert names(data, datetime(2013, 2, 4)) == ["2013-01"]


@pytest.mark.parametrize(
    ("period", "first", "count"),
    [("month", "2012-02", 13), ("week", "2012-W07", 54), ("day", "2012-02-15", 366)],
)
def test_periods_follow_each_other(period: Any, first: str, count: int) -> None:
    """Periods of every kind are a partition of time, over a leap day and the turn of the year, and their names lead back to them."""
    data = Data(start=date(2012, 2, 15), time="at", label="y", period=period)
    periods = list(dataset.complete_periods(data, datetime(2013, 3, 1)))[:count]

    assert periods[0].name == first
    assert all(a.end == b.start for a, b in itertools.pairwise(periods))
    assert [dataset.named(data, p.name) for p in periods] == periods
    assert len({p.name for p in periods}) == len(periods)


@pytest.mark.parametrize(("period", "name"), [("month", "2013-13"), ("month", "data"), ("week", "2013-W60"), ("day", "2013-02-30")])
def test_a_file_of_another_name_is_refused(period: Any, name: str) -> None:
    """What is not named after a period is not guessed at."""
    with pytest.raises(DataError, match="not named after a"):
        dataset.named(Data(start=date(2013, 1, 1), time="at", label="y", period=period), name)


def test_files_are_read_in_order(make: Make) -> None:
    """Reading gives the rows of the asked span, end excluded, oldest file first."""
    project = make()
    second = write(project, "2013-02", "2013-02-01", 56)
    first = write(project, "2013-01", "2013-01-01", 62)

    assert [p.name for p in dataset.on_disk(project)] == ["2013-01", "2013-02"]
    pd.testing.assert_frame_equal(dataset.read(project), pd.concat([first, second], ignore_index=True))
    part = dataset.read(project, datetime(2013, 1, 31), datetime(2013, 2, 1, 12))
    assert list(part["at"]) == list(pd.date_range("2013-01-31", periods=3, freq="12h"))


def test_no_data_says_how_to_get_some(make: Make) -> None:
    """An empty folder is told with the commands that fill it."""
    with pytest.raises(DataError, match="no data") as error:
        dataset.read(make())

    assert "modelyard ingest" in error.value.fix


def test_an_unreadable_file_is_named(make: Make) -> None:
    """A broken file is told by its path."""
    project = make()
    write(project, "2013-01", "2013-01-01", 5)
    (project.root / RAW / "2013-01.parquet").write_bytes(b"PAR1 rubbish")
    with pytest.raises(DataError, match=r"data/raw/2013-01\.parquet cannot be read"):
        dataset.read(project)


def test_the_holdout_is_the_last_days_of_the_last_period(make: Make) -> None:
    """The cut follows from the files alone, even where the last days hold no rows."""
    project = make(holdout=21)
    write(project, "2013-01", "2013-01-01", 62)
    write(project, "2013-02", "2013-02-01", 40)  # ends on the 20th
    split = dataset.split(project)

    assert (split.start, split.end) == (datetime(2013, 2, 8), datetime(2013, 3, 1))
    assert split.train["at"].max() < split.start <= split.holdout["at"].min()
    assert len(split.train) + len(split.holdout) == 102


def test_a_holdout_that_takes_all_is_refused(make: Make) -> None:
    """Nothing to train on is an error that names the setting."""
    project = make(holdout=40)
    write(project, "2013-01", "2013-01-01", 62)
    with pytest.raises(DataError, match="hold-out of 40 days"):
        dataset.split(project)


GOOD = 'return pd.DataFrame({"at": pd.date_range(start, end, inclusive="left"), "y": 1.0})'


def test_load_gives_the_project_s_rows(make: Make) -> None:
    """The project's function is asked for the span, and answers."""
    assert len(dataset.load(make(GOOD), datetime(2013, 1, 1), datetime(2013, 1, 8))) == 7


BROKEN = {
    "raises": ('raise OSError("no route to host")', "OSError: no route to host"),
    "no frame": ("return []", "returned list, not a pandas DataFrame"),
    "nothing": ("return None", "returned NoneType"),
    "no label": (GOOD.replace('"y"', '"z"'), "no column 'y'"),
    "no time": (GOOD.replace('"at"', '"when"'), "no column 'at'"),
    "text for time": ('return pd.DataFrame({"at": ["2013-01-01"], "y": 1.0})', "not times without a zone"),
    "a zone": (GOOD.replace("left", 'left", tz="UTC'), "not times without a zone"),
    "the end too": (GOOD.replace(', inclusive="left"', ""), "returned 1 rows outside"),
    "a missing time": ('return pd.DataFrame({"at": [start, pd.NaT], "y": 1.0})', "returned 1 rows outside"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_load_is_held_to_its_promise(make: Make, case: str) -> None:
    """What ``load`` must not return is told in a sentence that names the call."""
    body, words = BROKEN[case]
    with pytest.raises(DataError) as error:
        dataset.load(make(body), datetime(2013, 1, 1), datetime(2013, 1, 8))

    assert words in error.value.what
    assert "data.load(2013-01-01, 2013-01-08)" in error.value.what
