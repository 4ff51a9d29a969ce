"""Repeated rows: exact where they can be, the same whatever the parts and their order, a fair estimate beyond."""

from __future__ import annotations

import functools
import itertools
import operator
import pickle
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.monitor import duplicates
from modelyard.monitor.duplicates import Rows, Tally, row_hashes

SMALL = 64


def tally(*batches: pa.RecordBatch) -> Rows:
    counter = Tally()
    for batch in batches:
        counter.add(batch)
    return counter.total()


def numbers(values: Any) -> pa.RecordBatch:
    return pa.record_batch({"n": pa.array(values, pa.float64())})


def test_repetitions_are_counted() -> None:
    """Rows that repeat an earlier one, of all rows; None where there are none."""
    batch = pa.record_batch({"n": [1, 1, 2, None, None, 1], "t": ["a", "a", "a", "b", "b", "b"]})

    assert tally(batch).share == 2 / 6
    assert tally(batch, batch).share == 8 / 12
    assert tally().share is None
    assert tally(batch.slice(0, 0)).share is None


CELLS = st.tuples(st.one_of(st.none(), st.integers(-3, 3)), st.one_of(st.none(), st.sampled_from(["", "a", "b", "ab"])), st.booleans())


@given(st.lists(CELLS, max_size=60))
def test_the_share_is_that_of_the_rows(rows: list[tuple[Any, ...]]) -> None:
    """Exactly: two rows are alike where all their cells are."""
    n, t, b = zip(*rows, strict=True) if rows else ((), (), ())
    batch = pa.record_batch({"n": pa.array(n, pa.int32()), "t": pa.array(t, pa.string()), "b": pa.array(b, pa.bool_())})

    assert tally(batch).share == ((len(rows) - len(set(rows))) / len(rows) if rows else None)


@given(st.lists(st.integers(0, 400), max_size=600), st.lists(st.integers(0, 600), max_size=5), st.randoms(use_true_random=False))
def test_neither_order_nor_parts_matter(values: list[int], cuts: list[int], shuffle: random.Random) -> None:
    """Any split, any order of rows and of parts, any tree of sums: equal to the byte, also where only a sample is held."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "LIMIT", SMALL)
        once = tally(numbers(values))
        moved = list(values)
        shuffle.shuffle(moved)
        edges = [0, *sorted(cuts), len(moved)]
        parts = [numbers(moved[a:b]) for a, b in itertools.pairwise(edges)]
        sums = [tally(part) for part in parts]
        shuffle.shuffle(sums)

        assert functools.reduce(operator.add, sums, Rows()) == once
        assert functools.reduce(lambda a, b: b + a, sums, Rows()) == once
        assert pickle.dumps(tally(*parts)) == pickle.dumps(once)
        assert len(once.hashes) <= SMALL
        assert once.rows == len(values)


@pytest.mark.parametrize(
    ("repeated", "expected"), [(0, 0.0), (1_000, 0.0099), (10_000, 0.0909), (100_000, 0.5)], ids=["none", "1 %", "9 %", "50 %"]
)
def test_a_sample_tells_the_share(monkeypatch: pytest.MonkeyPatch, repeated: int, expected: float) -> None:
    """Beyond the limit the share is estimated: exactly zero where nothing repeats, else near."""
    monkeypatch.setattr(duplicates, "LIMIT", 2**13)
    values = np.arange(100_000) * 1.25
    found = tally(numbers(values), numbers(values[:repeated]))

    assert found.level >= 3
    assert found.share == pytest.approx(expected, abs=0.0 if not repeated else 0.012)


@pytest.mark.parametrize("heavy", range(8))
def test_one_row_many_times(monkeypatch: pytest.MonkeyPatch, heavy: int) -> None:
    """Whether or not the sample holds the one row that fills half the table, the share is near a half."""
    monkeypatch.setattr(duplicates, "LIMIT", 2**12)
    found = tally(numbers(np.arange(20_000) + 0.5), numbers(np.full(20_000, -heavy)))

    assert found.share == pytest.approx(0.5, abs=0.03)


def hashes(**columns: Any) -> list[int]:
    return list(
        row_hashes(pa.record_batch({name: pa.array(*value) if isinstance(value, tuple) else value for name, value in columns.items()}))
    )


def test_what_is_alike() -> None:
    """One value has one hash, whatever type holds it; missing values are alike."""
    words = pa.array(["a", None, "bc"])
    for one, other in [
        (([1, 0, None], pa.int8()), ([1.0, -0.0, float("nan")], pa.float64())),
        (([True, False, None], pa.bool_()), ([1, 0, None], pa.int64())),
        (([2**60], pa.int64()), ([2.0**60], pa.float64())),
        (words, words.dictionary_encode()),
        (words, words.cast(pa.large_string())),
        (words, words.cast(pa.string_view())),
        (([1, None], pa.timestamp("s")), ([10**9, None], pa.timestamp("ns", "UTC"))),
        (([None, None], pa.string()), ([None, None], pa.float64())),
        (([None, None], pa.null()), ([None, None], pa.timestamp("s"))),
        (words.slice(1), words.dictionary_encode().slice(1)),
    ]:
        assert hashes(x=one) == hashes(x=other)


def test_what_is_different() -> None:
    """Missing is not zero nor empty; whole numbers that one float stands for differ; a value in another column is another row."""
    assert len(set(hashes(x=([0, None, 5e-324, float("inf"), -float("inf")], pa.float64())))) == 5
    assert len(set(hashes(x=([2**60, 2**60 + 1, 2**60 + 2, 2**63 - 1], pa.int64())))) == 4
    assert len(set(hashes(x=([2**64 - 1, 2**64 - 2], pa.uint64())))) == 2
    assert len(set(hashes(x=["", None, "a", "aa", "ab", "ba", "\0", "\0\0"]))) == 8
    assert hashes(x=[1], y=[2]) != hashes(x=[2], y=[1])
    assert hashes(x=[1], y=[2]) == hashes(y=[2], x=[1])
    assert hashes(x=[1]) != hashes(y=[1])


def test_hashes_spread() -> None:
    """Neighbouring numbers, texts and pairs of small numbers give no hash twice, and their low bits are even."""
    n = 2**17
    texts = pa.array([f"id-{i}" for i in range(n)])
    pairs = {"a": np.arange(n) % 512, "b": np.arange(n) // 512}
    bits = {f"b{place}": pa.array(np.arange(n) >> place & 1 == 1) for place in range(17)}
    tables: list[dict[str, Any]] = [{"n": np.arange(n)}, {"n": np.arange(n) / 8}, {"t": texts}, pairs, bits]
    for batch in map(pa.record_batch, tables):
        found = row_hashes(batch)
        counts = np.bincount((found & np.uint64(255)).astype(int), minlength=256)
        assert len(np.unique(found)) == n
        assert abs(counts - n / 256).max() < 6 * (n / 256) ** 0.5


def test_long_texts_are_hashed_by_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where stretches end does not matter."""
    words = pa.array(["x" * 50, "", "y" * 7, "z" * 30, "x" * 50, None, "w"])
    once = hashes(t=words)
    duplicates._remembered.cache_clear()
    monkeypatch.setattr(duplicates, "_STRETCH", 16)

    assert hashes(t=words) == once
    assert once[0] == once[4]
    assert len(set(once)) == 6
