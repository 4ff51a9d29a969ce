"""The champion's predictions of a batch: equal to the champion's own, resumable, bounded, and nothing is dropped in silence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit import mini_project

from modelyard import champion, cli, git, policy, predictions, registry, score, state, store
from modelyard.clock import parse
from modelyard.errors import DataError, ProjectError, UsageError
from modelyard.monitor import engine, table
from modelyard.outcome import Outcome
from modelyard.project import Project, load_object
from modelyard.score import output, request, rows
from modelyard.score.manifest import Manifest
from modelyard.serve.contract import Column, Contract
from modelyard.serve.request import InvalidError, Parser

NOW = parse("2013-05-03T05:30:00")
#: Rows from which on a file is read in two batches.
MANY = table.BATCH + 10
# Appended to the model's code, which is the champion's and the project's: it dies, or waits, as the environment says.
WHIMS = """
import os, signal, time
_calm, _calls = Model.predict, []

def _moody(self, batch):
    _calls.append(1)
    if len(_calls) == int(os.environ.get("DIE_AT", "0")):
        os.kill(os.getpid(), signal.SIGKILL)
    while os.path.exists(os.environ.get("HOLD", "")):
        time.sleep(0.05)
    return _calm(self, batch)

Model.predict = _moody
"""


def content(count: int, seed: int = 0) -> pd.DataFrame:
    """Rows with the request's column ``x``, the event time, two columns that tell rows apart, and the label."""
    draw = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "time": pd.Timestamp("2013-04-01") + pd.to_timedelta(np.arange(count), "s"),
            "x": draw.normal(size=count),
            "serial": np.arange(count) + 1000 * seed,
            "group": draw.choice(["a", "b"], count),
            "late": draw.integers(0, 2, count).astype(float),
        }
    )


def table_file(path: Path, frame: pd.DataFrame, **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path, index=False, **how)
    return path


def manifest(folder: Path) -> Manifest:
    return Manifest.model_validate_json((folder / output.MANIFEST).read_bytes())


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def whims(project: Project) -> None:
    """Give the champion a mood, in its own code and in the project's."""
    live = champion.load(project)
    assert live
    for root in (live.folder, project.root):
        path = root / "src" / project.policy.package / "model.py"
        path.write_text(path.read_text() + WHIMS)


def call(project: Project, *words: str, **env: str) -> subprocess.Popen[str]:
    """Start the command in a process of its own."""
    program = [str(Path(sys.executable).with_name("modelyard")), "score", *words, "--now", NOW.isoformat()]
    pipe = subprocess.PIPE
    return subprocess.Popen(program, cwd=project.root, env=os.environ | env, stdout=pipe, stderr=pipe, text=True)


# --- rows


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> champion.Champion:
    """A champion that predicts by ``x`` alone."""
    return mini_project.released(mini_project.make(tmp_path_factory.mktemp("mini")))


def test_predictions_are_the_champions(mini: champion.Champion) -> None:
    """Bit by bit what the champion says of the same rows, in every type in which they may lie."""
    frame = content(500)
    expected = predictions.of_champion(mini, frame)
    (x,) = request.columns(mini)

    assert x == Column(name="x", kind="number", minimum=-8, maximum=8)
    for kind in ("float64", "Float64", "object", "category"):
        found = rows.of_frame(mini, [x], frame.astype({"x": kind}))
        np.testing.assert_array_equal(found.predictions, expected)
        assert (found.refused, found.unseen, found.known.all()) == (Counter(), Counter(), True)


def test_what_a_row_must_hold_is_said_by_the_champions_schema(mini: champion.Champion) -> None:
    """Not by the working tree's, which may have moved on."""
    path = mini.project.source / mini.project.policy.package / "schema.py"
    text = path.read_text()
    path.write_text(text.replace('"max_value": 8', '"max_value": 0'))
    try:
        assert [column.maximum for column in request.columns(mini)] == [8]
    finally:
        path.write_text(text)


def test_a_schema_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """With the champion's commit, and the last words of its code."""
    live = mini_project.released(mini_project.make(tmp_path))
    (live.folder / "src" / live.project.policy.package / "schema.py").write_text("Batch = 1")

    with pytest.raises(ProjectError, match=r"champion's own code \(000000000000\).*is no pandera DataFrameModel"):
        request.columns(live)


KINDS = [
    Column(name="x", kind="number", minimum=-1, maximum=1),
    Column(name="free", kind="number", nullable=True, above=0, below=1),
    Column(name="whole", kind="integer", minimum=0),
    Column(name="gaps", kind="integer", nullable=True),
    Column(name="code", kind="text", pattern="^[A-Z]{2}$"),
    Column(name="known", kind="text", nullable=True, values=["a", "b"]),
    Column(name="flag", kind="boolean"),
    Column(name="maybe", kind="boolean", nullable=True),
    Column(name="at", kind="time"),
    Column(name="then", kind="time", nullable=True),
]
FLOATS = st.none() | st.sampled_from([-1.0, 0.0, 0.5, 1.0, 1.0000001, -3.0, 2.0**53, 2.0**54, 7.25]) | st.floats(-2, 2)
TEXTS = st.sampled_from([None, "AB", "ab", "AB\n", "ABC", "a", "b", "c", ""])
TIMES = st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))
VALUES = {"number": FLOATS, "integer": FLOATS, "text": TEXTS, "boolean": st.sampled_from([True, False, None]), "time": TIMES}
ARROW = {"number": pa.float64(), "integer": pa.float64(), "text": pa.string(), "boolean": pa.bool_(), "time": pa.timestamp("us")}


@settings(deadline=None, max_examples=150)
@given(st.lists(st.fixed_dictionaries({column.name: VALUES[column.kind] for column in KINDS}), min_size=1, max_size=8))
def test_a_row_is_refused_where_the_service_refuses_it(given_rows: list[dict[str, Any]]) -> None:
    """And a row that both take reaches the model with the same values in the same types."""
    contract = Contract(name="mini", task="binary", sha256="0" * 64, columns=KINDS)
    parser, seen, accepted = Parser(contract), [], []
    for row in given_rows:
        sent = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
        try:
            seen.append(parser.rows(json.dumps({"rows": [sent]}).encode()).columns)
            accepted.append(True)
        except InvalidError:
            accepted.append(False)
    arrays = [pa.array([row[column.name] for row in given_rows], ARROW[column.kind]) for column in KINDS]
    batch = pa.RecordBatch.from_arrays(arrays, [column.name for column in KINDS])
    model = _Recorder()
    found = rows.predict(model, KINDS, batch)  # type: ignore[arg-type]

    assert found.known.tolist() == accepted
    for place, columns in enumerate(seen):
        for name, values in columns.items():
            mine = model.frame[name].to_numpy()[[place]]
            assert mine.dtype == values.dtype or (values.dtype == object and model.frame[name].dtype == "str"), name
            assert pd.Series(mine).equals(pd.Series(values).astype(mine.dtype)), name


class _Recorder:
    """A champion that keeps the rows it is asked for."""

    def __init__(self) -> None:
        self.frame = pd.DataFrame()
        self.project = type("P", (), {"policy": type("Q", (), {"task": "regression"})})

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        self.frame = frame
        return np.zeros(len(frame))


def test_reasons_name_columns_and_rules() -> None:
    """Never a value; a row may have several, each is counted, and unseen texts are counted of rows that are predicted."""
    columns = [
        Column(name="x", kind="integer", minimum=0, maximum=5),
        Column(name="t", kind="text", pattern="^secret", values=["secret"]),
    ]
    batch = pa.RecordBatch.from_pydict({"x": [1.0, 9.0, 0.5, None, 2.0], "t": ["secret", "open", "secret", "secret 2", "secret 3"]})
    found = rows.predict(_Recorder(), columns, batch)  # type: ignore[arg-type]

    assert found.reasons.tolist() == ["", "x: above 5; t: does not match ^secret", "x: not a whole number", "x: missing", ""]
    assert found.refused == {"x: above 5": 1, "x: not a whole number": 1, "x: missing": 1, "t: does not match ^secret": 1}
    assert found.unseen == {"t": 1}
    assert np.isnan(found.predictions).tolist() == [False, True, True, True, False]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": None}, "column 'x' is missing"),
        ({"x": pa.array(["1.5"])}, "column 'x' is text, not a number"),
        ({"x": pa.array([True])}, "column 'x' is true or false, not a number"),
        ({"at": pa.array([datetime(2013, 1, 1)], pa.timestamp("us", "UTC"))}, "the times of column 'at' carry a zone"),
        ({"x": pa.array([{"a": 1}]), "at": None}, "column 'at' is missing; column 'x' is nested, not a number"),
    ],
)
def test_a_table_of_another_shape_is_refused(change: dict[str, Any], words: str) -> None:
    """Each column that is missing or of another type is named, and what a request holds."""
    columns = [Column(name="x", kind="number"), Column(name="at", kind="time")]
    arrays = {"x": pa.array([1.0]), "at": pa.array([datetime(2013, 1, 1)]), "other": pa.array([1])} | change
    held = pa.table({name: array for name, array in arrays.items() if array is not None})
    source = table.from_frame(held.to_pandas(types_mapper=pd.ArrowDtype))

    with pytest.raises(DataError) as raised:
        rows.fits(columns, source)
    assert words in raised.value.what
    assert raised.value.fix == "A request holds x, at."


# --- files


@pytest.fixture
def folder(succeeded: Project) -> Path:
    """Three files of which the second is read in two batches."""
    for number, count in enumerate((300, MANY, 200)):
        table_file(succeeded.root / f"in/{number}.parquet", content(count, seed=number))
    return succeeded.root / "in"


def scored(project: Project, given: Path | str, to: str = "out", **how: Any) -> Outcome:
    return score.run(project, NOW, table=str(given), to=project.root / to, **how)


def test_each_row_has_its_prediction(succeeded: Project, folder: Path) -> None:
    """In the input's order, with its position, time and what tells it apart; model and date are named; the label is not copied."""
    done = scored(succeeded, folder)
    live = champion.load(succeeded)
    assert live
    found = pd.read_parquet(succeeded.root / "out")  # passes the manifest over

    assert (done.verdict, done.positive, done.exit_code) == ("complete", True, 0)
    assert done.outputs["rows"] == done.outputs["scored"] == str(500 + MANY)
    assert done.outputs["refused"] == "0"
    names = ["input", "row", "time", "serial", "group", "prediction", "model", "version", "sha256", "scored_at"]
    assert found.columns.tolist() == names
    for number, count in enumerate((300, MANY, 200)):
        given, part = content(count, seed=number), found[found["input"] == f"{number}.parquet"].reset_index(drop=True)
        np.testing.assert_array_equal(part["prediction"], predictions.of_champion(live, given))
        assert part["row"].tolist() == list(range(count))
        pd.testing.assert_frame_equal(part[["time", "serial", "group"]], given[["time", "serial", "group"]], check_dtype=False)
    record = live.release.model
    assert {*zip(found["model"], found["version"], found["sha256"], strict=True)} == {("mini", "2", record.sha256)}
    assert set(found["scored_at"]) == {pd.Timestamp(NOW)}


def test_the_manifest_names_all_that_made_the_batch(succeeded: Project, folder: Path) -> None:
    """Inputs and outputs with their hashes and rows, model and commit; the same stands in reports."""
    scored(succeeded, folder)
    found = manifest(succeeded.root / "out")
    live = champion.load(succeeded)
    assert live

    assert (found.verdict, found.batch, found.source, found.rows, found.refused) == ("complete", "in", "in", 500 + MANY, 0)
    assert (found.model.version, found.model.sha256, found.model.commit) == ("2", live.release.model.sha256, live.release.code.commit)
    sums = {path.name: output.sha256(path) for path in folder.iterdir()}
    assert {each.name: (each.sha256, each.rows) for each in found.inputs} == {
        name: (sums[name], count) for name, count in zip(sorted(sums), (300, MANY, 200), strict=True)
    }
    assert {each.file: each.sha256 for each in found.outputs} == {
        f"{number}-00000.parquet": output.sha256(succeeded.root / f"out/{number}-00000.parquet") for number in range(3)
    }
    assert succeeded.report(score.REPORT).read_bytes() == (succeeded.root / "out" / output.MANIFEST).read_bytes()


def test_twice_does_nothing(succeeded: Project, folder: Path) -> None:
    """Even on another day no file is touched."""
    scored(succeeded, folder)
    before = {path: path.stat().st_mtime_ns for path in (succeeded.root / "out").rglob("*")}
    again = score.run(succeeded, parse("2014-01-01"), table=str(folder), to=succeeded.root / "out")

    assert (again.verdict, again.outputs["scored"]) == ("complete", "0")
    assert "nothing was scored again" in again.summary
    assert {path: path.stat().st_mtime_ns for path in (succeeded.root / "out").rglob("*")} == before


def test_only_what_changed_is_scored_again(succeeded: Project, folder: Path) -> None:
    """A file that changed is, one that is gone leaves no predictions behind, one that is damaged is made anew."""
    scored(succeeded, folder)
    out = succeeded.root / "out"
    before = files(out)
    table_file(folder / "0.parquet", content(310, seed=0))
    (folder / "2.parquet").unlink()
    (out / "1-00000.parquet").write_bytes(before["1-00000.parquet"][:1000])
    done = scored(succeeded, folder)

    assert done.outputs["scored"] == str(310 + MANY)
    assert set(files(out)) == {"0-00000.parquet", "1-00000.parquet", output.MANIFEST}
    assert files(out)["1-00000.parquet"] == before["1-00000.parquet"]
    assert [each.rows for each in manifest(out).inputs] == [310, MANY]


def test_another_model_scores_anew(succeeded: Project, folder: Path) -> None:
    """After a rollback on main, nothing of the other version is left."""
    scored(succeeded, folder)
    old = manifest(succeeded.root / "out")
    git.run("revert", "--no-edit", "-m", "1", "HEAD", cwd=succeeded.root)
    done = scored(succeeded, folder)

    assert (done.outputs["version"], done.outputs["scored"]) == ("1", str(500 + MANY))
    assert set(pd.read_parquet(succeeded.root / "out")["version"]) == {"1"}
    assert manifest(succeeded.root / "out").model.sha256 != old.model.sha256


def test_a_killed_run_is_continued(succeeded: Project, folder: Path) -> None:
    """Killed within the second file: its half is not there, the first is kept, and in the end all is as without the kill."""
    whims(succeeded)
    scored(succeeded, folder, to="whole")
    out = succeeded.root / "out"
    killed = call(succeeded, "in", "--to", "out", DIE_AT="3")
    assert killed.wait(60) == -9
    left = files(out)
    stamp = (out / "0-00000.parquet").stat().st_mtime_ns
    done = call(succeeded, "in", "--to", "out")
    said, _ = done.communicate(timeout=60)

    assert {name for name in left if not name.startswith(".")} == {"0-00000.parquet"}
    assert [name for name in left if name.startswith(".1-00000.parquet")]  # the draft
    assert done.returncode == 0
    assert f"{MANY + 200:,} rows were scored now." in said
    assert (out / "0-00000.parquet").stat().st_mtime_ns == stamp
    assert files(out) == files(succeeded.root / "whole")


def test_two_at_once_do_not_disturb_each_other(succeeded: Project, folder: Path, tmp_path: Path) -> None:
    """The second waits, and finds all done."""
    whims(succeeded)
    scored(succeeded, folder, to="whole")
    out, hold = succeeded.root / "out", tmp_path / "hold"
    hold.touch()
    first = call(succeeded, "in", "--to", "out", HOLD=str(hold))
    until = time.monotonic() + 60
    while not out.exists() and time.monotonic() < until:
        time.sleep(0.05)
    second = call(succeeded, "in", "--to", "out")
    assert second.stderr
    told = next(line for line in second.stderr if "Another run" in line or not line)
    hold.unlink()
    said = [process.communicate(timeout=90)[0] for process in (first, second)]

    assert told == f"Another run writes to {out}: waiting for its end.\n"
    assert (first.returncode, second.returncode) == (0, 0)
    assert f"{500 + MANY:,} rows were scored now." in said[0]
    assert "nothing was scored again" in said[1]
    assert files(out) == files(succeeded.root / "whole")


def test_dask_gives_the_same_bytes(succeeded: Project, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On two processes: of files named from another folder, and of ``load()``."""
    distributed = pytest.importorskip("distributed")
    april, july = datetime(2013, 4, 10), datetime(2013, 7, 1)
    score.run(succeeded, NOW, span=(april, july), to=succeeded.root / "spans")
    scored(succeeded, folder)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster:
        monkeypatch.setenv(engine.ADDRESS, cluster.scheduler_address)
        monkeypatch.chdir(succeeded.root)
        scored(succeeded, "in", to="dask", engine="dask")
        score.run(succeeded, NOW, span=(april, july), to=succeeded.root / "dask-spans", engine="dask")

    assert files(succeeded.root / "dask") == files(succeeded.root / "out")
    assert files(succeeded.root / "dask-spans") == files(succeeded.root / "spans")
    assert len(files(succeeded.root / "spans")) == 4


def test_memory_does_not_grow_with_the_rows(succeeded: Project, tmp_path: Path) -> None:
    """Ten times the rows, in one file: the peak of a process grows by far less than the columns that it reads take."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom modelyard import cli\ncode = None\n"
        "try:\n    cli.main(sys.argv[1:])\nexcept SystemExit as end:\n    code = end.code\n"
        "print(code, int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]) // 1024)"
    )
    peaks = []
    for count in (300_000, 3_000_000):
        path = table_file(tmp_path / f"{count}.parquet", content(count), row_group_size=2**20)
        words = ["score", str(path), "--to", str(tmp_path / f"out-{count}")]
        done = subprocess.run([sys.executable, "-c", code, *words], cwd=succeeded.root, capture_output=True, text=True, check=True)
        status, peak = done.stdout.splitlines()[-1].split()
        assert status == "0", done.stderr
        assert manifest(tmp_path / f"out-{count}").rows == count
        peaks.append(int(peak))
    held = 3_000_000 * (8 + 8 + 8 + 1) / 2**20

    assert peaks[1] - peaks[0] < held / 2, peaks


def test_a_large_file_is_cut_between_row_groups(succeeded: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its outputs continue the positions of the rows."""
    monkeypatch.setattr(table, "PART", 250)
    path = table_file(tmp_path / "big.parquet", content(1000), row_group_size=200)
    scored(succeeded, path)
    found = manifest(succeeded.root / "out")

    assert [(each.file, each.first, each.rows) for each in found.outputs] == [
        ("big-00000.parquet", 0, 400),
        ("big-00001.parquet", 400, 400),
        ("big-00002.parquet", 800, 200),
    ]
    assert [(each.name, each.rows) for each in found.inputs] == [("big.parquet", 1000)]
    assert pd.read_parquet(succeeded.root / "out")["row"].tolist() == list(range(1000))


def test_rows_that_cannot_be_scored_stand_aside(succeeded: Project, tmp_path: Path) -> None:
    """With the reason and all that was read of them; the others are scored, the verdict is negative, and people are told."""
    frame = content(100)
    frame.loc[[3, 7], "x"] = np.nan
    frame.loc[9, "x"] = 8.5
    done = scored(succeeded, table_file(tmp_path / "day.parquet", frame))
    out = succeeded.root / "out"
    good, bad = pd.read_parquet(out), pd.read_parquet(out / "_refused")

    assert (done.verdict, done.exit_code, done.outputs["refused"]) == ("partial", 10, "3")
    assert "| x: missing | 2 |" in done.summary
    assert done.problems == ("3 of 100 rows of day have no prediction: x: missing, x: above 8.",)
    assert done.alert
    assert not done.alert.over
    assert sorted([*good["row"], *bad["row"]]) == list(range(100))
    assert bad["reason"].tolist() == ["x: missing", "x: missing", "x: above 8"]
    assert bad["serial"].tolist() == [3, 7, 9]
    assert bad["x"].iloc[2] == 8.5
    assert (manifest(out).outputs[0].reasons, manifest(out).verdict) == ({"x: above 8": 1, "x: missing": 2}, "partial")

    assert scored(succeeded, tmp_path / "day.parquet").verdict == "partial"  # nothing is scored again, and it is still told
    table_file(tmp_path / "day.parquet", content(100))
    mended = scored(succeeded, tmp_path / "day.parquet")
    assert mended.verdict == "complete"
    assert mended.alert
    assert mended.alert.over
    assert not list((out / "_refused").glob("*"))


def test_a_model_that_gives_no_number_for_some_rows(succeeded: Project, tmp_path: Path) -> None:
    """Those rows stand aside, too; a model that breaks its promise otherwise is an error."""
    live = champion.load(succeeded)
    assert live
    for root in (live.folder, succeeded.root):
        path = root / "src" / succeeded.policy.package / "model.py"
        spoiled = "\nimport numpy\n_old = Model.predict\nModel.predict = lambda self, batch: SAID\n"
        path.write_text(path.read_text() + spoiled.replace("SAID", "numpy.where(batch['x'] > 0, numpy.nan, _old(self, batch))"))
    given = str(table_file(tmp_path / "day.parquet", content(100)))
    negative = int((content(100)["x"] <= 0).sum())
    said, _ = call(succeeded, given, "--to", "out").communicate(timeout=60)

    assert f"**score: partial**, {negative} of 100 rows" in said
    assert set(pd.read_parquet(succeeded.root / "out/_refused")["reason"]) == {rows.SILENT}

    for root in (live.folder, succeeded.root):
        path = root / "src" / succeeded.policy.package / "model.py"
        path.write_text(path.read_text().replace("numpy.where(", "2 + 0 * _old(self, batch); lambda *_: numpy.where("))
    broken = call(succeeded, given, "--to", "broken")
    _, words = broken.communicate(timeout=60)
    assert broken.returncode == 2
    assert "The champion's predict returned 2 to 2." in words


def test_csv_is_read_too(succeeded: Project, tmp_path: Path) -> None:
    """With the same predictions, though its types are guessed."""
    frame = content(50)
    scored(succeeded, table_file(tmp_path / "day.parquet", frame))
    frame.to_csv(tmp_path / "day.csv", index=False)
    scored(succeeded, tmp_path / "day.csv", to="csv")
    one, other = (pd.read_parquet(succeeded.root / name) for name in ("out", "csv"))

    np.testing.assert_array_equal(one["prediction"], other["prediction"])
    pd.testing.assert_series_equal(one["time"], other["time"], check_dtype=False)
    assert other["input"].iloc[0] == "day.csv"


def test_columns_are_copied_as_asked(succeeded: Project, tmp_path: Path) -> None:
    """Those named and the event time, no others; asking for others scores anew."""
    given = table_file(tmp_path / "day.parquet", content(50).drop(columns="time"))
    scored(succeeded, given)
    assert pd.read_parquet(succeeded.root / "out").columns.tolist()[2:5] == ["serial", "group", "prediction"]
    done = scored(succeeded, given, ids=["x"])

    assert done.outputs["scored"] == "50"
    assert pd.read_parquet(succeeded.root / "out").columns.tolist()[:4] == ["input", "row", "x", "prediction"]


def test_the_policy_names_what_tells_rows_apart(succeeded: Project, tmp_path: Path) -> None:
    """What labels are found by is what is copied, unless somebody says otherwise."""
    monitored = succeeded.policy.monitor.model_copy(update={"row_id": ["serial"]})
    project = Project(succeeded.root, succeeded.policy.model_copy(update={"monitor": monitored}))
    given = table_file(tmp_path / "day.parquet", content(50))
    scored(project, given)

    assert pd.read_parquet(succeeded.root / "out").columns.tolist()[2:5] == ["time", "serial", "prediction"]
    scored(project, given, ids=["group"])
    assert pd.read_parquet(succeeded.root / "out").columns.tolist()[2:5] == ["time", "group", "prediction"]


def test_a_file_that_is_only_a_pointer_is_brought(succeeded: Project, folder: Path) -> None:
    """As in a job's checkout, where DVC's files are not there."""
    store.add(succeeded.root, Path("in"))
    shutil.rmtree(folder)

    assert scored(succeeded, folder).outputs["rows"] == str(500 + MANY)


def test_files_of_one_name_stay_apart(succeeded: Project) -> None:
    """Outputs lie as the inputs do below what was named; where two would be one, it is refused."""
    for name in ("in/2013/a.parquet", "in/2014/a.parquet"):
        table_file(succeeded.root / name, content(10))
    scored(succeeded, succeeded.root / "in/**/*.parquet")
    found = manifest(succeeded.root / "out")
    shutil.copy(succeeded.root / "in/2013/a.parquet", succeeded.root / "in/2013/a")

    assert [each.file for each in found.outputs] == ["2013/a-00000.parquet", "2014/a-00000.parquet"]
    assert {each.input for each in found.outputs} == {"2013/a.parquet", "2014/a.parquet"}
    with pytest.raises(UsageError, match=r"Two files of .* would be written to a-00000.parquet"):
        scored(succeeded, succeeded.root / "in/2013/*", to="other")


def test_another_batch_is_not_written_over(succeeded: Project, folder: Path, tmp_path: Path) -> None:
    """A folder holds one batch; whatever else lies there is left alone."""
    table_file(succeeded.root / "out/mine.parquet", content(3))
    scored(succeeded, folder)
    before = files(succeeded.root / "out")

    with pytest.raises(UsageError, match=r"holds the predictions of in, not of .*/day.parquet.\nName another folder"):
        scored(succeeded, table_file(tmp_path / "day.parquet", content(10)))
    assert files(succeeded.root / "out") == before
    assert "mine.parquet" in before


def test_somebodys_files_are_not_written_over(succeeded: Project, folder: Path) -> None:
    """Neither what lies where outputs would, nor the input."""
    theirs = table_file(succeeded.root / "out/2013-04.parquet", content(3)).read_bytes()

    with pytest.raises(UsageError, match=r"2013-04.parquet is there, and was not written by score.\nName another folder"):
        score.run(succeeded, NOW, to=succeeded.root / "out")
    assert files(succeeded.root / "out") == {"2013-04.parquet": theirs}
    with pytest.raises(UsageError, match="out lies in the folder that is scored"):
        scored(succeeded, folder, to="in/out")


def test_a_file_that_changes_meanwhile_is_told(succeeded: Project, folder: Path, tmp_path: Path) -> None:
    """No manifest says that the batch is whole, and the next run scores that file anew."""
    whims(succeeded)
    hold = tmp_path / "hold"
    hold.touch()
    run = call(succeeded, "in", "--to", "out", HOLD=str(hold))
    until = time.monotonic() + 60
    while not (succeeded.root / "out").exists() and time.monotonic() < until:
        time.sleep(0.05)
    table_file(folder / "2.parquet", content(250, seed=9))
    hold.unlink()
    _, told = run.communicate(timeout=60)

    assert run.returncode == 1
    assert "2.parquet changed while it was scored.\nRun it again" in told
    assert not (succeeded.root / "out" / output.MANIFEST).exists()
    assert scored(succeeded, folder).outputs["scored"] == "250"


@pytest.mark.parametrize(
    ("made", "words", "code", "message"),
    [
        (lambda f: f.drop(columns="x"), (), 1, "cannot be scored: column 'x' is missing.\nA request holds x."),
        (lambda f: f.assign(x=f["x"].astype(str)), (), 1, "column 'x' is text, not a number"),
        (lambda f: f.head(0), (), 1, "holds no rows"),
        (lambda f: f.assign(time=1), (), 1, "Column 'time' of bad.parquet is a number, not a time."),
        (lambda f: f.assign(version="a"), (), 1, "is called like a column of the output.\nSay by --id"),
        (lambda f: f, ("--id", "nobody"), 2, "has no column 'nobody' that could be copied"),
        (lambda f: f, ("--start", "2013-01-01"), 2, "--start and --end need each other"),
        (lambda f: f, ("--start", "2013-01-01", "--end", "2013-02-01"), 2, "from files or from load(), not from both"),
        (lambda f: None, (), 2, "bad.parquet does not exist"),
    ],
)
def test_bad_input_is_told_in_words(
    succeeded: Project,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    made: Callable[[pd.DataFrame], pd.DataFrame | None],
    words: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    """What is wrong, and what to change; nothing is written."""
    monkeypatch.chdir(succeeded.root)
    if (frame := made(content(20))) is not None:
        table_file(succeeded.root / "bad.parquet", frame)
    with pytest.raises(SystemExit) as left:
        cli.main(["score", "bad.parquet", "--to", "out", *words])

    assert left.value.code == code
    assert message in capfd.readouterr().err
    assert not list(succeeded.root.glob("out/*"))


def test_a_full_disk_is_told(succeeded: Project, folder: Path) -> None:
    """What was whole is kept, no draft is left, and once there is room the run is continued."""
    code = (
        "import resource, signal, sys\nfrom modelyard import cli\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\ncli.main(sys.argv[1:])"
    )
    words = ["score", "in", "--to", "out", "--now", NOW.isoformat()]
    assert champion.load(succeeded)  # what is tested is the batch's files
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=succeeded.root, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "1-00000.parquet cannot be written: " in done.stderr
    assert "the space on the disk" in done.stderr
    assert set(files(succeeded.root / "out")) == {"0-00000.parquet"}
    assert scored(succeeded, folder).outputs["scored"] == str(MANY + 200)


# --- load() and delivery


def test_the_last_period_is_scored_and_delivered(succeeded: Project) -> None:
    """The period before the logical date, by the champion's predictions of what ``load()`` returns; data and pointer are kept."""
    done = score.run(succeeded, NOW)
    live = champion.load(succeeded)
    assert live
    frame = load_object(succeeded, "data", "load")(datetime(2013, 4, 1), datetime(2013, 5, 1))
    found = pd.read_parquet(succeeded.root / "data/scored/2013-04")
    ((_, tags),) = registry.newest_runs(registry.connect(succeeded.root / state.FOLDER), "mini-score", 10)

    assert (done.verdict, done.outputs["folder"], done.outputs["batch"]) == ("complete", "data/scored/2013-04", "2013-04")
    np.testing.assert_array_equal(found["prediction"], predictions.of_champion(live, frame))
    assert found.columns.tolist()[2:7] == ["time", "gap", "group", "serial", "prediction"]
    assert manifest(succeeded.root / "data/scored/2013-04").source == "load(2013-04-01, 2013-05-01)"
    assert (tags["batch"], tags["champion"], tags["verdict"]) == ("2013-04", "2", "complete")
    assert tags["manifest"] == output.sha256(succeeded.root / "data/scored/2013-04" / output.MANIFEST)
    assert git.run("status", "--porcelain", "--", "releases", "data/raw", "dvc.lock", cwd=succeeded.root) == ""


def test_what_was_delivered_is_not_scored_again_elsewhere(succeeded: Project) -> None:
    """A fresh clone brings it; only another model, or rows that changed, score it anew."""
    score.run(succeeded, NOW)
    before = _state(succeeded)
    clone = succeeded.root.parent / "clone"
    git.run("clone", "--quiet", str(succeeded.root.parent / "origin.git"), str(clone), cwd=succeeded.root)
    other = Project(clone, policy.load(clone))
    state.pull(clone)
    again = score.run(other, parse("2013-05-20"))

    assert (again.verdict, again.outputs["scored"]) == ("complete", "0")
    assert files(clone / "data/scored/2013-04") == files(succeeded.root / "data/scored/2013-04")
    assert _state(succeeded) == before  # nothing was delivered twice

    git.run("revert", "--no-edit", "-m", "1", "HEAD", cwd=clone)
    anew = score.run(other, NOW)
    assert (anew.outputs["version"], anew.outputs["scored"]) == ("1", str(30 * 40))
    state.pull(succeeded.root)
    runs = registry.newest_runs(registry.connect(succeeded.root / state.FOLDER), "mini-score", 10)
    assert sorted(tags["champion"] for _, tags in runs) == ["1", "2"]


def _state(project: Project) -> str:
    return git.run("rev-parse", "modelyard-state", cwd=project.root.parent / "origin.git")


def test_what_the_remote_lost_is_scored_again(succeeded: Project, capfd: pytest.CaptureFixture[str]) -> None:
    """That it could not be brought is said; then all is as before."""
    score.run(succeeded, NOW)
    before = files(succeeded.root / "data/scored/2013-04")
    shutil.rmtree(succeeded.root / "data/scored")
    shutil.rmtree(succeeded.root / ".dvc/cache", ignore_errors=True)
    shutil.rmtree(succeeded.root / state.FOLDER / "dvc/files")
    done = score.run(succeeded, NOW)

    assert "What was scored of 2013-04 before is not brought" in capfd.readouterr().err
    assert done.outputs["scored"] == str(30 * 40)
    assert files(succeeded.root / "data/scored/2013-04") == before


def test_a_delivery_that_fails_is_caught_up(succeeded: Project) -> None:
    """The error says so, the predictions are there, and the next run delivers them without scoring."""
    origin = succeeded.root.parent / "origin.git"
    mini_project.protect(origin, "modelyard-state")
    with pytest.raises(Exception, match="The remote refused the push"):
        score.run(succeeded, NOW)
    assert (succeeded.root / "data/scored/2013-04" / output.MANIFEST).exists()
    (origin / "hooks/pre-receive").unlink()
    before = _state(succeeded)
    done = score.run(succeeded, NOW)

    assert done.outputs["scored"] == "0"
    assert _state(succeeded) != before


def test_a_span_is_cut_at_the_edges_of_periods(succeeded: Project) -> None:
    """Whole periods have their names, others their days; rows are those of the span."""
    score.run(succeeded, NOW, span=(datetime(2013, 3, 15), datetime(2013, 5, 2)), to=succeeded.root / "out")
    found = manifest(succeeded.root / "out")
    rows_of = pd.read_parquet(succeeded.root / "out")

    assert found.batch == "2013-03-15_2013-05-02"
    assert [(each.input, each.rows) for each in found.outputs] == [
        ("2013-03-15_2013-04-01", 17 * 40),
        ("2013-04", 30 * 40),
        ("2013-05-01_2013-05-02", 40),
    ]
    assert (rows_of["time"].min(), rows_of["time"].max()) == (pd.Timestamp("2013-03-15"), pd.Timestamp("2013-05-01 00:39"))


def test_labels_that_come_later_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But rows that changed do, and only their period is scored again."""
    project = mini_project.make(tmp_path)
    live = mini_project.released(project)
    monkeypatch.setattr(champion, "load", lambda _: live)
    span = (datetime(2013, 3, 1), datetime(2013, 5, 1))
    mini_project.fault(tmp_path, unlabelled=True)
    score.run(project, NOW, span=span, to=tmp_path / "out")
    mini_project.fault(tmp_path)
    assert score.run(project, NOW, span=span, to=tmp_path / "out").outputs["scored"] == "0"

    mini_project.fault(tmp_path, missing=0.5)
    assert score.run(project, NOW, span=span, to=tmp_path / "out").outputs["scored"] == str(61 * 40)


def test_a_source_without_rows_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A period that load() does not have yet has no predictions, and nothing says that it has."""
    project = mini_project.make(tmp_path)
    live = mini_project.released(project)
    monkeypatch.setattr(champion, "load", lambda _: live)
    mini_project.fault(tmp_path, share=0)

    with pytest.raises(DataError, match=r"load\(2013-04-01, 2013-05-01\) has no rows \(yet\).\nScore it later"):
        score.run(project, NOW, to=tmp_path / "out")
    assert files(tmp_path / "out") == {}


def test_before_the_first_release_there_is_nothing_to_ask(registered: Project) -> None:
    """The verdict is none, and nothing fails."""
    done = score.run(registered, NOW)

    assert (done.verdict, done.exit_code) == ("none", 0)
    assert not (registered.root / score.SCORED).exists()


def test_no_period_is_over_yet(succeeded: Project) -> None:
    """Says what to name."""
    with pytest.raises(UsageError, match=r"No period of 2013-01-01 or later is over.*\nName a span"):
        score.run(succeeded, parse("2013-01-20"), to=succeeded.root / "out")
    with pytest.raises(UsageError, match=r"--start 2013-03-02 00:00:00 is not before --end"):
        score.run(succeeded, NOW, span=(datetime(2013, 3, 2), datetime(2013, 3, 1)), to=succeeded.root / "out")
