"""The reference file: counts only, the same bytes each time, exact in any split."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit import mini_project

from modelyard import profile
from modelyard.errors import DataError, ProjectError, UsageError
from modelyard.monitor import measure, sketch, table
from modelyard.monitor import profile as profiles
from modelyard.monitor.profile import Profile
from modelyard.monitor.sketch import DAY, Cells
from modelyard.release import sha256


def _make(frame: pd.DataFrame, **more: object) -> Profile:
    return measure.make(table.from_frame(frame), **more)  # type: ignore[arg-type]


def _cells(made: Profile, name: str) -> Cells:
    return next(column for column in made.layout.columns if column.name == name)


def test_numbers_get_cells_into_their_tails() -> None:
    """Many narrow cells, none of them empty; the range is widened to round numbers, and nothing lies outside of it."""
    made = _make(pd.DataFrame({"x": np.random.default_rng(0).normal(size=20_000)}))
    column, counts = _cells(made, "x"), made.counts.cells["x"].sum(axis=0)

    assert column.kind == "continuous"
    assert 40 < column.size <= 70
    assert (counts[:3] == 0).all()
    assert (counts[3:] > 0).all()
    assert counts.sum() == 20_000
    assert column.edges[0] == round(column.edges[0], 2)


def test_few_numbers_get_a_cell_each() -> None:
    """Each value its own cell, and one for what was never seen, also between two of them."""
    made = _make(pd.DataFrame({"x": [0, 0, 1, 1, 1, 5]}))
    again, _ = measure.count(made, table.from_frame(pd.DataFrame({"x": [-7.0, 0.0, 0.5, 99.0, np.nan]})))

    assert _cells(made, "x").values == (0.0, 1.0, 5.0)
    assert again.cells["x"].tolist() == [[1, 3, 1, 0, 0]]


def test_rare_texts_get_no_cell_of_their_own() -> None:
    """A value needs 50 rows for a cell, so no name of a person is kept; leaving one out says how many rows will be new to the profile."""
    values = ["b"] * 600 + ["a"] * 5000 + [f"tail {i}" for i in range(30)] + ["edge"] * 50
    made = _make(pd.DataFrame({"x": values}))
    column = _cells(made, "x")

    assert column.values == ("a", "b", "edge")
    assert column.buckets == 1
    assert column.novel_rows == 30 + 50
    assert made.counts.cells["x"].sum(axis=0).tolist() == [0, 30, 5000, 600, 50]


def test_millions_of_texts_are_only_hashed() -> None:
    """A column of identifiers costs no memory and keeps no value."""
    made = _make(pd.DataFrame({"id": [f"id-{i}" for i in range(120_000)]}))

    assert _cells(made, "id").values == ()
    assert _cells(made, "id").buckets == 32
    assert made.counts.cells["id"].sum() == 120_000


def test_what_only_grows_with_time_is_never_compared() -> None:
    """Serial numbers get no cells, in whatever order the rows come; a constant does."""
    time = pd.to_datetime(["2013-03-01", "2013-01-01", "2013-02-01"])
    made = _make(pd.DataFrame({"time": time, "serial": [30, 10, 20], "wild": [10, 30, 20], "same": [4, 4, 4]}), time="time")

    assert [column.kind for column in made.layout.columns] == ["sequence", "discrete", "discrete"]


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([1, None, 3], dtype="Int64"),
        pd.Series([True, False, None], dtype="boolean"),
        pd.Series([1.0, np.nan, np.inf]),
        pd.Series([-np.inf, -0.0, 0.0, 1e308]),
        pd.Series(["a", None, "b"], dtype="category"),
        pd.Series([None, None], dtype=float),
        pd.Series([None, None], dtype=object),
        pd.Series(pd.to_datetime(["2013-01-01", None])),
    ],
)
def test_every_row_is_counted_once(values: pd.Series) -> None:
    """Each type that a table may have ends in some cell."""
    made = _make(pd.DataFrame({"x": values}))

    assert made.counts.cells["x"].sum() == len(values)
    assert made.counts.cells["x"][:, 0].sum() == values.isna().sum()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), parts=st.integers(1, 7))
def test_any_split_in_any_order_gives_the_same_profile(seed: int, parts: int) -> None:
    """Cells and counts of parts, added in any order, are those of the whole."""
    draw = np.random.default_rng(seed)
    n = 3000
    frame = pd.DataFrame(
        {
            "time": pd.Timestamp("2013-01-01") + pd.to_timedelta(draw.integers(0, 90 * 24, n), "h"),
            "x": np.where(draw.uniform(size=n) < 0.1, np.nan, draw.normal(size=n)),
            "k": draw.integers(0, 9, n),
            "t": draw.choice(["a", "b", "c", None], n),
        }
    )
    kinds = {"time": "time", "x": "number", "k": "number", "t": "text"}
    batches = (
        pa.Table.from_pandas(frame.sample(frac=1, random_state=seed), preserve_index=False).combine_chunks().to_batches(-(-n // parts))
    )
    surveys = [sketch.survey(batch, kinds, "time") for batch in batches]
    total = surveys[-1]
    for part in surveys[:-1]:
        total = part + total
    layout = sketch.layout(total, {"x": "feature", "k": "feature", "t": "feature"}, time="time", segments=("t",))
    whole = _make(frame, time="time", segments=("t",))
    counts = profiles.nothing(whole.layout, whole.layout.blocks)
    for batch in reversed(batches):
        counts = counts + profiles.count(whole.layout, batch, whole.layout.blocks)

    assert layout.blocks == whole.layout.blocks
    assert layout.columns == tuple(c for name in ("x", "k", "t") for c in whole.layout.columns if c.name == name)
    assert all((counts.cells[name] == whole.counts.cells[name]).all() for name in ("x", "k", "t"))
    assert (counts.segments["t"]["x"] == whole.counts.segments["t"]["x"]).all()


def test_more_numbers_than_are_kept_apart_still_add_exactly() -> None:
    """Beyond 65,536 different numbers the cells of the tally widen, to the same width in whatever split."""
    values = np.random.default_rng(1).lognormal(size=300_000)
    parts = np.array_split(values, 5)
    total = sketch.Numbers.of(parts[3])
    for part in (parts[0], parts[4], parts[1], parts[2]):
        total = total + sketch.Numbers.of(part)
    whole = sketch.Numbers.of(values)

    assert total.shift == whole.shift > 0
    assert len(whole.keys) <= 65_536
    assert (total.keys == whole.keys).all()
    assert (total.counts == whole.counts).all()
    assert whole.lowest[0] <= values.min()
    assert whole.highest >= values.max()


def test_the_file_brings_back_what_was_written(tmp_path: Path) -> None:
    """The same profile is the same bytes, and reading gives it back; blocks run backwards from the end, the first one incomplete."""
    time = pd.date_range("2013-01-01", "2013-03-01", freq="h", inclusive="left")
    frame = pd.DataFrame({"time": time, "x": np.arange(len(time)) % 17, "origin": ["JFK", "EWR"] * (len(time) // 2)})
    made = _make(frame, time="time", segments=("origin",))
    profiles.write(tmp_path / "a", made)
    profiles.write(tmp_path / "b", made)
    back = profiles.read(tmp_path / "a")

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (back.layout, back.kinds) == (made.layout, made.kinds)
    assert all((back.counts.cells[name] == counts).all() for name, counts in made.counts.cells.items())
    assert (back.counts.segments["origin"]["x"] == made.counts.segments["origin"]["x"]).all()
    assert back.layout.blocks
    assert (back.layout.blocks.number, back.layout.blocks.complete) == (9, 8)
    assert back.counts.rows.tolist() == [168] * 8 + [72, 0]
    assert back.layout.blocks.end == int(pd.Timestamp("2013-03-01").timestamp()) * 1_000_000
    assert back.layout.blocks.length == 7 * DAY


@pytest.mark.parametrize(("keep", "told"), [(0, "no profile"), (100, "not a whole one"), (-8, "not a whole one")])
def test_a_profile_that_is_cut_off_is_named(tmp_path: Path, keep: int, told: str) -> None:
    """A truncated file is told with what to do, not with a traceback."""
    path = tmp_path / "ref.profile"
    profiles.write(path, _make(pd.DataFrame({"x": [1, 2, 3]})))
    path.write_bytes(path.read_bytes()[:keep])

    with pytest.raises(DataError, match=told) as error:
        profiles.read(path)
    assert "modelyard profile" in error.value.fix


def test_what_is_no_profile_is_named(tmp_path: Path) -> None:
    """Any other Parquet file, one of another version, and none."""
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other")
    with pytest.raises(DataError, match="but no profile"):
        profiles.read(tmp_path / "other")
    with pytest.raises(DataError, match="is missing"):
        profiles.read(tmp_path / "none")
    with pq.ParquetWriter(tmp_path / "old", pa.schema([("x", pa.int64())])) as writer:
        writer.write_table(pa.table({"x": [1]}))
        writer.add_key_value_metadata({b"modelyard.profile": b'{"version": 1}'})
    with pytest.raises(DataError, match="version 1; this toolkit reads version 2"):
        profiles.read(tmp_path / "old")


def test_what_cannot_be_profiled_is_named() -> None:
    """No rows, a column that is not there, a time that is none."""
    with pytest.raises(DataError, match="has no rows"):
        _make(pd.DataFrame({"x": pd.Series([], dtype=float)}))
    with pytest.raises(UsageError, match="no column 'when'"):
        _make(pd.DataFrame({"x": [1]}), time="when")
    with pytest.raises(UsageError, match="holds number, not times"):
        _make(pd.DataFrame({"x": [1]}), time="x")


def test_the_verb_writes_data_label_and_predictions(tmp_path: Path) -> None:
    """All data on disk are counted by week; the time is no column; the model's hash stands in the file, which is small."""
    project = mini_project.make(tmp_path)
    outcome = profile.run(project)
    made = profiles.read(tmp_path / "models/profile.parquet")

    roles = {column.name: column.role for column in made.layout.columns}
    assert roles == {"x": "feature", "gap": "feature", "group": "feature", "serial": "feature", "late": "label", "prediction": "prediction"}
    assert made.counts.total == 59 * 40
    assert made.layout.blocks
    assert made.layout.blocks.complete == 8
    files = [tmp_path / "data/raw" / name for name in ("2013-01.parquet", "2013-02.parquet")]
    lines = "".join(f"{sha256(file)}  {file.name}\n" for file in files)  # as sha256sum prints them
    assert made.hashes == {"model": sha256(tmp_path / "models/model.onnx"), "data": hashlib.sha256(lines.encode()).hexdigest()}
    assert max(made.importance, key=made.importance.get) == "x"  # type: ignore[arg-type]
    assert made.duplicates == 0
    assert int(outcome.outputs["bytes"]) == (tmp_path / "models/profile.parquet").stat().st_size < 20_000


def test_a_model_that_is_missing_is_named(tmp_path: Path) -> None:
    """Without a model there is nothing to profile."""
    project = mini_project.make(tmp_path)
    (tmp_path / "models/model.onnx").unlink()

    with pytest.raises(ProjectError, match=r"model\.onnx is missing"):
        profile.run(project)
