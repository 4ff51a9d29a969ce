"""From the bytes of a request to columns for the model, checked against the contract. No I/O.

pydantic checks rows and columns as they are parsed, in one pass; what comes out are NumPy arrays:

========  ==============================================
number    float64, NaN where null
integer   int64; float64 with NaN where it may be null
boolean   bool; objects with None where it may be null
text      objects: str, None where null
time      datetime64[us], NaT where null
========  ==============================================
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NaiveDatetime, TypeAdapter, ValidationError, WithJsonSchema, create_model
from pydantic_core import SchemaError

from modelyard.serve.contract import Column, Contract

#: Faults that an answer lists; a request may hold thousands.
FAULTS = 20

_WORDS = 80  # characters of a key that are repeated in the place of a fault
_EXACT = 2**53  # a larger whole number is rounded on its way through JSON
_EPOCH, _TICK = datetime(1970, 1, 1), timedelta(microseconds=1)
# RFC 3339, which the format `date-time` stands for, demands the offset that is refused here.
_TIME = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?$"}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


class Fault(_Strict):
    """Something in a request that is refused."""

    loc: list[str | int] = Field(description="Where: keys and positions, from the outside in.")
    type: str
    msg: str


class InvalidError(Exception):
    """A request is not what the contract says.

    Parameters
    ----------
    faults
        At least one; they never hold a value of the request.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(f"{len(faults)} faults")
        self.faults = list(faults)


@dataclass(frozen=True)
class Batch:
    """A request's rows.

    Parameters
    ----------
    columns
        In the contract's order, each (rows,).
    ids
        The caller's names of the rows.
    missing, unseen
        Column -> values that are null, and texts that the training data did not hold; columns without any are left out.
    """

    columns: dict[str, np.ndarray]
    ids: list[str] | None
    rows: int
    missing: dict[str, int]
    unseen: dict[str, int]


class Parser:
    """Reads requests; made once, since pydantic compiles its models.

    Attributes
    ----------
    by_rows, by_columns
        The pydantic models of the two bodies.
    """

    by_rows: type[BaseModel]
    by_columns: type[BaseModel]

    def __init__(self, contract: Contract) -> None:
        self._columns = contract.columns
        self._known = [frozenset([*column.values, None]) if column.values else None for column in contract.columns]
        # Names of columns may be anything, also a method of BaseModel; so fields are numbered, and the name is an alias.
        self._fields = [f"c{place}" for place in range(len(contract.columns))]
        config = ConfigDict(**_Strict.model_config, regex_engine=_engine(contract.columns))
        several = Field(min_length=1, max_length=contract.limits.rows, fail_fast=True)
        one: dict[str, Any] = {}
        many: dict[str, Any] = {}
        for field, column in zip(self._fields, contract.columns, strict=True):
            value: Any = _type(column)
            values: Any = Annotated[list[value], several]
            one[field] = (value, _about(column))
            many[field] = (values | None if column.nullable else values, _about(column))
        row: Any = create_model("Row", __config__=config, **one)
        lists: Any = create_model("Columns", __config__=config, **many)
        name = Annotated[str, Field(strict=False, max_length=200, coerce_numbers_to_str=True)]
        ids: Any = (
            Annotated[list[name], several] | None,
            Field(None, description="Names of the rows, by which labels find them."),
        )
        self.by_rows = create_model("Rows", __config__=config, rows=(Annotated[list[row], several], ...), ids=ids)
        self.by_columns = create_model("ColumnLists", __config__=config, columns=(lists, ...), ids=ids)

    def rows(self, body: bytes) -> Batch:
        """Read ``{"rows": [{...}, ...]}``.

        Raises
        ------
        InvalidError
            It is none.
        """
        asked = _validated(self.by_rows, body)
        rows = [vars(row) for row in asked.rows]
        return self._batch([[row[field] for row in rows] for field in self._fields], asked.ids, len(rows))

    def columns(self, body: bytes) -> Batch:
        """Read ``{"columns": {name: [...], ...}}``.

        Raises
        ------
        InvalidError
            It is none, or the columns differ in length.
        """
        asked = _validated(self.by_columns, body)
        held = vars(asked.columns)
        lists = [held[field] for field in self._fields]
        lengths = {column.name: len(values) for column, values in zip(self._columns, lists, strict=True) if values is not None}
        if not lengths:
            raise InvalidError([Fault(loc=["columns"], type="missing", msg="All columns are missing")])
        first, rows = next(iter(lengths.items()))
        for name, length in lengths.items():
            if length != rows:
                raise InvalidError([Fault(loc=["columns", name[:_WORDS]], type="length", msg=f"Should have as many values as {first}")])
        return self._batch([[None] * rows if values is None else values for values in lists], asked.ids, rows)

    def _batch(self, lists: list[list[Any]], ids: list[str] | None, rows: int) -> Batch:
        if ids is not None and len(ids) != rows:
            raise InvalidError([Fault(loc=["ids"], type="length", msg="Should have one value for each row")])
        columns, missing, unseen = {}, {}, {}
        for column, values, known in zip(self._columns, lists, self._known, strict=True):
            columns[column.name] = array(column, values)
            if column.nullable and (count := values.count(None)):
                missing[column.name] = count
            if known and (count := sum(value not in known for value in values)):
                unseen[column.name] = count
        return Batch(columns, ids, rows, missing, unseen)


def array(column: Column, values: Sequence[Any]) -> np.ndarray:
    """Values of one column as the model gets them; None where they are missing."""
    if column.kind == "time":  # ten times as fast as NumPy's own conversion of datetimes
        missing = np.iinfo(np.int64).min
        ticks = [missing if value is None else (value - _EPOCH) // _TICK for value in values]
        return np.array(ticks, dtype=np.int64).view("datetime64[us]")
    if column.kind == "number" or (column.kind == "integer" and column.nullable):
        return np.array(values, dtype=np.float64)
    if column.kind == "integer":
        return np.rint(np.array(values, dtype=np.float64)).astype(np.int64)
    if column.kind == "boolean" and not column.nullable:
        return np.array(values, dtype=bool)
    return np.array(values, dtype=object)


def _validated(model: type[BaseModel], body: bytes) -> Any:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidError([Fault(loc=_place(e["loc"]), type=e["type"], msg=e["msg"]) for e in found[:FAULTS]]) from None


def _place(loc: Iterable[str | int]) -> list[str | int]:
    return [part[:_WORDS] if isinstance(part, str) else part for part in loc]


def _about(column: Column) -> Any:
    return Field(None if column.nullable else ..., alias=column.name, description=column.description or None)


def _type(column: Column) -> Any:
    """What one value must be."""
    bounds: dict[str, Any] = {"ge": column.minimum, "le": column.maximum, "gt": column.above, "lt": column.below}
    kind: Any
    if column.kind == "integer":
        bounds["ge"] = max(-_EXACT, -_EXACT if column.minimum is None else column.minimum)
        bounds["le"] = min(_EXACT, _EXACT if column.maximum is None else column.maximum)
        # 7.0 is a whole number too: data frames write one so where others of the column are missing.
        kind = Annotated[float, Field(**bounds, multiple_of=1, json_schema_extra={"type": "integer"})]
    elif column.kind == "number":
        kind = Annotated[float, Field(**bounds)]
    elif column.kind == "boolean":
        kind = bool
    elif column.kind == "time":
        kind = Annotated[NaiveDatetime, WithJsonSchema(_TIME)]
    else:
        examples = column.values[:10] if column.values else None
        kind = Annotated[str, Field(pattern=column.pattern, examples=examples)]
    return kind | None if column.nullable else kind


def _engine(columns: Sequence[Column]) -> Any:
    """Rust's regular expressions, which take linear time, unless a pattern looks ahead or behind: only Python knows that."""
    try:
        for column in columns:
            TypeAdapter(Annotated[str, Field(pattern=column.pattern)])
    except SchemaError:
        return "python-re"
    return "rust-regex"
