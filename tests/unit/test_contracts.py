"""What a service promises follows from the schema, the rows of a request and the policy."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa
import pytest
from pandera.typing import Series
from unit import mini_project

from modelyard import contracts
from modelyard.errors import ProjectError
from modelyard.project import MODEL
from modelyard.serve.contract import Column, read


class Batch(pa.DataFrameModel):
    """Columns of every kind."""

    at: Series[pa.DateTime]
    when: pd.Timestamp = pa.Field(coerce=True, nullable=True)
    group: Series[str] = pa.Field(isin=["b", "a"], description="Which of them.")
    word: Series[pd.StringDtype] = pa.Field(str_matches=r"[A-Z]{3}$")
    part: Series[str] = pa.Field(str_contains="x+", title="A part")
    head: Series[str] = pa.Field(str_startswith="a.b", str_endswith="c")
    tail: Series[str] = pa.Field(str_endswith="c$")
    count: Series[int] = pa.Field(ge=1, le=9)
    gaps: Series[pd.Int64Dtype] = pa.Field(nullable=True)
    open_: Series[float] = pa.Field(gt=0, lt=1, alias="open")
    half: Series[float] = pa.Field(in_range={"min_value": -1, "max_value": 1, "include_max": False}, ge=-0.5)
    flag: Series[float] = pa.Field(isin=[0, 1])
    only: Series[float] = pa.Field(eq=3)
    yes: Series[bool]
    kind: Series[pa.Category]
    thing: Series[object]
    maybe: float | None

    @pa.check("count")
    def _its_own(cls, column: pd.Series[int]) -> bool:  # noqa: N805 - pandera's
        return True


ROW: dict[str, Any] = {
    "at": "2013-01-01T00:00:00",
    "when": None,
    "group": "a",
    "word": "ABC",
    "part": "x",
    "head": "a.bc",
    "tail": "c$",
    "count": 1,
    "gaps": None,
    "open": 0.5,
    "half": 0.0,
    "flag": 1.0,
    "only": 3.0,
    "yes": True,
    "kind": "k",
    "thing": 1.5,
    "maybe": 2.0,
}


def test_each_column_promises_what_the_schema_checks_of_single_values() -> None:
    """Types, bounds, patterns, categories, gaps and descriptions; in the order of the rows, not of the schema."""
    order = [*reversed(ROW)]
    found = contracts.columns(Batch, [{name: ROW[name] for name in order}])

    assert [column.name for column in found] == order
    assert {column.name: column for column in found} == {
        column.name: column
        for column in [
            Column(name="at", kind="time"),
            Column(name="when", kind="time", nullable=True),
            Column(name="group", kind="text", values=["b", "a"], description="Which of them."),
            Column(name="word", kind="text", pattern="^(?:[A-Z]{3}$)"),
            Column(name="part", kind="text", pattern="x+", description="A part"),
            Column(name="head", kind="text", pattern=r"^a\.b"),
            Column(name="tail", kind="text", pattern=r"c\$$"),
            Column(name="count", kind="integer", minimum=1, maximum=9),
            Column(name="gaps", kind="integer", nullable=True),
            Column(name="open", kind="number", above=0, below=1),
            Column(name="half", kind="number", minimum=-0.5, below=1),
            Column(name="flag", kind="number", minimum=0, maximum=1),
            Column(name="only", kind="number", minimum=3, maximum=3),
            Column(name="yes", kind="boolean"),
            Column(name="kind", kind="text"),
            Column(name="thing", kind="number"),
            Column(name="maybe", kind="number", nullable=True),
        ]
    }


class Zoned(pa.DataFrameModel):
    """A time that no request can hold."""

    at: Series[pd.DatetimeTZDtype] = pa.Field(dtype_kwargs={"unit": "ns", "tz": "UTC"})


class Unclear(pa.DataFrameModel):
    """A column of anything."""

    thing: Series[object] = pa.Field(nullable=True)


@pytest.mark.parametrize(
    ("schema", "rows", "words"),
    [
        (Batch, [], "holds no rows"),
        (Batch, [{"at": "", "speed": 1, "wind": 2}], "speed, wind: in the rows of"),
        (Zoned, [{"at": "2013-01-01T00:00:00"}], "at: a time with a zone"),
        (Unclear, [{"thing": None}], "thing: nothing says"),
        (Unclear, [{"thing": [1]}], "thing: nothing says"),
    ],
)
def test_what_no_request_can_hold_is_refused(schema: Any, rows: list[dict[str, Any]], words: str) -> None:
    """The column is named."""
    with pytest.raises(ProjectError, match=words):
        contracts.columns(schema, rows)


def test_a_contract_holds_model_policy_and_columns(tmp_path: Path) -> None:
    """Derived from a project, written, and read again."""
    serving = {
        "limits": {"rows": 7, "concurrency": 3},
        "log": {"redact": ["x"]},
        "shadow": 0.5,
        "fallback": {"by": "constant", "constant": 0.2},
    }
    project = mini_project.make(tmp_path, serving=serving)
    rows = [{"x": 0.5, "gap": None, "group": "a"}]
    made = contracts.derive(project, model=project.root / MODEL, rows=rows, predictions=[0.5], version="3", commit="c", run_id="r")

    assert read(contracts.write(made, tmp_path)) == made
    assert made.sha256 == hashlib.sha256((project.root / MODEL).read_bytes()).hexdigest()
    assert (made.name, made.task, made.version, made.commit, made.run_id) == ("mini", "binary", "3", "c", "r")
    assert made.columns == [
        Column(name="x", kind="number", minimum=-8, maximum=8),
        Column(name="gap", kind="number", minimum=0, maximum=1, nullable=True),
        Column(name="group", kind="text", values=["a", "b", "c"]),
    ]
    assert (made.limits.rows, made.limits.concurrency, made.limits.seconds) == (7, 3, 10.0)
    assert (made.log.redact, made.shadow, made.fallback.constant) == (["x"], 0.5, 0.2)
    assert made.histogram[0] == 0.05
    assert made.histogram[-1] == 1


def test_a_column_known_too_late_is_refused(tmp_path: Path) -> None:
    """The label, and what the schema marks."""
    project = mini_project.make(tmp_path)
    model = project.root / MODEL

    with pytest.raises(ProjectError, match="late is the label"):
        contracts.derive(project, model=model, rows=[{"x": 1.0, "late": 1.0}], predictions=[1.0])

    schema = project.source / project.policy.package / "schema.py"
    marked = schema.read_text().replace("serial: int", 'serial: int = pa.Field(metadata={"known": "later"})')
    other = mini_project.make(tmp_path / "other")
    (other.source / other.policy.package / "schema.py").write_text(marked)
    with pytest.raises(ProjectError, match="serial is known only later"):
        contracts.derive(other, model=model, rows=[{"x": 1.0, "serial": 1}], predictions=[1.0])


def test_bars_of_minutes_lie_around_the_predictions() -> None:
    """With room on both sides; also where all are equal, or none is known."""
    edges = contracts.edges("regression", [-10.0, 30.0])

    assert edges == sorted(set(edges))
    assert (edges[0], edges[-1]) == (-30.0, 50.0)
    assert len(contracts.edges("regression", [5.0])) == contracts.BARS
    assert len(contracts.edges("regression", [])) == contracts.BARS
