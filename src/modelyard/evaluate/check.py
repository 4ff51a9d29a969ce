"""One row of the gate: what was asked, what came out, what is demanded, and why it matters. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field

from modelyard.risk import Family

#: inconclusive: the evidence says neither; unknown: what is needed for an answer is missing; noted: told, and never decides.
Status = Literal["passed", "failed", "inconclusive", "unknown", "noted"]


class Check(BaseModel):
    """One check, with its evidence."""

    family: Family
    name: str = Field(description="Short, unique within its family: a metric, a segment, a group.")
    status: Status
    message: str = Field(description="One sentence: what was found.")
    value: float | None = None
    lower: float | None = Field(None, description="Lower end of the value's interval.")
    upper: float | None = Field(None, description="Upper end of it.")
    limit: str = Field("", description="What is demanded, in words; empty where nothing is.")
    why: str = Field("", description="Why it matters, half a sentence.")


@dataclass(frozen=True)
class Maker:
    """Makes the checks of one family, so that why each matters stands in one place."""

    family: Family
    why: Mapping[str, str]  # of each name
    otherwise: str = ""  # of names that are not listed

    def __call__(self, name: str, status: Status, message: str, value: float | None = None, limit: str = "") -> Check:
        """Make one check."""
        why = self.why.get(name, self.otherwise)
        return Check(family=self.family, name=name, status=status, message=message, value=value, limit=limit, why=why)
