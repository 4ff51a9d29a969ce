"""Rows held to the contract of the service, and predicted: what a service would refuse is refused here, row by row. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pyarrow as pa
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import SchemaError

from modelyard.errors import DataError
from modelyard.monitor import files
from modelyard.monitor.table import Kind, Source, from_frame, numbers, texts, times
from modelyard.predictions import checked
from modelyard.serve.contract import Column

if TYPE_CHECKING:
    import pandas as pd

    from modelyard.champion import Champion

#: Kind of a request's column -> kind of the table's column that can hold it.
HELD_BY: dict[str, Kind] = {"number": "number", "integer": "number", "text": "text", "boolean": "bool", "time": "time"}
EXACT = 2**53  # larger whole numbers are rounded, so the service refuses them
SILENT = "the model gives no finite number"

Faults = list[tuple[np.ndarray, str]]


@dataclass(frozen=True)
class Scored:
    """Rows after the model was asked.

    Attributes
    ----------
    predictions
        (n,); NaN where a row was refused.
    reasons
        (n,) texts: why a row was refused, or empty. They name columns and rules, never a value.
    refused
        Rows by reason; a row may have several.
    unseen
        Column -> rows whose text training never saw. They are predicted.
    """

    predictions: np.ndarray
    reasons: np.ndarray
    refused: Counter[str]
    unseen: Counter[str]

    @property
    def known(self) -> np.ndarray:
        """(n,) true where there is a prediction."""
        return np.asarray(self.reasons == "")


def fits(columns: Sequence[Column], source: Source) -> None:
    """Refuse a table that no row of can be predicted.

    Raises
    ------
    DataError
        A column of the request is missing, or of another type; each is named.
    """
    kinds = dict(source.schema)
    wrong = [f"column {c.name!r} is missing" for c in columns if c.name not in kinds]
    for column in columns:
        found, wanted = kinds.get(column.name, "empty"), HELD_BY[column.kind]
        if found not in (wanted, "empty"):
            wrong.append(f"column {column.name!r} is {files.WORDS[found]}, not {files.WORDS[wanted]}")
        elif found == "time" and column.name in source.aware:
            wrong.append(f"the times of column {column.name!r} carry a zone")
    if wrong:
        raise DataError(f"{source.name} cannot be scored: {'; '.join(wrong)}.", f"A request holds {', '.join(c.name for c in columns)}.")


def predict(champion: Champion, columns: Sequence[Column], batch: pa.RecordBatch) -> Scored:
    """Ask the champion for each row that a service would accept.

    Parameters
    ----------
    columns
        Of a request; the batch holds them in types that :func:`fits` accepted, maybe among others.

    Raises
    ------
    ServiceError
        The champion's code fails.
    ProjectError
        It returns something other than one prediction a row.
    """
    import pandas as pd

    held = {column.name: _typed(column, batch[column.name]) for column in columns}
    faults = [(mask, f"{name}: {words}") for name, (_, found, _) in held.items() for mask, words in found]
    accepted = ~np.logical_or.reduce([mask for mask, _ in faults], axis=0) if faults else np.ones(batch.num_rows, bool)
    predictions = np.full(batch.num_rows, np.nan)
    if accepted.any():
        frame = pd.DataFrame({column.name: _native(column, held[column.name][0][accepted]) for column in columns})
        predictions[accepted] = _answers(champion, frame)
        faults.append((accepted & np.isnan(predictions), SILENT))
    counted = Counter({words: count for mask, words in faults if (count := int(mask.sum()))})
    strange = {name: int((accepted & new).sum()) for name, (_, _, new) in held.items() if new is not None}
    return Scored(predictions, _joined(batch.num_rows, faults), counted, Counter({name: n for name, n in strange.items() if n}))


def of_frame(champion: Champion, columns: Sequence[Column], frame: pd.DataFrame) -> Scored:
    """What the verb says of rows in memory; raises as :func:`fits` and :func:`predict`."""
    source = from_frame(frame, times=[column.name for column in columns if column.kind == "time"])
    fits(columns, source)
    found = [predict(champion, columns, batch) for batch in source.batches()]
    return Scored(
        np.concatenate([np.empty(0), *(each.predictions for each in found)]),
        np.concatenate([np.empty(0, dtype=object), *(each.reasons for each in found)]),
        sum((each.refused for each in found), Counter()),
        sum((each.unseen for each in found), Counter()),
    )


def _answers(champion: Champion, frame: pd.DataFrame) -> np.ndarray:
    """Predictions (n,), NaN where the model gives no finite number; all else that a model must not return raises."""
    said = np.asarray(champion.predict(frame))
    silent = np.zeros(len(frame), bool)
    if said.shape == (len(frame),) and said.dtype.kind == "f":
        silent = ~np.isfinite(said)
    kept = checked(
        said[~silent] if silent.any() else said, len(frame) - int(silent.sum()), champion.project.policy.task, "The champion's predict"
    )
    answers = np.full(len(frame), np.nan)
    answers[~silent] = kept
    return answers


def _typed(column: Column, array: pa.Array) -> tuple[np.ndarray, Faults, np.ndarray | None]:
    """Values (n,), what is wrong with which of them, and which of them are texts that training never saw."""
    if column.kind in ("number", "integer"):
        return *_numbers(column, array), None
    if column.kind == "text":
        return _texts(column, array)
    if column.kind == "time":
        moments, valid = times(array)
        return np.where(valid, moments.astype("datetime64[us]"), np.datetime64("NaT")), _missing(column, valid), None
    values, valid = numbers(array)
    said = (values == 1).astype(object)
    said[~valid] = None
    return said, _missing(column, valid), None


def _numbers(column: Column, array: pa.Array) -> tuple[np.ndarray, Faults]:
    values, valid = numbers(array)
    values = np.where(valid, values, np.nan)
    faults = [*_missing(column, valid), (np.isinf(values), "infinite")]
    if column.kind == "integer":
        faults.append((np.isfinite(values) & ((values != np.rint(values)) | (np.abs(values) > EXACT)), "not a whole number"))
    bounds = ((column.minimum, np.less, "below"), (column.maximum, np.greater, "above"))
    strict = ((column.above, np.less_equal, "not above"), (column.below, np.greater_equal, "not below"))
    faults += [(beyond(values, bound), f"{words} {bound:g}") for bound, beyond, words in (*bounds, *strict) if bound is not None]
    return values, faults


def _texts(column: Column, array: pa.Array) -> tuple[np.ndarray, Faults, np.ndarray | None]:
    dictionary, codes = texts(array)

    def where(wanted: Callable[[str], bool]) -> np.ndarray:
        return np.array([*(wanted(text) for text in dictionary), False])[codes]  # -1, which is missing, takes the last one

    values: np.ndarray = np.array([*dictionary, None], dtype=object)[codes]
    faults = _missing(column, codes >= 0)
    if column.pattern is not None:
        matches = _matcher(column.pattern)
        faults.append((where(lambda text: not matches(text)), f"does not match {column.pattern}"))
    known = None if column.values is None else set(column.values)
    return values, faults, None if known is None else where(lambda text: text not in known)


@cache
def _matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a text matches as in the service, whose pydantic uses Rust's expressions wherever they understand a pattern."""
    kind = Annotated[str, Field(pattern=pattern)]
    try:
        adapter = TypeAdapter[str](kind)
    except SchemaError:
        adapter = TypeAdapter[str](kind, config=ConfigDict(regex_engine="python-re"))

    def matches(text: str) -> bool:
        try:
            adapter.validate_python(text)
        except ValidationError:
            return False
        return True

    return matches


def _missing(column: Column, valid: np.ndarray) -> Faults:
    return [] if column.nullable else [(~valid, "missing")]


def _native(column: Column, values: np.ndarray) -> np.ndarray:
    """As the service gives them to the model, once no row is left that could not be."""
    if column.nullable or column.kind not in ("integer", "boolean"):
        return values
    return values.astype(np.int64 if column.kind == "integer" else bool)


def _joined(rows: int, faults: Faults) -> np.ndarray:
    reasons = np.full(rows, "", dtype=object)
    for mask, words in faults:
        if mask.any():
            reasons[mask] = [f"{before}; {words}" if before else words for before in reasons[mask]]
    return reasons
