"""Rows and columns in, arrays out: what is accepted, what is refused, and where the fault is said to be."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from modelyard.serve.contract import Column, Contract, Limits
from modelyard.serve.request import FAULTS, Batch, InvalidError, Parser

COLUMNS = [
    Column(name="at", kind="time"),
    Column(name="copy", kind="text", values=["a", "b"]),  # a method of pydantic's models
    Column(name="Flight No.", kind="integer", minimum=1, below=100),
    Column(name="_x", kind="number", above=-1, maximum=1, nullable=True),
    Column(name="code", kind="text", pattern="^[A-Z]{3}$", nullable=True),
    Column(name="open", kind="boolean"),
    Column(name="count", kind="integer", nullable=True),
    Column(name="seen", kind="time", nullable=True),
]
ROW = {"at": "2013-01-31T05:15:00", "copy": "a", "Flight No.": 7, "_x": 0.5, "code": "JFK", "open": True, "count": 3, "seen": None}


def contract(columns: list[Column] = COLUMNS, **limits: Any) -> Contract:
    return Contract(name="mini", task="binary", sha256="0" * 64, columns=columns, limits=Limits(**limits))


PARSER = Parser(contract(rows=5))


def rows(*rows: dict[str, Any], **others: Any) -> bytes:
    return json.dumps({"rows": rows, **others}).encode()


def columns(columns: dict[str, Any], **others: Any) -> bytes:
    return json.dumps({"columns": columns, **others}).encode()


def refused(body: bytes, *, by: str = "rows") -> list[tuple[list[str | int], str]]:
    with pytest.raises(InvalidError) as refusal:
        getattr(PARSER, by)(body)
    return [(fault.loc, fault.type) for fault in refusal.value.faults]


def equal(first: Batch, second: Batch) -> None:
    assert (first.ids, first.rows, first.missing, first.unseen) == (second.ids, second.rows, second.missing, second.unseen)
    assert list(first.columns) == list(second.columns)
    for name, values in first.columns.items():
        assert values.dtype == second.columns[name].dtype
        np.testing.assert_array_equal(values, second.columns[name])


def test_each_kind_becomes_its_array() -> None:
    """Columns come in the contract's order, with the types that the module promises."""
    batch = PARSER.rows(rows(ROW, {**ROW, "_x": None, "code": None, "count": None, "seen": "2013-02-01T00:00:00.25"}))

    assert list(batch.columns) == [column.name for column in COLUMNS]
    assert {name: values.dtype.str for name, values in batch.columns.items()} == {
        "at": "<M8[us]",
        "copy": "|O",
        "Flight No.": "<i8",
        "_x": "<f8",
        "code": "|O",
        "open": "|b1",
        "count": "<f8",
        "seen": "<M8[us]",
    }
    assert batch.columns["at"][0] == np.datetime64("2013-01-31T05:15:00")
    assert batch.columns["seen"][1] == np.datetime64("2013-02-01T00:00:00.250")
    assert np.isnat(batch.columns["seen"][0])
    assert np.isnan(batch.columns["_x"][1])
    assert batch.columns["code"].tolist() == ["JFK", None]
    assert batch.missing == {"_x": 1, "code": 1, "count": 1, "seen": 1}


def test_rows_and_columns_are_the_same() -> None:
    """Both bodies give the same arrays; a nullable column that is left out, or null as a whole, is missing in every row."""
    held = [ROW, {**ROW, "copy": "z", "count": None}]
    lists = {name: [row[name] for row in held] for name in ROW}
    without = {name: values for name, values in lists.items() if name != "seen"}

    equal(PARSER.rows(rows(*held, ids=["p", "q"])), PARSER.columns(columns(lists, ids=["p", "q"])))
    equal(PARSER.columns(columns(lists)), PARSER.columns(columns(without)))
    equal(PARSER.columns(columns(lists)), PARSER.columns(columns({**lists, "seen": None})))


def test_years_of_every_kind_survive() -> None:
    """Times are exact to the microsecond from the first year to the last, before and after 1970."""
    for text in ("0001-01-01T00:00:00", "1969-12-31T23:59:59.999999", "9999-12-31T23:59:59.000001"):
        assert PARSER.rows(rows({**ROW, "at": text})).columns["at"][0] == np.datetime64(text, "us")


def test_whole_numbers_may_be_written_as_fractions() -> None:
    """A data frame writes 7.0 where other values of the column are missing; 7.5 is refused."""
    assert PARSER.rows(rows({**ROW, "Flight No.": 7.0})).columns["Flight No."].tolist() == [7]
    assert refused(rows({**ROW, "Flight No.": 7.5})) == [(["rows", 0, "Flight No."], "multiple_of")]


def test_a_text_never_seen_is_counted() -> None:
    """It is answered; null is not among them."""
    assert PARSER.rows(rows(ROW, {**ROW, "copy": "c"}, {**ROW, "copy": ""})).unseen == {"copy": 2}
    nullable = Parser(contract([Column(name="t", kind="text", values=["a"], nullable=True)]))
    assert nullable.rows(rows({"t": None}, {"t": "b"})).unseen == {"t": 1}


def test_ids_may_be_numbers() -> None:
    """They become texts, one for each row."""
    assert PARSER.rows(rows(ROW, ROW, ids=["a", 12])).ids == ["a", "12"]
    assert refused(rows(ROW, ROW, ids=["a"])) == [(["ids"], "length")]
    assert refused(rows(ROW, ids=["a" * 201])) == [(["ids", 0], "string_too_long")]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "text for a number": ({"_x": "1"}, "float_type"),
    "boolean for a number": ({"_x": True}, "float_type"),
    "list for a number": ({"_x": [1]}, "float_type"),
    "number for a text": ({"copy": 1}, "string_type"),
    "number for a boolean": ({"open": 1}, "bool_type"),
    "null where it must be known": ({"copy": None}, "string_type"),
    "too small": ({"Flight No.": 0}, "greater_than_equal"),
    "too large": ({"Flight No.": 100}, "less_than"),
    "on an open bound": ({"_x": -1}, "greater_than"),
    "over a closed bound": ({"_x": 1.001}, "less_than_equal"),
    "larger than JSON can hold exactly": ({"count": 2**53 + 2}, "less_than_equal"),
    "no match": ({"code": "jfk"}, "string_pattern_mismatch"),
    "a line break behind a match": ({"code": "JFK\n"}, "string_pattern_mismatch"),
    "a time with a zone": ({"at": "2013-01-01T05:15:00Z"}, "timezone_naive"),
    "a time with an offset": ({"at": "2013-01-01T05:15:00+01:00"}, "timezone_naive"),
    "a day that is none": ({"at": "2013-02-30T00:00:00"}, "datetime_parsing"),
    "seconds since 1970": ({"at": 1359609300}, "datetime_type"),
    "a column more": ({"late": 1}, "extra_forbidden"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_value_is_refused_where_it_stands(fault: str) -> None:
    """Among rows and among columns: the place is told, and the value is not repeated."""
    change, kind = BAD[fault]
    (name,) = change
    row = {**ROW, **change}

    assert refused(rows(ROW, row)) == [(["rows", 1, name], kind)]
    ((loc, found),) = refused(columns({key: [value] for key, value in row.items()}), by="columns")
    assert (loc[:2], found) == (["columns", name], kind)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 400])
def test_what_is_no_finite_number_is_refused(number: str) -> None:
    """JSON's own and Python's additions to it."""
    body = rows(ROW).replace(b"0.5", number.encode())

    assert refused(body) == [(["rows", 0, "_x"], "finite_number")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[]",
        b"null",
        b"{}",
        b'{"rows": null}',
        b'{"rows": []}',
        b'{"rows": [[]]}',
        b'{"rows": {}}',
        b'{"rows": [{}], "more": 1}',
        b"[" * 100_000,
        b'{"rows": ' + b'{"a":' * 100_000,
        b'{"rows": [{"copy": "\xff"}]}',
        b'{"rows": [{"copy": "\\ud800"}]}',
        rows(*[ROW] * 6),
    ],
    ids=range(15),
)
def test_what_is_no_list_of_rows_is_refused(body: bytes) -> None:
    """By both readers, whatever it is."""
    assert refused(body)
    assert refused(body, by="columns")


def test_columns_of_different_lengths_are_refused() -> None:
    """Also none at all, where all of them may be left out."""
    lists = {name: [value] for name, value in ROW.items()}
    assert refused(columns({**lists, "copy": ["a", "b"]}), by="columns") == [(["columns", "copy"], "length")]

    free = Parser(contract([Column(name="x", kind="number", nullable=True)]))
    with pytest.raises(InvalidError, match="1 faults"):
        free.columns(columns({}))


def test_faults_are_few_and_hold_no_value() -> None:
    """Thousands of faults are answered by a few, and long keys are cut."""
    body = rows({**ROW, **{f"secret{'k' * 500}{number}": "secret" for number in range(1000)}})
    with pytest.raises(InvalidError) as refusal:
        PARSER.rows(body)

    assert len(refusal.value.faults) == FAULTS
    assert max(len(str(part)) for fault in refusal.value.faults for part in fault.loc) <= 80
    assert not any("secret" in fault.msg for fault in refusal.value.faults)


def test_only_the_first_bad_row_is_told() -> None:
    """All of its faults; the rows behind it are not looked at."""
    bad = {**ROW, "copy": 1, "open": None}

    assert {tuple(loc[:2]) for loc, _ in refused(rows(ROW, bad, bad))} == {("rows", 1)}


def test_a_pattern_may_look_ahead() -> None:
    """Rust's expressions cannot; then Python's are used."""
    parser = Parser(contract([Column(name="t", kind="text", pattern="^(?=a)a+$")]))

    assert parser.rows(rows({"t": "aa"})).rows == 1
    with pytest.raises(InvalidError):
        parser.rows(rows({"t": "b"}))


def test_the_json_schema_says_what_is_checked() -> None:
    """Types, bounds, patterns and what may be null; a time has no zone, which the format date-time would demand."""
    found = PARSER.by_rows.model_json_schema()
    held = found["$defs"]["Row"]["properties"]

    assert list(held) == [column.name for column in COLUMNS]
    assert (held["Flight No."]["type"], held["Flight No."]["minimum"], held["Flight No."]["exclusiveMaximum"]) == ("integer", 1, 100)
    assert held["at"]["type"] == "string"
    assert "format" not in held["at"]
    assert {"type": "null"} in held["_x"]["anyOf"]
    assert found["$defs"]["Row"]["required"] == ["at", "copy", "Flight No.", "open"]
    assert found["$defs"]["Row"]["additionalProperties"] is False
    assert found["properties"]["rows"]["maxItems"] == 5
