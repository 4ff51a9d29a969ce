"""What an output was made of: in the file itself, and for all of a batch in ``_manifest.json``."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Model(_Part):
    """The model that predicted."""

    name: str = Field(description="In the registry.")
    version: str = Field(description="In the registry.")
    sha256: str = Field(description="Of the model file.")
    commit: str = Field(description="Commit whose code it was trained with, and predicted by.")


class Origin(_Part):
    """All that decides what stands in an output; where it is the same, nothing is scored again."""

    source: str = Field(description="What was named: files, or load(start, end).")
    input: str = Field(description="The file below that, or the period.")
    input_sha256: str = Field(description="Of the file; of what load() returned, in the columns that are read.")
    first: int = Field(description="Position of the first row in the input.")
    copied: list[str] = Field(description="Columns that were copied.")
    model: Model


class Made(_Part):
    """What a file says of itself."""

    origin: Origin
    rows: int = Field(description="Rows read.")
    refused: int = Field(description="Rows without a prediction; they stand in _refused/<file>.")
    reasons: dict[str, int] = Field(description="Rows by reason; a row may have several.")
    unseen: dict[str, int] = Field(description="Column -> rows whose text training never saw; they are predicted.")
    scored_at: datetime = Field(description="Logical date.")


class Output(_Part):
    """One file of predictions."""

    file: str
    sha256: str
    input: str
    first: int
    rows: int
    refused: int
    reasons: dict[str, int]
    unseen: dict[str, int]
    scored_at: datetime


class Input(_Part):
    """One file, or one period of load()."""

    name: str
    sha256: str
    rows: int


class Manifest(_Part):
    """What ``_manifest.json`` holds; it is written last, so where it stands the batch is whole."""

    format: Literal[1] = Field(1, description="Version of this file's format.")
    verdict: Literal["complete", "partial"] = Field(description="partial: rows were refused.")
    batch: str
    source: str = Field(description="What was named: files, or load(start, end).")
    model: Model
    rows: int = Field(description="Rows read; each is predicted or refused.")
    refused: int
    inputs: list[Input]
    outputs: list[Output]
