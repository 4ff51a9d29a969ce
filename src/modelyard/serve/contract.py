"""What a service promises: which model, which columns, which limits. ``models/serving.json`` in the Bento."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["number", "integer", "text", "boolean", "time"]

MODEL = "model.onnx"
#: Beside the model file.
FILE = "serving.json"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Column(_Part):
    """One column of a request."""

    name: str
    kind: Kind
    nullable: bool = Field(False, description="It may be null, or left out.")
    minimum: float | None = Field(None, description="Smallest value that is accepted.")
    maximum: float | None = Field(None, description="Largest value that is accepted.")
    above: float | None = Field(None, description="Values must be greater than this.")
    below: float | None = Field(None, description="Values must be less than this.")
    pattern: str | None = Field(None, description="Regular expression that must be found in a text.")
    values: list[str] | None = Field(None, description="Texts that the training data may hold; another one is answered, and counted.")
    description: str = ""


class Limits(_Part):
    """What one request may ask for; as `serving.limits` of the policy."""

    rows: int = 1000
    body_mb: float = 1.0
    seconds: float = 10.0
    concurrency: int = 32


class Log(_Part):
    """What is written down of answers; as `serving.log` of the policy."""

    sample: float = 1.0
    redact: list[str] = Field(default_factory=list)
    file_mb: float = 64.0
    file_minutes: float = 60.0


class Fallback(_Part):
    """What answers when the model fails; as `serving.fallback` of the policy."""

    by: Literal["nothing", "previous", "constant"] = "nothing"
    constant: float | None = None


class Contract(_Part):
    """All that a service needs to know beside the model file."""

    format: Literal[1] = Field(1, description="Version of this file's format.")
    name: str = Field(description="Model in the registry.")
    version: str = Field("", description="Version in the registry; empty before it has one.")
    run_id: str = Field("", description="MLflow run that trained it.")
    commit: str = Field("", description="Commit that it was trained from.")
    data_revision: str = Field("", description="What names the data it was trained on: the hash of dvc.lock.")
    task: Literal["binary", "regression"]
    sha256: str = Field(description="Of the model file.")
    columns: list[Column] = Field(description="Of a request, in this order.")
    limits: Limits = Limits()
    log: Log = Log()
    shadow: float = Field(0.1, description="Share of answers that a mounted shadow model gives too.")
    fallback: Fallback = Fallback()
    histogram: list[float] = Field(default_factory=list, description="Edges of the predictions' histogram in /metrics.")


def read(path: Path) -> Contract:
    """The contract of a file.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It holds no contract, or one of another format.
    """
    return Contract.model_validate_json(path.read_bytes())


def verified(folder: Path) -> Contract:
    """The contract of a folder, whose model file is the one that it names.

    Raises
    ------
    ValueError
        A file is missing or damaged, or the model is another one; the words say which.
    """
    path = folder / MODEL
    try:
        promised = read(folder / FILE)
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ValueError(f"{error.filename}: {error.strerror}.") from None
    except ValueError:
        raise ValueError(f"{folder / FILE} is damaged, or of another version of Modelyard.") from None
    if found != promised.sha256:
        raise ValueError(f"{path} is {found[:12]}, and {FILE} names {promised.sha256[:12]}.")
    return promised
