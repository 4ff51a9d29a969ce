"""The contract of a service, derived from what the project says elsewhere: its schema, the rows of a request, its policy."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelyard.errors import ProjectError
from modelyard.policy import Serving, Task
from modelyard.project import EXAMPLES, Project
from modelyard.serve.contract import FILE, Column, Contract, Fallback, Kind, Limits, Log

#: Bars of the histogram of predictions in ``/metrics``.
BARS = 20

_TEXT: dict[str, Callable[[Mapping[str, Any]], str]] = {  # pandera's checks of a text -> what must be found in it
    "str_matches": lambda said: f"^(?:{_raw(said['pattern'])})",
    "str_contains": lambda said: _raw(said["pattern"]),
    "str_startswith": lambda said: f"^{re.escape(said['string'])}",
    "str_endswith": lambda said: f"{re.escape(said['string'])}$",
}


def derive(
    project: Project,
    *,
    model: Path,
    rows: Sequence[Mapping[str, Any]],
    predictions: Sequence[float],
    version: str = "",
    run_id: str = "",
    commit: str = "",
    data_revision: str = "",
) -> Contract:
    """What the service of a model promises.

    Parameters
    ----------
    model
        Its file.
    rows, predictions
        Of ``models/examples.json``: a request holds the columns of its rows, in their order.
    version, run_id, commit, data_revision
        Where the model comes from, as far as it is known.

    Raises
    ------
    ProjectError
        The schema and the rows do not fit, or a request would hold what nobody knows yet.
    """
    from modelyard import validate
    from modelyard.release import sha256

    policy, names = project.policy, list(rows[0]) if rows else []
    schema = validate.schema(project).model
    _known_in_time(schema, names, policy.data.label)
    return Contract(
        name=policy.name,
        version=version,
        run_id=run_id,
        commit=commit,
        data_revision=data_revision,
        task=policy.task,
        sha256=sha256(model),
        columns=columns(schema, rows),
        histogram=edges(policy.task, predictions),
        **_settings(policy.serving),
    )


def write(contract: Contract, folder: Path) -> Path:
    """Write ``serving.json`` into the folder of the model."""
    path = folder / FILE
    path.write_text(contract.model_dump_json(indent=1, exclude_none=True) + "\n", encoding="utf-8")
    return path


def columns(schema: Any, rows: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The columns of a request, in the order of the rows' keys.

    Parameters
    ----------
    schema
        A pandera ``DataFrameModel``. What it says of single values is promised: types, bounds, patterns, categories, gaps. Its checks of
        whole columns and across them are not: a request may be one row.

    Raises
    ------
    ProjectError
        The schema does not name a column, or gives it a type that no request can hold.
    """
    held = schema.to_schema().columns
    names = list(rows[0]) if rows else []
    if not names:
        raise ProjectError(f"{EXAMPLES} holds no rows: what a request holds is not known.", "Let the train stage record some.")
    if absent := [name for name in names if name not in held]:
        raise ProjectError(f"{', '.join(absent)}: in the rows of {EXAMPLES}, and not in the schema.", "Add it to class Batch.")
    return [_column(name, held[name], [row.get(name) for row in rows]) for name in names]


def edges(task: Task, predictions: Sequence[float]) -> list[float]:
    """Upper edges of the bars of a histogram: of probabilities, or of values around those given."""
    import numpy as np

    if task == "binary":
        return [round(place / BARS, 2) for place in range(1, BARS + 1)]
    low, high = min(predictions, default=0.0), max(predictions, default=0.0)
    room = (high - low) / 2 or 1.0
    wanted = np.linspace(low - room, high + room, BARS)
    return sorted({float(f"{edge:.3g}") for edge in wanted})


def _settings(serving: Serving) -> dict[str, Any]:
    return {
        "limits": Limits(**serving.limits.model_dump()),
        "log": Log(**serving.log.model_dump()),
        "shadow": serving.shadow,
        "fallback": Fallback(**serving.fallback.model_dump()),
    }


def _known_in_time(schema: Any, names: Sequence[str], label: str) -> None:
    from modelyard.evaluate.leakage import known_later

    for name in names:
        if name == label or name in known_later(schema):
            why = "the label" if name == label else "known only later"
            raise ProjectError(f"{name} is {why}, and a request would have to hold it.", "Leave it out of what the features read.")


def _column(name: str, held: Any, examples: Sequence[Any]) -> Column:
    kind = _kind(name, held.dtype, examples)
    checks = [(check.name, check.statistics or {}) for check in held.checks if not check.raise_warning]
    return Column(
        name=name,
        kind=kind,
        nullable=bool(held.nullable or not held.required),
        description=held.description or held.title or "",
        **(_bounds(checks) if kind in ("number", "integer") else {}),
        **(_texts(checks) if kind == "text" else {}),
    )


def _kind(name: str, dtype: Any, examples: Sequence[Any]) -> Kind:
    """By the schema's type; where that is none (objects, categories), by the values."""
    from pandera import dtypes

    if getattr(dtype, "tz", None):
        raise ProjectError(
            f"{name}: a time with a zone, and requests hold times without one.", "Give class Batch a DateTime without a zone."
        )
    kinds: dict[Any, Kind] = {
        dtypes.Bool: "boolean",
        dtypes.Int: "integer",
        dtypes.UInt: "integer",
        dtypes.Float: "number",
        dtypes.DateTime: "time",
        dtypes.String: "text",
    }
    if dtype is not None:
        for known, kind in kinds.items():
            if dtypes.is_subdtype(dtype, known):
                return kind
    found = {type(value) for value in examples if value is not None}
    if found == {bool}:
        return "boolean"
    if found and found <= {int, float}:
        return "number"
    if found == {str}:
        return "text"
    raise ProjectError(f"{name}: nothing says what values it holds.", "Give it a type in class Batch.")


def _bounds(checks: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, float]:
    low, high, above, below = [], [], [], []
    for name, said in checks:
        if name in ("greater_than_or_equal_to", "in_range") and said.get("include_min", True):
            low.append(said["min_value"])
        if name in ("less_than_or_equal_to", "in_range") and said.get("include_max", True):
            high.append(said["max_value"])
        if name == "greater_than" or (name == "in_range" and not said["include_min"]):
            above.append(said["min_value"])
        if name == "less_than" or (name == "in_range" and not said["include_max"]):
            below.append(said["max_value"])
        if name == "equal_to":
            low.append(said["value"])
            high.append(said["value"])
        if name == "isin":
            low.append(min(said["allowed_values"]))
            high.append(max(said["allowed_values"]))
    strictest = {"minimum": max(low, default=None), "maximum": min(high, default=None), "above": max(above, default=None)}
    return {key: value for key, value in {**strictest, "below": min(below, default=None)}.items() if value is not None}


def _texts(checks: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Categories, and one pattern: the first in the order of ``_TEXT``, where there are several."""
    said = dict(checks)
    found: dict[str, Any] = {}
    if "isin" in said:
        found["values"] = [str(value) for value in said["isin"]["allowed_values"]]
    if pattern := next((make(said[name]) for name, make in _TEXT.items() if name in said), None):
        found["pattern"] = pattern
    return found


def _raw(pattern: Any) -> str:
    return str(getattr(pattern, "pattern", pattern))  # compiled, or as text
