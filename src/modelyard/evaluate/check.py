"""One row of the gate: what was asked, what came out, what is demanded, and why it matters. No I/O."""

from __future__ import annotations

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
