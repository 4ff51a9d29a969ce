"""The prediction log as it is written: nothing is lost in silence, and a reader of closed files never sees half a line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from unit.answers import MOMENT, answer, lines, wait_for, written

from modelyard.serve import log as logs
from modelyard.serve.contract import Log
from modelyard.serve.log import Answer, PredictionLog, encode, is_sampled

#: Runs a writer in a process of its own; its arguments are the folder, the worker and the number of answers (0: until it is killed).
WRITER = """
import sys
from itertools import count
from pathlib import Path
from time import sleep
from unit.answers import answer
from modelyard.serve.contract import Log
from modelyard.serve.log import PredictionLog

folder, worker, number = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
log = PredictionLog(folder, Log(file_mb=0.05), worker)
for i in range(number) if number else count():
    log.put(answer(i, request_id=f"w{worker}-{i}"))
    if i % 100 == 99:
        sleep(0.005)
if worker % 2:
    log.close()  # the others leave it to the end of the process
else:
    sys.exit()
"""


def start(code: str, *args: object) -> subprocess.Popen[str]:
    tests = Path(__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        env={**os.environ, "PYTHONPATH": str(tests)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_line_is_an_answer(tmp_path: Path) -> None:
    """The fields of the documented format, times as ISO in UTC, missing values as null."""
    given = answer(
        columns={"x": [1.5, np.nan], "at": np.array(["2013-03-04T05:30", "NaT"], "datetime64[s]"), "group": ["a", None]},
        ids=["a/1", "a/2"],
        time=datetime(2013, 3, 4, 6, 30, 0, 5, tzinfo=timezone(timedelta(hours=1))),
        seconds=0.001,
    )

    log = written(tmp_path, given)

    assert lines(tmp_path) == [
        {
            "format": 1,
            "time": "2013-03-04T05:30:00.000005Z",
            "request_id": "r0",
            "ids": ["a/1", "a/2"],
            "version": "7",
            "sha256": "c" * 64,
            "role": "champion",
            "seconds": 0.001,
            "times": ["at"],
            "columns": {"x": [1.5, None], "at": ["2013-03-04T05:30:00", None], "group": ["a", None]},
            "predictions": [0.25, 0.75],
        }
    ]
    assert (log.written, log.lost, log.problem) == (1, 0, "")


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """Any answer that a service can give."""
    rows = draw(st.integers(1, 4))
    kinds = [
        arrays.arrays(np.float64, rows, elements=st.floats(allow_infinity=False)),
        arrays.arrays(np.float32, rows, elements=st.floats(width=32, allow_infinity=False)),
        arrays.arrays(np.int64, rows),
        arrays.arrays(np.bool_, rows),
        st.lists(st.datetimes() | st.none(), min_size=rows, max_size=rows).map(lambda values: np.array(values, "datetime64[us]")),
        st.lists(TEXTS | st.none(), min_size=rows, max_size=rows).map(lambda values: np.array(values, dtype=object)),
    ]
    return Answer(
        time=draw(st.datetimes(timezones=st.just(UTC))),
        request_id=draw(TEXTS),
        ids=draw(st.none() | st.lists(TEXTS, min_size=rows, max_size=rows)),
        columns=draw(st.dictionaries(TEXTS, st.one_of(kinds), max_size=6)),
        predictions=draw(arrays.arrays(np.float64, rows, elements=st.floats(allow_nan=False, allow_infinity=False))),
        role=draw(st.sampled_from(["champion", "shadow", "fallback"])),
        version=draw(TEXTS),
        sha256=draw(TEXTS),
        seconds=draw(st.none() | st.floats(0, 100)),
    )


@given(given=answers())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_put_is_what_is_read(given: Answer) -> None:
    """Every value comes back as it was, bit by bit, also a float32."""
    raw = encode(given)
    said = json.loads(raw)

    assert raw.count(b"\n") == 1
    assert datetime.fromisoformat(said["time"]) == given.time
    assert [said[name] for name in ("request_id", "ids", "role", "version", "sha256", "seconds")] == [
        getattr(given, name) for name in ("request_id", "ids", "role", "version", "sha256", "seconds")
    ]
    assert np.array(said["predictions"]).tolist() == given.predictions.tolist()
    assert said["columns"].keys() == given.columns.keys()
    for name, values in given.columns.items():
        back = [np.nan if value is None and values.dtype.kind == "f" else value for value in said["columns"][name]]
        np.testing.assert_array_equal(np.array(back, values.dtype), values)
        assert (name in said["times"]) == (values.dtype.kind == "M")


def test_a_float32_is_written_by_its_shortest_digits() -> None:
    """So that monitor finds 0.1 where the training data say 0.1."""
    assert b'"x":[0.1,29.94]' in encode(answer(columns={"x": np.array([0.1, 29.94], np.float32)}))


def test_ten_thousand_answers_of_four_workers_are_all_found_again(tmp_path: Path) -> None:
    """Each exactly once, from one folder; no file is left open."""
    workers = [start(WRITER, tmp_path, worker, 2500) for worker in range(4)]
    assert [worker.wait(60) for worker in workers] == [0] * 4

    found = [line["request_id"] for line in lines(tmp_path)]

    assert len(found) == 10_000
    assert set(found) == {f"w{worker}-{i}" for worker in range(4) for i in range(2500)}
    assert list(tmp_path.glob("*.part")) == []
    assert len(list(tmp_path.glob("*.jsonl"))) > 8  # none grows far beyond its size


def test_a_killed_worker_leaves_a_part_that_the_next_start_takes_up(tmp_path: Path) -> None:
    """After kill -9 all lines up to the last written one are there, whole and in order; then nothing is a part any more."""
    worker = start(WRITER, tmp_path, 0, 0)
    wait_for(lambda: list(tmp_path.glob("*.jsonl")))
    parts: list[Path] = []
    while not parts:  # else it is between two files
        worker.send_signal(signal.SIGCONT)
        time.sleep(0.01)
        worker.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, worker.pid, os.WSTOPPED)
        parts = [part for part in tmp_path.glob("*.part") if part.stat().st_size]
    worker.send_signal(signal.SIGKILL)
    worker.wait(20)
    before, (part,) = [line["request_id"] for line in lines(tmp_path)], parts

    written(tmp_path, worker=1)

    found = [line["request_id"] for line in lines(tmp_path)]
    assert found == [f"w0-{i}" for i in range(len(found))]
    assert len(found) > len(before)
    assert [path.name for path in tmp_path.glob(f"{part.stem}*")] == [part.stem]


def test_an_unfinished_last_line_is_cut_off_and_counted(tmp_path: Path) -> None:
    """What a crash tore apart is not a line; a part that holds nothing else goes."""
    whole = encode(answer(1)) + encode(answer(2))
    (tmp_path / "20130304T053000.000000Z-w0-aaaa.jsonl.part").write_bytes(whole + encode(answer(3))[:-20])
    (tmp_path / "20130304T053001.000000Z-w1-aaaa.jsonl.part").write_bytes(encode(answer(4, predictions=[0.5] * 50_000))[:-1])
    (tmp_path / "20130304T053002.000000Z-w2-aaaa.jsonl.part").write_bytes(whole)

    log = written(tmp_path)

    assert (log.torn, log.problem) == (2, "")
    assert [path.name for path in sorted(tmp_path.iterdir())] == [f"20130304T05300{i}.000000Z-w{i}-aaaa.jsonl" for i in (0, 2)]
    assert [line["request_id"] for line in lines(tmp_path)] == ["r1", "r2"] * 2


def test_the_part_of_a_worker_that_lives_is_left_alone(tmp_path: Path) -> None:
    """Workers start at any time, beside others."""
    log = PredictionLog(tmp_path, Log(), 0)
    log.put(answer(1))
    wait_for(lambda: log.written)

    other = written(tmp_path, answer(2), worker=1)

    assert other.written == 1
    assert len(list(tmp_path.glob("*.part"))) == 1
    log.put(answer(3))
    log.close()
    assert sorted(line["request_id"] for line in lines(tmp_path)) == ["r1", "r2", "r3"]


def test_a_file_is_closed_by_its_size_and_by_its_age(tmp_path: Path) -> None:
    """Closed ones can be read while the next one is written."""
    log = PredictionLog(tmp_path / "age", Log(file_minutes=0.001), 0)
    for number in (1, 2):
        log.put(answer(number))
        wait_for(lambda number=number: len(list((tmp_path / "age").glob("*.jsonl"))) == number)
    log.close()
    large = {"x": [0.123456789] * 1000}
    written(tmp_path / "size", *(answer(i, columns=large, predictions=[0.5] * 1000) for i in range(40)), file_mb=0.1)

    assert [line["request_id"] for line in lines(tmp_path / "age")] == ["r1", "r2"]
    assert [line["request_id"] for line in lines(tmp_path / "size")] == [f"r{i}" for i in range(40)]
    assert len(list((tmp_path / "size").glob("*.jsonl"))) > 1


def test_a_full_queue_loses_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk takes nothing, and no room is left to wait, each answer too many is counted; a refused folder raises nothing."""
    monkeypatch.setattr(logs, "MOST_BYTES", 100 * len(encode(answer(100))))
    (tmp_path / "file").write_text("in the way")
    log = PredictionLog(tmp_path / "file" / "log", Log(), 0)
    for number in range(100, 400):
        log.put(answer(number))
    lost = log.lost
    log.close()
    log.put(answer())

    assert 100 <= lost <= 200  # one lot waits, and the writer holds another one
    assert (log.written, log.lost) == (0, 301)
    assert log.problem == "Not a directory"


def test_an_answer_larger_than_all_room_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing else waits."""
    monkeypatch.setattr(logs, "MOST_BYTES", 10)

    assert written(tmp_path / "log", answer()).written == 1


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 1 MB."""
    with tempfile.TemporaryDirectory() as name:
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", name], capture_output=True, check=False)
        if made.returncode:
            pytest.skip("no disk can be mounted here (not root): the limit of a process stands in for it")
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "--lazy", name], check=False)


def fill(file: IO[bytes]) -> None:
    while True:
        file.write(bytes(4096))


def test_a_full_disk_loses_nothing_once_there_is_room_again(small_disk: Path) -> None:
    """What was refused waits and is written; each line is whole."""
    folder, filler = small_disk / "log", small_disk / "filler"
    log = PredictionLog(folder, Log(), 0)
    log.put(answer(0))
    wait_for(lambda: log.written)
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        fill(file)
    for number in range(1, 2000):
        log.put(answer(number))
    wait_for(lambda: log.problem == "No space left on device")
    filler.unlink()
    wait_for(lambda: log.written == 2000)
    log.close()

    assert (log.lost, log.problem) == (0, "")
    assert [line["request_id"] for line in lines(folder)] == [f"r{i}" for i in range(2000)]


def test_a_disk_that_stays_full_costs_answers_and_counts_them(small_disk: Path) -> None:
    """What stands there is whole; what does not is counted, and the disk holds no half line."""
    folder = small_disk / "log"
    log = written(folder, *(answer(i) for i in range(9000)))

    found = [line["request_id"] for line in lines(folder)]
    assert found == [f"r{i}" for i in range(log.written)]
    assert log.written > 1000
    assert log.written + log.lost == 9000
    assert list(folder.glob("*.part")) == []


LIMITED = """
import resource, signal, sys
from pathlib import Path
from unit.answers import answer, lines, wait_for
from modelyard.serve.contract import Log
from modelyard.serve.log import PredictionLog

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = PredictionLog(Path(sys.argv[1]), Log(), 0)
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))  # a file takes three lines and a part of the fourth
for number in range(10):
    log.put(answer(number))
wait_for(lambda: log.problem)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
log.put(answer(10))
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
wait_for(lambda: log.written == 11)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
for number in range(11, 14):
    log.put(answer(number))
log.close()
print(log.written, log.lost, log.problem)
"""


def test_a_refused_write_is_tried_again(tmp_path: Path) -> None:
    """A line that was written in part is taken back and written anew; what is refused to the end is counted."""
    process = start(LIMITED, tmp_path)
    said, _ = process.communicate(timeout=60)

    assert (process.returncode, said) == (0, "11 3 File too large\n")
    assert [line["request_id"] for line in lines(tmp_path)] == [f"r{i}" for i in range(11)]
    assert list(tmp_path.glob("*.part")) == []


def test_a_folder_that_is_gone_is_made_again(tmp_path: Path) -> None:
    """The answers in it are gone too, and counted; the next ones are written."""
    folder = tmp_path / "log"
    log = PredictionLog(folder, Log(), 0)
    log.put(answer(1))
    wait_for(lambda: log.written)
    shutil.rmtree(folder)
    log.put(answer(2))
    wait_for(lambda: log.lost == 2)  # it went into the file that nobody can find
    log.put(answer(3))
    log.close()

    assert (log.written, log.lost) == (1, 2)
    assert [line["request_id"] for line in lines(folder)] == ["r3"]


def test_a_file_that_was_deleted_before_it_was_closed_is_counted(tmp_path: Path) -> None:
    """Also where nothing more comes."""
    log = PredictionLog(tmp_path, Log(), 0)
    log.put(answer(1))
    wait_for(lambda: log.written)
    for path in tmp_path.iterdir():
        path.unlink()
    log.close()

    assert (log.written, log.lost, log.problem) == (0, 1, "1 answers were deleted with their file")


def test_an_answer_that_is_no_json_does_not_end_the_log(tmp_path: Path) -> None:
    """It is counted; those around it are written."""

    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("I have no words")

    log = written(tmp_path, answer(1), answer(2, columns={"x": [Odd(), Odd()]}), answer(3))

    assert [line["request_id"] for line in lines(tmp_path)] == ["r1", "r3"]
    assert (log.written, log.lost) == (2, 1)


def test_a_redacted_column_is_not_written_at_all(tmp_path: Path) -> None:
    """Neither its values nor its name."""
    written(tmp_path, answer(columns={"x": [1.5, 2.5], "name": ["Ada", "Grace"]}), redact=["name"])

    (path,) = tmp_path.iterdir()
    assert not any(word in path.read_bytes() for word in (b"name", b"Ada", b"Grace"))
    assert lines(tmp_path)[0]["columns"] == {"x": [1.5, 2.5]}


def test_the_sample_goes_by_the_id_of_the_request(tmp_path: Path) -> None:
    """The same ids each time; about as many as are asked for; the smaller sample lies within the larger one; none of it is lost."""
    names = [f"r{i}" for i in range(5000)]
    few, more = ({name for name in names if is_sampled(name, share)} for share in (0.1, 0.3))
    log = written(tmp_path, *(answer(i) for i in range(5000)), sample=0.3)

    assert {line["request_id"] for line in lines(tmp_path)} == more
    assert log.lost == 0
    assert few < more
    assert 1300 < len(more) < 1700
    assert not any(is_sampled(name, 0) for name in names)
    assert all(is_sampled(name, 1) for name in names)


def test_the_log_needs_nothing_of_the_toolkit() -> None:
    """NumPy, pydantic and orjson only: it is copied into the image."""
    heavy = ("pandas", "pyarrow", "bentoml", "click", "modelyard.errors")
    code = f"import sys, modelyard.serve.log\nprint([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
    assert answer(time=MOMENT).time == MOMENT
