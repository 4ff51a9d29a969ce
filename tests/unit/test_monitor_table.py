"""Reading tables: what columns hold, batches and parts, and a clear word for each bad file."""

from __future__ import annotations

import gzip
import pickle
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import DataError, UsageError
from modelyard.monitor import arrays, csvfile, table

NAN = float("nan")


def parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)
    return path


def text(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def whole(source: table.Source) -> dict[str, list[Any]]:
    """Read every column into a list, None for missing."""
    found: dict[str, list[Any]] = {name: [] for name, _ in source.readable}
    for batch in source.batches():
        assert batch.schema.names == list(found)
        assert 0 < batch.num_rows <= table.BATCH
        for name, kind in source.readable:
            found[name] += column(batch[name], kind)
    return found


def column(array: pa.Array, kind: str) -> list[Any]:
    if kind in ("number", "bool"):
        values, valid = table.numbers(array)
        return [value if known else None for value, known in zip(values.tolist(), valid.tolist(), strict=True)]
    if kind == "time":
        moments, valid = table.times(array)
        return [value if known else None for value, known in zip(moments.tolist(), valid.tolist(), strict=True)]
    words, codes = table.texts(array)
    return [words[code] if code >= 0 else None for code in codes.tolist()]


NUMBERS = [
    (pa.array([1, None, -3], pa.int8()), [1, None, -3]),
    (pa.array([1, None, 2**16 - 1], pa.uint16()), [1, None, 65535]),
    (pa.array([2**63 - 1, None], pa.int64()), [2.0**63, None]),
    (pa.array([2**64 - 1, None], pa.uint64()), [2.0**64, None]),
    (pa.array([1.5, NAN, None, float("inf"), -float("inf")], pa.float64()), [1.5, None, None, float("inf"), -float("inf")]),
    (pa.array([1.5, NAN, None], pa.float32()), [1.5, None, None]),
    (pa.array(np.array([1.5, NAN], np.float16)), [1.5, None]),
    (pa.array([Decimal("1.25"), None], pa.decimal128(5, 2)), [1.25, None]),
    (pa.array([Decimal("1.25"), None], pa.decimal256(40, 2)), [1.25, None]),
    (pa.array([True, None, False]), [1, None, 0]),
    (pa.array([7, None, 7, 9]).dictionary_encode(), [7, None, 7, 9]),
    (pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.int8()), pa.array([NAN, 2.0])), [None, 2, None]),
    (pa.array([3661, None], pa.time32("s")), [3661, None]),
    (pa.array([1500, None], pa.duration("ms")), [1.5, None]),
    (pa.nulls(2), [None, None]),
    (pa.array([], pa.float64()), []),
]


@pytest.mark.parametrize(("array", "expected"), NUMBERS, ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "")
def test_numbers(array: pa.Array, expected: list[Any]) -> None:
    """Each kind of number becomes a float; null and NaN are missing, infinities are not; slices are what they show."""
    assert column(array, "number") == expected
    assert column(array.slice(1), "number") == expected[1:]
    assert arrays.kind(array.type) == {"bool": "bool", "null": "empty"}.get(str(array.type), "number")


TEXTS = [
    (pa.array(["a", None, "", "a", "ö"]), ["a", None, "", "a", "ö"]),
    (pa.array(["a", None, "b"], pa.large_string()), ["a", None, "b"]),
    (pa.array(["a", None, "a long one that lies elsewhere"], pa.string_view()), ["a", None, "a long one that lies elsewhere"]),
    (pa.array([b"a", None, b"caf\xe9"], pa.binary()), ["a", None, "caf\\xe9"]),
    (pa.array([b"ab", None], pa.binary(2)), ["ab", None]),
    (pa.array(["a", None, "b"]).dictionary_encode(), ["a", None, "b"]),
    (pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 2, 3], pa.int8()), pa.array(["x", None, "x", "y"])), ["x", None, None, "x", "y"]),
    (pa.array([True, None, False]), ["true", None, "false"]),
    (pa.array([7, None]), ["7", None]),
    (pa.nulls(2), [None, None]),
    (pa.array([], pa.string()), []),
    (pa.array([None, None], pa.string()), [None, None]),
]


@pytest.mark.parametrize(("array", "expected"), TEXTS, ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "")
def test_texts(array: pa.Array, expected: list[Any]) -> None:
    """Distinct texts and codes; bytes that are not UTF-8 are shown; a value that stands in a dictionary twice is one."""
    words, codes = table.texts(array)

    assert column(array, "text") == expected
    assert column(array.slice(1), "text") == expected[1:]
    assert len(set(words)) == len(words)
    assert codes.dtype == np.int32


def test_an_equal_dictionary_is_the_same_object() -> None:
    """So what a caller derives from it can be kept."""
    one, other = pa.array(["a", "b", "a"]), pa.array(["a", "b", "b", None])

    assert table.texts(one)[0] is table.texts(other)[0]


def test_invalid_utf8_in_a_text_column() -> None:
    """Arrow does not look, and neither do we fail."""
    array = pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 4, 5], np.int32)), pa.py_buffer(b"caf\xe9x"))

    assert table.texts(array)[0] == ("caf\\xe9", "x")


TIMES = [
    (pa.array([1, None, -1], pa.timestamp("s")), [10**6, None, -(10**6)]),
    (pa.array([1, None], pa.timestamp("ms", "Europe/Berlin")), [1000, None]),
    (pa.array([1, None], pa.timestamp("us", "UTC")), [1, None]),
    (pa.array([1999, None, -1], pa.timestamp("ns")), [1, None, -1]),
    (pa.array([1, None], pa.date32()), [86_400_000_000, None]),
    (pa.array([86_400_000, None], pa.date64()), [86_400_000_000, None]),
    (pa.array([2**62, 1], pa.timestamp("s")), [None, 10**6]),
    (pa.array([1, None], pa.timestamp("s")).dictionary_encode(), [10**6, None]),
    (pa.nulls(2), [None, None]),
]


@pytest.mark.parametrize(("array", "expected"), TIMES, ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "")
def test_times(array: pa.Array, expected: list[Any]) -> None:
    """Microseconds since 1970; what does not fit is missing."""
    assert column(array, "time") == expected
    assert column(array.slice(1), "time") == expected[1:]


@given(
    st.lists(st.one_of(st.none(), st.floats(width=64), st.just(NAN)), max_size=40),
    st.lists(st.one_of(st.none(), st.text(max_size=5)), max_size=40),
    st.integers(0, 40),
)
def test_helpers_agree_with_arrow(floats: list[float | None], words: list[str | None], cut: int) -> None:
    """On any column and any slice."""
    numbers = pa.array(floats, pa.float64()).slice(cut)
    texts = pa.array(words, pa.string()).slice(cut)

    assert column(numbers, "number") == [None if value is None or value != value else value for value in numbers.to_pylist()]
    assert column(texts, "text") == texts.to_pylist()
    assert column(texts.dictionary_encode(), "text") == texts.to_pylist()


def test_a_parquet_file_of_all_kinds(tmp_path: Path) -> None:
    """Kinds, rows, values; nested columns are named and left out; row numbers that pandas wrote are no column."""
    path = parquet(
        tmp_path / "a.parquet",
        {
            "n": [1, None, 3],
            "t": ["x", None, "y"],
            "c": pa.array(["x", "x", None]).dictionary_encode(),
            "b": [True, False, None],
            "when": pa.array([1, 2, None], pa.timestamp("ns", "America/New_York")),
            "day": pa.array([1, 2, None], pa.date32()),
            "none": pa.nulls(3),
            "list": [[1], [2], None],
            "struct": [{"a": 1}, None, None],
            "__index_level_0__": [5, 6, 7],
        },
    )
    source = table.open(path)

    assert dict(source.schema) == {
        "n": "number",
        "t": "text",
        "c": "text",
        "b": "bool",
        "when": "time",
        "day": "time",
        "none": "empty",
        "list": "other",
        "struct": "other",
    }
    assert (source.rows, source.left_out, source.aware) == (3, ("list", "struct"), frozenset({"when"}))
    assert whole(source) == {
        "n": [1, None, 3],
        "t": ["x", None, "y"],
        "c": ["x", "x", None],
        "b": [1, 0, None],
        "when": [0, 0, None],
        "day": [86_400_000_000, 172_800_000_000, None],
        "none": [None] * 3,
    }


def test_columns_are_chosen_and_ordered(tmp_path: Path) -> None:
    """By ``columns`` or by ``select``; a name with a dot is no path."""
    path = parquet(tmp_path / "a.parquet", {"a": [1], "a.b": [2], "c": [3]})

    assert whole(table.open(path, columns=["c", "a"])) == {"c": [3], "a": [1]}
    assert whole(table.open(path).select(["a.b"])) == {"a.b": [2]}
    assert whole(table.open(path, times=["x"]).select(["a"])) == {"a": [1]}  # a check tells that the column is gone
    lacking = [lambda: table.open(path, columns=["x"]), lambda: table.open(path).select(["x"])]
    for choose in lacking:
        with pytest.raises(UsageError, match=r"has no column 'x'.\nIts columns are a, a.b, c"):
            choose()


def test_row_groups_are_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches keep the rows' order and their limit; parts hold all rows once, and survive a trip to another process."""
    monkeypatch.setattr(table, "BATCH", 64)
    values, words = list(range(1000)), [f"w{i % 7}" for i in range(1000)]
    path = parquet(tmp_path / "a.parquet", {"n": values, "t": words}, row_group_size=100)
    source = table.open(path)
    parts = pickle.loads(pickle.dumps(source.parts(rows=250)))

    assert whole(source) == {"n": values, "t": words}
    assert [part.rows for part in parts] == [300, 300, 300, 100]
    assert [value for part in parts for value in whole(part)["n"]] == values


def test_a_folder_and_a_glob(tmp_path: Path) -> None:
    """Files are read by name's order, to the ground; columns may stand in any order, and whole numbers go with floats."""
    parquet(tmp_path / "in/2.parquet", {"t": ["b"], "n": [2.5]})
    parquet(tmp_path / "in/1.parquet", {"n": [1], "t": pa.array(["a"]).dictionary_encode()})
    parquet(tmp_path / "in/sub/3.parquet", {"n": pa.nulls(1), "t": pa.nulls(1)})
    parquet(tmp_path / "in/_temporary/4.parquet", {"x": [1]})
    text(tmp_path / "in/_SUCCESS", "")

    source = table.open(tmp_path / "in")
    assert dict(source.schema) == {"n": "number", "t": "text"}
    assert whole(source) == {"n": [1, 2.5, None], "t": ["a", "b", None]}
    assert len(source.parts()) == 3
    assert whole(table.open(str(tmp_path / "in/[12].parquet")))["n"] == [1, 2.5]


def test_no_rows_are_no_batches(tmp_path: Path) -> None:
    """A file without rows is a table; it has one part."""
    empty = parquet(tmp_path / "a.parquet", {"n": pa.array([], pa.int64())})
    header = text(tmp_path / "a.csv", "n,m\n")

    for source in (table.open(empty), table.open(header), table.from_frame(pd.DataFrame({"n": []}))):
        assert (source.rows, list(source.batches()), len(source.parts())) == (0, [], 1)
    assert table.open(header).schema == (("n", "empty"), ("m", "empty"))


CSV = """\
when,zoned,day,clock,n,x,flag,code,mixed,none,late
2013-07-01T12:00:00,2013-07-01T12:00:00Z,2013-07-01,12:30,1,1.5,true,007,1,,2013-07-01
2013-07-01 12:00:00.5,2013-07-01T12:00:00+02:00,2013-07-02,12:31,NA,inf,false,008,x,,2013-07-01T00:00:01
"""


def test_a_csv_file(tmp_path: Path) -> None:
    """Types are those that hold every value; times are times; what is mixed is text; empty fields and NA are missing."""
    source = table.open(text(tmp_path / "a.csv", CSV), as_text=["code"])
    found = whole(source)

    assert dict(source.schema) == {
        "when": "time",
        "zoned": "time",
        "day": "time",
        "clock": "number",
        "n": "number",
        "x": "number",
        "flag": "bool",
        "code": "text",
        "mixed": "text",
        "none": "empty",
        "late": "time",
    }
    assert (source.rows, source.aware) == (2, frozenset({"zoned"}))
    assert found["code"] == ["007", "008"]
    assert found["mixed"] == ["1", "x"]
    assert (found["n"], found["x"], found["flag"]) == ([1, None], [1.5, float("inf")], [1, 0])
    assert np.diff(found["zoned"]).tolist() == [-2 * 3600 * 10**6]
    assert np.diff(found["when"]).tolist() == [500_000]
    assert np.diff(found["late"]).tolist() == [10**6]
    assert table.open(text(tmp_path / "b.csv", CSV)).schema[7] == ("code", "number")


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_a_csv_file_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    """Chunks end where rows do, though a text may break its line; a type seen late holds for the whole file; parts hold all rows once."""
    rows = [f'{i},"a ""word"",\nand {i}",{"x" if i == 900 else i}' for i in range(1000)]
    content = "\n".join(["n,t,late", *rows]).encode()
    path = tmp_path / f"a{ending}"
    path.write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    monkeypatch.setattr(csvfile, "_CHUNK", 500)
    source = table.open(path)
    parts = source.parts(rows=300)

    assert source.schema == (("n", "number"), ("t", "text"), ("late", "text"))
    assert whole(source)["n"] == list(range(1000))
    assert whole(source)["t"][7] == 'a "word",\nand 7'
    assert whole(source)["late"][899:902] == ["899", "x", "901"]
    assert [value for part in parts for value in whole(part)["n"]] == list(range(1000))
    assert len(parts) == (1 if ending.endswith("gz") else 4)
    assert all(len(piece.cuts) > 20 for piece in source.pieces if isinstance(piece, csvfile.CsvPiece))


def test_a_stray_quote_does_not_lose_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An inch sign within a field opens no quotation."""
    monkeypatch.setattr(csvfile, "_CHUNK", 50)
    path = text(tmp_path / "a.csv", "size,n\n" + "".join(f'{i}" pipe,{i}\n' for i in range(99)))

    assert whole(table.open(path))["n"] == list(range(99))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    """By the header; a mark that some editors put first is passed over, as are Windows' line ends."""
    path = text(tmp_path / "a.csv", "\ufeff" + delimiter.join(["a", "b", "c"]) + "\r\n" + delimiter.join(["1", "x", "2.5"]) + "\r\n")

    assert whole(table.open(path)) == {"a": [1], "b": ["x"], "c": [2.5]}


def test_a_csv_folder_agrees_on_types(tmp_path: Path) -> None:
    """CSV declares no types, so a column that is text in one file is text in all."""
    text(tmp_path / "in/1.csv", "code,n\n01,1\n")
    text(tmp_path / "in/2.csv", "code,n\nA1,2.5\n")
    text(tmp_path / "in/3.csv", "code,n\n")

    source = table.open(tmp_path / "in")
    assert source.schema == (("code", "text"), ("n", "number"))
    assert whole(source) == {"code": ["01", "A1"], "n": [1, 2.5]}


def test_text_that_is_latin_1(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are shown in the values, since the rest can be judged; a header must be readable."""
    path = text(tmp_path / "a.csv", "t,n\ncafé,1\n".encode("latin-1"))

    assert whole(table.open(path))["t"] == ["caf\\xe9"]


def test_text_columns_of_times(tmp_path: Path) -> None:
    """Where they are named as times: with zones they come in UTC, and the source says so."""
    naive, aware = ["2013-07-01T12:00:00", None, "2013-07-02"], [None, "2013-07-01T12:00:00+02:00", "2013-07-01T12:00:00Z"]
    path = parquet(tmp_path / "a.parquet", {"naive": naive, "aware": aware, "n": [1, 2, 3]})
    source = table.open(path, times=["naive", "aware"])

    assert source.schema == (("naive", "time"), ("aware", "time"), ("n", "number"))
    assert source.aware == {"aware"}
    assert whole(source)["aware"] == [None, 1_372_672_800_000_000, 1_372_680_000_000_000]
    assert whole(source)["naive"] == [1_372_680_000_000_000, None, 1_372_723_200_000_000]
    assert table.open(path).schema[0] == ("naive", "text")
    with pytest.raises(DataError, match=r"Column 'n' of .*a.parquet is a number, not a time"):
        table.open(path, times=["n"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["2013-07-01T12:00:00Z", "2013-07-01T12:00:00"], "Column 't' of .* mixes times with and without a zone"),
        (["2013-07-01T12:00:00", "2013-07-01T12:00:00Z"], "Column 't' of .* mixes times with and without a zone"),
        (["01/07/2013"], "Column 't' of .* holds text that is no time: .*01/07/2013"),
    ],
)
@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_text_columns_that_are_no_times(tmp_path: Path, values: list[str], message: str, ending: str) -> None:
    """A mix, or another format, is named."""
    path = tmp_path / f"a.{ending}"
    if ending == "csv":
        text(path, "t,n\n" + "".join(f"{value},1\n" for value in values))
    else:
        parquet(path, {"t": values})
    with pytest.raises(DataError, match=message):
        list(table.open(path, times=["t"]).batches())


def test_a_frame(tmp_path: Path) -> None:
    """A frame in memory reads as its file does; a column of mixed types is text."""
    frame = pd.DataFrame(
        {
            "n": [1, 2, 3],
            "x": [1.5, NAN, float("inf")],
            "t": ["a", None, "b"],
            "c": pd.Categorical(["u", None, "v"]),
            "b": [True, False, True],
            "i": pd.array([1, None, 3], dtype="Int64"),
            "when": pd.to_datetime(["2013-07-01", None, "2013-07-02"]),
            "zoned": pd.to_datetime(["2013-07-01T12:00Z", None, "2013-07-02T12:00Z"]),
            "mixed": [1, "a", None],
        },
        index=[5, 6, 7],
    )
    source = table.from_frame(frame)

    assert dict(source.schema) == {
        "n": "number",
        "x": "number",
        "t": "text",
        "c": "text",
        "b": "bool",
        "i": "number",
        "when": "time",
        "zoned": "time",
        "mixed": "text",
    }
    assert source.aware == {"zoned"}
    assert whole(source)["mixed"] == ["1", "a", None]
    frame.drop(columns="mixed").to_parquet(tmp_path / "a.parquet")
    file = table.open(tmp_path / "a.parquet")
    assert (file.schema, file.aware) == (source.schema[:-1], source.aware)
    assert whole(file) == whole(source.select([name for name, _ in file.schema]))
    with pytest.raises(DataError, match="the frame has more than one column 'a'"):
        table.from_frame(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def damaged(tmp_path: Path, name: str) -> str:
    """Make what the case needs, and give what to open."""
    good = parquet(tmp_path / "good.parquet", {"a": list(range(10_000)), "t": ["x"] * 10_000}).read_bytes()
    a, b = tmp_path / "in/a.parquet", tmp_path / "in/b.parquet"
    match name:
        case "nothing there":
            return str(tmp_path / "none.parquet")
        case "empty glob":
            return str(tmp_path / "none-*.parquet")
        case "empty folder":
            text(tmp_path / "in/notes.txt", "x")
            return str(tmp_path / "in")
        case "no bytes":
            return str(text(tmp_path / "a.csv", ""))
        case "cut off":
            return str(text(tmp_path / "a.parquet", good[: len(good) // 2]))
        case "not Parquet":
            return str(text(tmp_path / "a.parquet", "a,b\n1,2\n"))
        case "unknown":
            return str(text(tmp_path / "a.xlsx", "PK"))
        case "short row":
            return str(text(tmp_path / "a.csv", "a,b,c\n1,2,3\n4,5\n"))
        case "long row":
            return str(text(tmp_path / "a.csv", "a,b\n1,2\n3,4,5\n"))
        case "open quote":
            return str(text(tmp_path / "a.csv", 'a,b\n"1,2\n3,4\n'))
        case "twins in CSV":
            return str(text(tmp_path / "a.csv", "a,b,a\n1,2,3\n"))
        case "twins in Parquet":
            pq.write_table(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "a.parquet")
            return str(tmp_path / "a.parquet")
        case "UTF-16":
            return str(text(tmp_path / "a.csv", "a,b\n1,2\n".encode("utf-16")))
        case "header in Latin-1":
            return str(text(tmp_path / "a.csv", "é,b\n1,2\n".encode("latin-1")))
        case "blank header":
            return str(text(tmp_path / "a.csv", "\n1,2\n"))
        case "cut off gzip":
            return str(text(tmp_path / "a.csv.gz", gzip.compress(("a,b\n" + "1,2\n" * 100_000).encode())[:-100]))
        case "text and number":
            parquet(a, {"x": [1]})
            parquet(b, {"x": ["1"]})
        case "zones":
            parquet(a, {"x": pa.array([1], pa.timestamp("us"))})
            parquet(b, {"x": pa.array([1], pa.timestamp("us", "UTC"))})
        case "lost column":
            parquet(a, {"x": [1], "y": [1]})
            parquet(b, {"x": [1]})
        case "new column":
            parquet(a, {"x": [1]})
            parquet(b, {"x": [1], "y": [1]})
        case "both sorts":
            parquet(a, {"x": [1]})
            text(tmp_path / "in/b.csv", "x\n1\n")
        case "only nested":
            parquet(a, {"x": [[1]]})
    return str(tmp_path / "in")


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("nothing there", UsageError, r"none.parquet does not exist"),
        ("empty glob", UsageError, r"No file matches .*none-\*.parquet"),
        ("empty folder", UsageError, r"in holds no Parquet or CSV file"),
        ("no bytes", DataError, r"a.csv is empty"),
        ("cut off", DataError, r"a.parquet is cut off or damaged"),
        ("not Parquet", DataError, r"a.parquet is not Parquet"),
        ("unknown", UsageError, r"a.xlsx is neither Parquet nor, by its name, CSV"),
        ("short row", DataError, r"a.csv: the header names 3 columns, but a row has 2 values: 4,5"),
        ("long row", DataError, r"a.csv: the header names 2 columns, but a row has 3 values: 3,4,5"),
        ("open quote", DataError, r"a.csv"),
        ("twins in CSV", DataError, r"a.csv: the header names 'a' more than once"),
        ("twins in Parquet", DataError, r"a.parquet has more than one column 'a'"),
        ("UTF-16", DataError, r"a.csv is not UTF-8 text"),
        ("header in Latin-1", DataError, r"a.csv: the header is not UTF-8"),
        ("blank header", DataError, r"a.csv has no header"),
        ("cut off gzip", DataError, r"a.csv.gz cannot be read"),
        ("text and number", DataError, r"Column 'x' is a number in .*a.parquet, but text in .*b.parquet"),
        ("zones", DataError, r"column 'x' carry a zone in .*b.parquet, but none in .*a.parquet"),
        ("lost column", DataError, r"Column 'y' is in .*a.parquet, but not in .*b.parquet"),
        ("new column", DataError, r"Column 'y' is in .*b.parquet, but not in .*a.parquet"),
        ("both sorts", UsageError, r"holds both Parquet and CSV"),
        ("only nested", DataError, r"has no column that can be read"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, name: str, error: type[Exception], message: str) -> None:
    """File and column are named, and what to do; never a traceback of a library."""
    with pytest.raises(error, match=message):
        table.open(damaged(tmp_path, name))


def test_damage_within_a_file(tmp_path: Path) -> None:
    """What shows only while rows are read is a DataError too."""
    path = parquet(tmp_path / "a.parquet", {"a": np.arange(50_000)}, compression="snappy", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[100:5000] = bytes(4900)
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"a.parquet cannot be read"):
        list(table.open(path).batches())


LIGHT = """
import sys, types
from pathlib import Path
package = types.ModuleType("modelyard.monitor")  # its verb is another test's business
package.__path__ = [str(Path(sys.argv[1]))]
sys.modules["modelyard.monitor"] = package
from modelyard.monitor import duplicates, table
for path in sys.argv[2:]:
    source = table.open(path, times=["when"])
    tally = duplicates.Tally()
    for batch in source.batches():
        tally.add(batch)
        for name, kind in source.readable:
            {"number": table.numbers, "bool": table.numbers, "time": table.times}.get(kind, table.texts)(batch[name])
    assert tally.total().rows == 3
print(sorted({"pandas", "scipy", "pydantic", "rich", "jinja2", "sklearn"} & set(sys.modules)))
"""


def test_reading_imports_numpy_and_pyarrow_only(tmp_path: Path) -> None:
    """Not pandas, though pyarrow would where it makes numpy arrays; nor scipy, nor pydantic."""
    frame = pd.DataFrame({"n": [1, 2, 3], "t": ["a", None, "b"], "b": [True, False, None], "when": ["2013-07-01", None, "2013-07-02"]})
    frame["c"] = pd.Categorical(["u", "v", None])
    frame["d"] = [Decimal("1.5"), None, Decimal("2.5")]
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_csv(tmp_path / "a.csv", index=False)
    package = Path(table.__file__).parent
    code = [sys.executable, "-c", LIGHT, str(package), str(tmp_path / "a.parquet"), str(tmp_path / "a.csv")]
    done = subprocess.run(code, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
