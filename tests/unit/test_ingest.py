"""``ingest``: each complete period that is missing."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from unit import mini_project

from modelyard import ingest
from modelyard.errors import DataError
from modelyard.project import RAW, Project


@pytest.fixture
def yard(tmp_path: Path) -> Project:
    return mini_project.yard(tmp_path)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def there(project: Project) -> list[str]:
    return sorted(path.name for path in (project.root / RAW).glob("2*"))


def test_only_complete_periods_are_taken(yard: Project) -> None:
    """A month is taken from its last moment on, with its pointer; the running one is not."""
    early = ingest.run(yard, at("2013-01-31T23:59"))
    outcome = ingest.run(yard, at("2013-03-15"))

    assert (early.verdict, early.outputs) == ("nothing new", {"periods": "", "rows": "0"})
    assert (outcome.verdict, outcome.outputs) == ("new", {"periods": "2013-01 2013-02", "rows": str(59 * 40)})
    assert there(yard) == ["2013-01.parquet", "2013-01.parquet.dvc", "2013-02.parquet", "2013-02.parquet.dvc"]
    assert len(pd.read_parquet(yard.root / RAW / "2013-02.parquet")) == 28 * 40


def test_a_second_run_changes_nothing(yard: Project) -> None:
    """Files keep their bytes; a file that is not on disk, but has a pointer, is not missing."""
    ingest.run(yard, at("2013-03-01"))
    before = {path.name: path.read_bytes() for path in (yard.root / RAW).iterdir()}
    again = ingest.run(yard, at("2013-03-01"))
    (yard.root / RAW / "2013-01.parquet").unlink()
    without = ingest.run(yard, at("2013-03-01"))

    assert again.verdict == without.verdict == "nothing new"
    del before["2013-01.parquet"]
    assert {path.name: path.read_bytes() for path in (yard.root / RAW).iterdir()} == before


def test_labels_are_waited_for(tmp_path: Path) -> None:
    """With delay_days, a month is complete so many days later."""
    project = mini_project.yard(tmp_path, data={"delay_days": 10})

    assert ingest.run(project, at("2013-02-10T23:59")).outputs["periods"] == ""
    assert ingest.run(project, at("2013-02-11")).outputs["periods"] == "2013-01"


def test_a_late_period_is_asked_for_again(yard: Project) -> None:
    """No rows yet: nothing is written, later periods are taken all the same, and the next run asks again."""
    data = yard.source / yard.policy.package / "data.py"
    text = data.read_text()
    data.write_text(
        text.replace(
            "    return frame.drop", "    if start.month == 1 and FAULT.exists():\n        return frame[:0]\n    return frame.drop"
        )
    )
    mini_project.fault(yard.root, share=1.0)

    late = ingest.run(yard, at("2013-03-01"))
    (yard.root / "fault.json").unlink()
    taken = ingest.run(yard, at("2013-03-01"))

    assert (late.outputs["periods"], late.problems) == ("2013-02", ("2013-01: the source has no rows yet.",))
    assert taken.outputs["periods"] == "2013-01"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("raise RuntimeError('the warehouse sleeps')", r"data\.load\(2013-01-01, 2013-02-01\) failed: RuntimeError: the warehouse sleeps"),
        ("return [1, 2]", "returned list, not a pandas DataFrame"),
        ("return None", "returned NoneType, not a pandas DataFrame"),
        ("return pd.DataFrame({'x': [1]})", "returned no column 'time'; it has x"),
        ("start = start - pd.Timedelta(days=2)", "returned 80 rows outside of the time asked for"),
        ("return pd.DataFrame({'time': ['2013-01-01'], 'late': [1.0]})", "not times without a zone"),
        (
            "return pd.DataFrame({'time': [start, start], 'late': [1.0, 0.0], 'x': [1, 'a']})",
            r"data\.load returned .* cannot be written as Parquet",
        ),
    ],
)
def test_a_load_that_breaks_its_promise_is_named(yard: Project, line: str, message: str) -> None:
    """It raises, returns something else, or rows nobody asked for: an error of the data that names it, and no file."""
    data = yard.source / yard.policy.package / "data.py"
    data.write_text(data.read_text().replace("    fault = json", f"    {line}\n    fault = json"))

    with pytest.raises(DataError, match=message):
        ingest.run(yard, at("2013-03-01"))

    assert there(yard) == []
    assert list((yard.root / ".modelyard").rglob("*.parquet")) == []


def test_a_killed_run_leaves_no_half_file(yard: Project) -> None:
    """Killed while a file is written, the next run finds nothing half-done and takes the period."""
    code = (
        "import os, pandas, sys\n"
        "def half(self, path, **_):\n"
        "    path.write_bytes(b'PAR1 half')\n"
        "    os.kill(os.getpid(), 9)\n"
        "pandas.DataFrame.to_parquet = half\n"
        "from modelyard import cli\n"
        "cli.main(['ingest', '--now', '2013-02-01'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=yard.root, capture_output=True, check=False)

    assert done.returncode == -9
    assert there(yard) == []
    assert ingest.run(yard, at("2013-02-01")).outputs["periods"] == "2013-01"


def test_a_run_killed_before_the_pointer_takes_the_period_again(yard: Project) -> None:
    """A file without a pointer is not the record: it is loaded anew."""
    (yard.root / RAW / "2013-01.parquet").write_bytes(b"of a killed run")

    assert ingest.run(yard, at("2013-02-01")).outputs["periods"] == "2013-01"
    assert len(pd.read_parquet(yard.root / RAW / "2013-01.parquet")) == 31 * 40
