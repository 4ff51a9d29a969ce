"""What a model does where a column is missing, or holds a text that training cannot have seen. No I/O.

It may predict, or refuse in words that name the column: who asks is told what to mend. It may not fail otherwise, nor answer with NaN.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, Field

from modelyard.errors import ProjectError
from modelyard.evaluate import columns
from modelyard.evaluate.asked import Asked, cause, in_words
from modelyard.evaluate.check import Check, Maker

if TYPE_CHECKING:
    import pandas as pd

#: Rows, evenly spaced, that are asked for each column that is spoiled.
ROWS = 200


class Reaction(BaseModel):
    """What the model does where one column is spoiled."""

    column: str
    spoiled: Literal["missing", "unseen"]
    answer: Literal["predicts", "refuses", "fails"] = Field(description="refuses: fails in words that name the column.")
    shift: float | None = Field(None, description="Mean absolute change of the prediction.")
    words: str = Field("", description="What the model said where it did not predict.")


def react(at: Asked, names: Sequence[str]) -> list[Reaction]:
    """Spoil one column after the other."""
    chosen = columns.spaced(len(at.rows), ROWS)
    rows, before = at.rows.iloc[chosen].reset_index(drop=True), at.before[chosen]
    made = [_reaction(at, rows.assign(**{name: columns.missing(rows[name])}), before, name, "missing") for name in names]
    texts = [name for name in names if columns.is_text(rows[name])]
    return made + [_reaction(at, rows.assign(**{name: columns.unseen(rows[name])}), before, name, "unseen") for name in texts]


def _reaction(at: Asked, rows: pd.DataFrame, before: np.ndarray, column: str, spoiled: Literal["missing", "unseen"]) -> Reaction:
    try:
        after = at.ask(rows)
    except Exception as error:
        invalid = isinstance(error, ProjectError) and error.__cause__ is None  # it did answer, with NaN
        named = re.search(rf"(?<!\w){re.escape(column)}(?!\w)", str(cause(error)))
        return Reaction(column=column, spoiled=spoiled, answer="refuses" if named and not invalid else "fails", words=in_words(error))
    return Reaction(column=column, spoiled=spoiled, answer="predicts", shift=float(np.abs(after - before).mean()))


def judge(reactions: Sequence[Reaction], missing: frozenset[str], unseen: frozenset[str]) -> list[Check]:
    """A check for each way of spoiling; columns that the schema keeps from being missing, or unseen, may fail."""
    return [
        _check_of("missing values", [r for r in reactions if r.spoiled == "missing"], missing, "missing"),
        _check_of("unseen categories", [r for r in reactions if r.spoiled == "unseen"], unseen, "of a new value"),
    ]


def _check_of(name: str, reactions: Sequence[Reaction], refused: frozenset[str], words: str) -> Check:
    if not reactions:
        return _check(name, "noted", "There is no column that could be spoiled so.")
    limit = "a valid prediction, or an error that names the column"
    bad = [r for r in reactions if r.answer == "fails" and r.column not in refused]
    if bad:
        said = "; ".join(f"{r.column}: {r.words}" for r in bad[:3]) + (f"; and {len(bad) - 3} more" if len(bad) > 3 else "")
        return _check(name, "failed", f"{len(bad)} of {len(reactions)} columns may not be {words}: {said}", len(bad), limit)
    kept = [r.column for r in reactions if r.answer == "fails"]
    refuses = [r.column for r in reactions if r.answer == "refuses"]
    if kept or refuses:
        parts = [f"the model refuses {', '.join(refuses)}, by name"] if refuses else []
        parts += [f"it would fail on {', '.join(kept)}, which the schema refuses"] if kept else []
        return _check(name, "noted", f"Where a column is {words}: {'; '.join(parts)}.", 0, limit)
    worst = max(reactions, key=lambda r: r.shift or 0)
    said = f"The model answers where any of {len(reactions)} columns is {words}"
    return _check(name, "passed", f"{said}; most depends on {worst.column} ({worst.shift or 0:.2g} on average).", 0, limit)


_check = Maker(
    "robustness",
    {
        "missing values": "sooner or later a source fails; a clear refusal can be mended, nonsense spreads",
        "unseen categories": "tomorrow there is a new shop, route or code",
    },
)
