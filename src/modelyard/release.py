"""The release record ``releases/production.yaml``: what runs, and why. ``git log releases/`` is the audit trail."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from modelyard import policy
from modelyard.errors import PolicyError

_SHA256 = r"^[0-9a-f]{64}$"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Model(_Part):
    """The model file and its entry in the registry."""

    name: str = Field(description="Name in the MLflow registry.")
    version: str = Field(description="Version in the MLflow registry.")
    run_id: str = Field(description="MLflow run that logged it.")
    path: str = Field(description="The model file, delivered by DVC.")
    sha256: str = Field(pattern=_SHA256, description="Of the file that DVC must deliver.")


class Evaluation(_Part):
    """Why it may replace the champion."""

    sha256: str = Field(pattern=_SHA256, description="SHA-256 of evaluate.json, kept with the MLflow run.")
    verdict: Literal["promote"] = Field(description="Nothing else is proposed.")
    metric: str = Field(description="The deciding metric of the policy.")
    challenger: float = Field(description="Its value for this model on the hold-out.")
    champion: float | None = Field(description="Its value for the model replaced; none for a first release.")
    lower: float | None = Field(description="Lower confidence bound of the improvement.")
    superior: bool | None = Field(
        None, description="It was certainly better than what it replaced (95 %), not only not worse; releases after it are held to it."
    )
    holdout: tuple[datetime, datetime] = Field(description="[start, end) of the event times it was judged on, and not trained on.")


class Batch(_Part):
    """One period of the data it was trained on."""

    path: str = Field(description="The data file; its pointer lies beside it.")
    md5: str = Field(description="DVC's content hash.")


class Code(_Part):
    """What it was trained with."""

    commit: str = Field(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$", description="Commit on main with the code.")
    dvc_lock: str = Field(pattern=_SHA256, description="SHA-256 of dvc.lock.")
    uv_lock: str | None = Field(pattern=_SHA256, description="SHA-256 of uv.lock: the environment.")


class Release(_Part):
    """One release of the model."""

    version: Literal[1] = Field(1, description="Version of this format.")
    model: Model
    evaluation: Evaluation
    data: list[Batch]
    code: Code
    logical_date: datetime = Field(description="Until when data were taken.")
    trigger: str = Field(description="What started the training: push, schedule, workflow_dispatch, ...")
    risk: str = Field(description="Risk level at the time, by the policy's probability, impact and matrix.")
    approved_by: str | None = Field(
        None, description="What approved it, where the workflow merged it; else forge, git log and registry name people."
    )


def read(text: bytes | str, name: str = "releases/production.yaml") -> Release:
    """Parse a record.

    Raises
    ------
    PolicyError
        It is no YAML, or not a record.
    """
    try:
        raw = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that does not exist
        raise PolicyError(f"{name} is no YAML: {error}") from None
    return policy.parse(raw, Release, name)


def write(release: Release) -> str:
    """The record as YAML, keys in the model's order."""
    return yaml.safe_dump(release.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def sha256(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
