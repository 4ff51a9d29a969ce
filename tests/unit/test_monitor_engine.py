"""Folding over the parts of a table: here, and on Dask, with equal results."""

from __future__ import annotations

import builtins
import operator
import pickle
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import DataError, UsageError
from modelyard.monitor import duplicates, engine, table

ROWS = 3 * 2**20


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of three parts, and beside it a fourth one."""
    folder = tmp_path_factory.mktemp("table") / "in"
    folder.mkdir()
    values = pa.array(range(ROWS), pa.int32())
    words = pa.DictionaryArray.from_arrays(pa.array([i % 3 for i in range(2**20)] * 3, pa.int8()), pa.array(["a", "b", "c"]))
    pq.write_table(pa.table({"n": values, "t": words}), folder / "1.parquet", row_group_size=2**20)
    pq.write_table(pa.table({"n": values[:1000], "t": words[:1000]}), folder / "2.parquet")
    return folder


def works() -> tuple[Any, ...]:
    """Functions within a function travel to workers as code, since they cannot import this file."""

    def count(part: table.Source) -> duplicates.Rows:
        tally = duplicates.Tally()
        for batch in part.batches():
            tally.add(batch)
        return tally.total()

    def spelled(part: table.Source) -> str:
        return str(part.rows)

    def bracketed(one: str, other: str) -> str:
        """Add so that the order of sums shows."""
        return f"({one} {other})"

    def broken(part: table.Source) -> int:
        raise DataError(f"{part.name} cannot be counted.", "Count again.")

    return count, spelled, bracketed, broken


count, spelled, bracketed, broken = works()


def test_the_sum_of_parts(path: Path) -> None:
    """All rows, by neighbours first."""
    source = table.open(path)

    assert len(source.parts()) == 4
    assert engine.fold(source, spelled, bracketed) == f"(({2**20} {2**20}) ({2**20} 1000))"
    assert engine.fold(source, count, operator.add) == count(source)


@given(st.integers(1, 200))
def test_a_tree_holds_few_sums(parts: int) -> None:
    """The order of the summands is kept, and the sum of one part is that part."""
    held = 0

    class Sum(tuple[int, ...]):
        __slots__ = ()

    def leaves() -> Iterator[Sum]:
        nonlocal held
        for leaf in range(parts):
            held += 1
            assert held <= parts.bit_length() + 1
            yield Sum([leaf])

    def add(one: Sum, other: Sum) -> Sum:
        nonlocal held
        held -= 1
        return Sum((*one, *other))

    assert engine.tree_sum(leaves(), add) == tuple(range(parts))


def test_progress_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """About ten lines on stderr for many parts, and none for few."""
    for name in range(25):
        pq.write_table(pa.table({"n": [name]}), tmp_path / f"{name:02}.parquet")
    assert engine.fold(table.open(tmp_path), lambda part: part.rows, operator.add) == 25
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[-1].endswith("25 of 25 parts")

    engine.fold(table.open(tmp_path / "01.parquet"), spelled, bracketed)
    assert capsys.readouterr().err == ""


def test_dask_gives_the_same(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """To the byte, on two processes of a cluster that the environment names; an error of the work arrives as it was raised."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster:
        monkeypatch.setenv(engine.ADDRESS, cluster.scheduler_address)
        monkeypatch.chdir(path.parent)  # the workers stay where they are
        source = table.open(path.name)
        with engine.started("dask") as fold:
            assert pickle.dumps(fold(source, count, operator.add)) == pickle.dumps(engine.fold(source, count, operator.add))
            assert fold(source, spelled, bracketed) == engine.fold(source, spelled, bracketed)
            with pytest.raises(DataError, match=r"cannot be counted.\nCount again"):
                fold(source, broken, operator.add)
    told = capsys.readouterr().err
    assert f"Dask: scheduler at {cluster.scheduler_address}" in told
    assert "4 parts on 2 workers (0: 2, 1: 2)" in told


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("tcp://127.0.0.1:1", r"The Dask scheduler at tcp://127.0.0.1:1 does not answer.*\n.*unset"),
        ("somewhere", r"'somewhere', which is no address"),
        ("tcp://host:port", r"which is no address"),
    ],
)
def test_a_scheduler_that_is_not_there(monkeypatch: pytest.MonkeyPatch, address: str, message: str) -> None:
    """Is named, with the variable that names it."""
    pytest.importorskip("distributed")
    monkeypatch.setenv(engine.ADDRESS, address)

    with pytest.raises(UsageError, match=message), engine.started("dask"):
        pass


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (PackageNotFoundError("modelyard"), r"The workers of tcp://there:1 lack modelyard.\nInstall modelyard"),
        ({}, r"has no workers"),
        ({"tcp://there:2": "0.0.1"}, r"Workers of tcp://there:1 run modelyard 0.0.1"),
    ],
)
def test_workers_that_cannot_work(answers: Any, message: str) -> None:
    """Dask would wait without end, so versions are asked first."""

    class Cluster:
        def run(self, *_: Any) -> dict[str, str]:
            if isinstance(answers, Exception):
                raise answers
            return dict(answers)

    with pytest.raises(UsageError, match=message):
        engine._compare(Cluster(), "tcp://there:1")


def test_dask_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, the message says how to install it."""
    original = builtins.__import__

    def lacking(name: str, *arguments: Any, **named: Any) -> Any:
        if name.startswith(("dask", "distributed")):
            raise ImportError(name)
        return original(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", lacking)
    with pytest.raises(UsageError, match=r"pip install 'modelyard\[dask\]'"), engine.started("dask"):
        pass
