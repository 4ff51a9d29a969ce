"""The prediction log as it is read and compacted: no row twice, none lost, whatever happens on the way."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from unit.answers import MOMENT, answer, written
from unit.test_serve_log import answers

from modelyard import predictionlog, served
from modelyard.errors import DataError, UsageError
from modelyard.monitor import table as tables
from modelyard.predictionlog import row_ids
from modelyard.serve.log import Answer, encode

KEY = ["served_request", "served_row"]


def logged(folder: Path, files: int = 3, each: int = 50) -> list[str]:
    """Answers over three days in several files; the names of their rows."""
    for file in range(files):
        numbers = range(file * each, (file + 1) * each)
        written(folder, *(answer(i, time=MOMENT + timedelta(hours=i % 72), ids=[f"{i}/a", f"{i}/b"]) for i in numbers), worker=file)
    return sorted(f"{i}/{row}" for i in range(files * each) for row in "ab")


def ids(folder: Path) -> list[str]:
    return sorted(predictionlog.read(folder).table["served_id"].to_pylist())


def test_a_row_of_an_answer_is_a_row(tmp_path: Path) -> None:
    """With the answer's fields, its own features, id and prediction."""
    written(
        tmp_path,
        answer(1, ids=["a", "b"], seconds=0.002),
        answer(2, columns={"x": [3.0], "at": np.array(["2013-03-04"], "datetime64[D]")}, predictions=[1.0]),
    )

    found = predictionlog.read(tmp_path).table.to_pandas()

    moment = pd.Timestamp(MOMENT).as_unit("us")
    same = {"served_time": moment, "served_role": "champion", "served_version": "7", "served_sha256": "c" * 64}
    rows: list[dict[str, Any]] = [
        {
            "served_request": "r1",
            "served_row": 0,
            "served_id": "a",
            "served_seconds": 0.002,
            "x": 1.5,
            "group": "a",
            "served_prediction": 0.25,
        },
        {"served_request": "r1", "served_row": 1, "served_id": "b", "served_seconds": 0.002, "x": -2.0, "served_prediction": 0.75},
        {"served_request": "r2", "served_row": 0, "x": 3.0, "at": pd.Timestamp("2013-03-04"), "served_prediction": 1.0},
    ]
    pd.testing.assert_frame_equal(found, pd.DataFrame([same | row for row in rows])[found.columns], check_dtype=False)


@given(given=answers())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_what_was_put_is_what_is_read(given: Answer, tmp_path: Path) -> None:
    """Through the log and through Parquet."""
    if any(name.startswith("served_") for name in given.columns):
        return
    path = tmp_path / "any.jsonl"
    path.write_bytes(encode(given))

    table, damaged = predictionlog.lines(path, path.name)
    pq.write_table(table, tmp_path / "any.parquet")

    assert damaged == []
    for said in (table, pq.read_table(tmp_path / "any.parquet")):
        assert said["served_time"].to_pylist() == [given.time] * len(given.predictions)
        assert said["served_id"].to_pylist() == (given.ids or [None] * len(given.predictions))
        assert said["served_prediction"].to_pylist() == given.predictions.tolist()
        for name, values in given.columns.items():
            dtype = values.dtype
            back = [np.nan if value is None and dtype.kind == "f" else value for value in said[name].to_pylist()]
            np.testing.assert_array_equal(np.array(back, dtype), values)


def test_a_compaction_holds_each_row_once_by_day(tmp_path: Path) -> None:
    """Rows and types are those of the log; a second run finds nothing new; a third takes only what came since."""
    log, to = tmp_path / "log", tmp_path / "parquet"
    names = logged(log)

    outcome = served.compact(log, to)

    assert outcome.summary == f"**served compact**: 300 rows of 3 log files went to 4 Parquet files in {to}."
    assert (outcome.exit_code, outcome.outputs) == (0, {"rows": "300", "files": "3", "damaged": "0"})
    assert ids(to) == names
    pd.testing.assert_frame_equal(
        predictionlog.read(to).table.to_pandas().sort_values(KEY, ignore_index=True),
        predictionlog.read(log).table.to_pandas().sort_values(KEY, ignore_index=True),
    )
    for path in to.glob("served_day=*/*.parquet"):
        days = {str(moment.date()) for moment in pq.ParquetFile(path).read()["served_time"].to_pylist()}
        assert days == {path.parent.name.removeprefix("served_day=")}
    assert served.compact(log, to).summary == "**served compact**: no log file is new."
    written(log, answer(999, ids=["new/a", "new/b"]))
    assert served.compact(log, to).outputs["rows"] == "2"
    assert ids(to) == sorted([*names, "new/a", "new/b"])


def test_any_reader_of_parquet_can_read_a_compaction(tmp_path: Path) -> None:
    """By pandas as one table with the day; by monitor as any table."""
    logged(tmp_path / "log")
    served.compact(tmp_path / "log", tmp_path / "parquet")

    assert len(pd.read_parquet(tmp_path / "parquet")) == 300
    assert tables.open(tmp_path / "parquet").rows == 300


def test_files_that_are_still_written_wait(tmp_path: Path) -> None:
    """They are told, and taken once they are closed; folders below are looked into."""
    log, to = tmp_path / "log", tmp_path / "parquet"
    written(log / "pod-1", answer(1, ids=["a", "b"]))
    (log / "open.jsonl.part").write_bytes(encode(answer(2, ids=["c", "d"])) + b'{"form')

    assert "1 files are still written, and wait." in served.compact(log, to).summary
    assert ids(to) == ["a", "b"]
    assert predictionlog.read(log).open_files == 1
    (log / "open.jsonl.part").write_bytes(encode(answer(2, ids=["c", "d"])))
    (log / "open.jsonl.part").rename(log / "open.jsonl")
    served.compact(log, to)
    assert ids(to) == ["a", "b", "c", "d"]


GOOD = json.loads(encode(answer(1, ids=["a", "b"])))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"format": 1, "ti', "Invalid JSON"),
        (b"\0" * 100, "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"", "Invalid JSON"),
        (b"[" * 10_000, "Invalid JSON"),
        (b"null", "Input should be an object"),
        (GOOD | {"format": 2}, "format: Input should be 1"),
        (GOOD | {"role": "king"}, "role: Input should be 'champion', 'shadow' or 'fallback'"),
        (GOOD | {"time": "2013-03-04T05:30:00"}, "time: Input should have timezone info"),
        (GOOD | {"predictions": [0.5]}, "differ in length"),
        (GOOD | {"predictions": []}, "predictions: List should have at least 1 item"),
        (GOOD | {"ids": ["a"]}, "differ in length"),
        (GOOD | {"columns": {"x": [1.0]}}, "differ in length"),
        (GOOD | {"columns": {"served_time": [1, 2]}}, "as only the log's own are"),
        (GOOD | {"times": ["x"]}, "no ISO time without a zone"),
        (GOOD | {"times": ["gone"]}, "no ISO time without a zone"),
        (GOOD | {"more": 1}, "more: Extra inputs are not permitted"),
        ({name: value for name, value in GOOD.items() if name != "sha256"}, "sha256: Field required"),
    ],
)
def test_a_damaged_line_is_counted_and_named(tmp_path: Path, line: Any, reason: str) -> None:
    """By file and line, without a value of it; the lines around it count."""
    raw = line if isinstance(line, bytes) else json.dumps(line).encode()
    log = tmp_path / "log"
    log.mkdir()
    (log / "a.jsonl").write_bytes(encode(answer(1, ids=["a", "b"])) + raw + b"\n" + encode(answer(2, ids=["c", "d"])))

    outcome = served.compact(log, tmp_path / "parquet")

    assert ids(tmp_path / "parquet") == ids(log) == ["a", "b", "c", "d"]
    (damage,) = predictionlog.read(log).damaged
    assert (damage.file, damage.line) == ("a.jsonl", 2)
    assert reason in damage.reason
    assert outcome.outputs["damaged"] == "1"
    assert outcome.problems[0].startswith("1 lines are damaged, and left out: a.jsonl, line 2: ")
    assert "king" not in outcome.summary


def test_a_log_of_nothing_but_damage_has_no_rows(tmp_path: Path) -> None:
    """And that is told; many damaged lines are not all named."""
    (tmp_path / "log").mkdir()
    (tmp_path / "log/a.jsonl").write_bytes(b"no\n" * 100)

    outcome = served.compact(tmp_path / "log", tmp_path / "parquet")

    assert outcome.summary.startswith("**served compact**: 0 rows of 1 log files went to 0 Parquet files")
    assert "100 lines are damaged" in outcome.summary
    assert "and 92 more" in outcome.summary
    assert predictionlog.read(tmp_path / "log").table.num_rows == 0
    assert predictionlog.read(tmp_path / "parquet").table.num_rows == 0


def test_models_of_other_features_share_a_log(tmp_path: Path) -> None:
    """What one lacks is null; what is whole here and not there is a number; what is a number here and a text there is text."""
    log, to = tmp_path / "log", tmp_path / "parquet"
    kinds: list[dict[str, Any]] = [
        {"x": [1, 2], "y": [1, None], "z": [True, False]},
        {"x": [1.5, 2.5], "z": [1.5, 2.5]},
        {"x": [None, None], "y": ["a", "b"]},
    ]
    for number, columns in enumerate(kinds):
        written(log, answer(number, columns={name: np.array(values, object) for name, values in columns.items()}))
    served.compact(log, to)

    for folder in (log, to):
        found = predictionlog.read(folder).table.sort_by([("served_request", "ascending"), ("served_row", "ascending")])
        assert found["x"].to_pylist() == [1.0, 2.0, 1.5, 2.5, None, None]
        assert found["y"].to_pylist() == ["1", None, None, None, "a", "b"]
        assert found["z"].to_pylist() == ["true", "false", "1.5", "2.5", None, None]


def test_rows_are_read_by_their_event_time_or_by_that_of_the_answer(tmp_path: Path) -> None:
    """Start included, end not; only the columns that are asked for."""
    at = np.array(["2013-03-01", "2013-03-02"], "datetime64[D]")
    written(
        tmp_path,
        answer(1, ids=["a", "b"], columns={"at": at}),
        answer(2, ids=["c", "d"], columns={"x": [1, 2]}, time=MOMENT + timedelta(days=1)),
    )

    def read(column: str, start: int, end: int) -> list[str]:
        found = predictionlog.read(tmp_path, ["served_id", "x"], (column, datetime(2013, 3, start), datetime(2013, 3, end)))
        assert found.table.column_names == ["served_id", "x"]
        ids: list[str] = found.table["served_id"].to_pylist()
        return ids

    assert read("at", 1, 2) == ["a"]
    assert read("at", 2, 3) == ["b"]
    assert read("gone", 4, 5) == ["a", "b"]
    assert read("x", 5, 6) == ["c", "d"]  # no column of times


COMPACT = """
import sys
from pathlib import Path
from modelyard import served
print(served.compact(Path(sys.argv[1]), Path(sys.argv[2]), remove=len(sys.argv) > 3).outputs.get("rows", "another"), flush=True)
"""


def start(*args: object) -> subprocess.Popen[str]:
    tests = Path(__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-c", COMPACT, *map(str, args)], env={**os.environ, "PYTHONPATH": str(tests)}, stdout=subprocess.PIPE, text=True
    )


def test_a_compaction_that_is_killed_is_continued(tmp_path: Path) -> None:
    """Killed at any moment, again and again, while log files are deleted once they are in Parquet: each row is there, once."""
    log, to = tmp_path / "log", tmp_path / "parquet"
    names = logged(log, files=6, each=400)
    draw = random.Random(0)
    killed = 0
    for _ in range(6):
        process = start(log, to, "remove")
        while not (to / "_compaction/plan.json").exists() and process.poll() is None:
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.25))
        process.send_signal(signal.SIGKILL)
        killed += process.wait(20) == -signal.SIGKILL

    served.compact(log, to, remove=True)

    assert killed > 2
    assert ids(to) == names
    assert list(log.glob("*.jsonl")) == []
    assert list(to.rglob("*.draft")) == []


class KilledError(Exception):
    pass


def killed_before(step: int, log: Path, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compaction that ends before it lets its file number ``step`` appear."""
    settle, done = served._settle, []

    def killed(draft: Path, path: Path) -> None:
        if len(done) == step:
            raise KilledError
        done.append(path)
        settle(draft, path)

    with monkeypatch.context() as patch:
        patch.setattr(served, "_settle", killed)
        with pytest.raises(KilledError):
            served.compact(log, to)


@pytest.mark.parametrize("step", range(6))
def test_a_compaction_that_ends_between_any_two_steps_is_continued(tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before each file that it lets appear: the plan, four days, the record of what is done. New files that came since are taken too."""
    log, to = tmp_path / "log", tmp_path / "parquet"
    names = logged(log)
    killed_before(step, log, to, monkeypatch)
    written(log, answer(999, ids=["new/a", "new/b"]))

    served.compact(log, to, remove=True)

    assert ids(to) == sorted([*names, "new/a", "new/b"])
    assert list(log.glob("*.jsonl")) == []
    assert list(to.rglob("*.draft")) == []


def test_two_compactions_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    """One of them works, the others say so; or they follow each other."""
    log, to = tmp_path / "log", tmp_path / "parquet"
    names = logged(log, files=4, each=300)

    processes = [start(log, to) for _ in range(4)]
    said = [process.communicate(timeout=60)[0].strip() for process in processes]

    assert [process.returncode for process in processes] == [0] * 4
    assert said.count("2400") == 1
    assert set(said) <= {"2400", "0", "another"}
    assert ids(to) == names


def test_a_second_compaction_beside_one_that_works_says_so(tmp_path: Path) -> None:
    """And does nothing."""
    logged(tmp_path / "log")
    with served._alone(tmp_path / "parquet"):
        outcome = served.compact(tmp_path / "log", tmp_path / "parquet")

    assert "another compaction" in outcome.summary
    assert outcome.exit_code == 0
    assert list((tmp_path / "parquet").glob("served_day=*")) == []


def test_a_log_file_that_was_deleted_in_between_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed compaction had planned it; where all are gone, the folder is another one."""
    log, to = tmp_path / "log", tmp_path / "parquet"
    logged(log)
    with monkeypatch.context() as patch:
        patch.setattr(served, "_carry_out", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            served.compact(log, to)
    (tmp_path / "other").mkdir()
    first, *_ = sorted(log.glob("*.jsonl"))
    first.unlink()

    with pytest.raises(DataError, match="Name the folder that it was of"):
        served.compact(tmp_path / "other", to)
    outcome = served.compact(log, to)

    assert f"1 log files were deleted before they were read: {first.name}." in outcome.problems
    assert len(ids(to)) == 200


def test_what_is_in_parquet_stays_though_its_log_file_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day that a killed compaction had written is not written anew from less."""
    log, to = tmp_path / "log", tmp_path / "parquet"
    names = logged(log)
    killed_before(5, log, to, monkeypatch)
    next(log.glob("*.jsonl")).unlink()

    served.compact(log, to)

    assert ids(to) == names


def test_a_plan_that_is_damaged_is_not_guessed(tmp_path: Path) -> None:
    """What it had taken cannot be known."""
    logged(tmp_path / "log")
    (tmp_path / "parquet/_compaction").mkdir(parents=True)
    (tmp_path / "parquet/_compaction/plan.json").write_text("{")

    with pytest.raises(DataError, match=r"plan\.json is damaged"):
        served.compact(tmp_path / "log", tmp_path / "parquet")


def test_a_parquet_file_that_is_damaged_is_named(tmp_path: Path) -> None:
    """In words."""
    logged(tmp_path / "log")
    served.compact(tmp_path / "log", tmp_path / "parquet")
    path = next((tmp_path / "parquet").glob("served_day=*/*.parquet"))
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(DataError, match=path.name):
        predictionlog.read(tmp_path / "parquet")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Both by the reader and by the command."""
    with pytest.raises(DataError, match="There is no folder"):
        predictionlog.read(tmp_path / "gone")
    with pytest.raises(UsageError, match="There is no folder"):
        served.compact(tmp_path / "gone", tmp_path / "parquet")


def test_the_command_compacts(tmp_path: Path) -> None:
    """As it is typed."""
    logged(tmp_path / "log")
    done = CliRunner().invoke(served.command, ["compact", str(tmp_path / "log"), "--to", str(tmp_path / "parquet")], standalone_mode=False)

    assert done.return_value.outputs["rows"] == "300"


def test_the_name_of_a_row_is_what_a_caller_would_write() -> None:
    """Times as ISO, whole numbers without a point, one column as it is."""
    frame = pd.DataFrame(
        {
            "at": pd.to_datetime(["2013-04-01 05:30:00.00", "2013-04-01 05:30:00.25"]),
            "carrier": ["UA", "B6"],
            "flight": [1545, 7],
            "leg": [1.0, 2.5],
        }
    )

    assert row_ids(frame, ["at", "carrier", "flight", "leg"]) == ["2013-04-01T05:30:00/UA/1545/1", "2013-04-01T05:30:00.250000/B6/7/2.5"]
    assert row_ids(frame, ["flight"]) == ["1545", "7"]
    with pytest.raises(DataError, match=r"monitor\.row_id names 'gone'"):
        row_ids(frame, ["gone"])
