"""Reports as JSON files: the same content is the same bytes, and a killed run leaves no half file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from modelyard.errors import ProjectError

M = TypeVar("M", bound=BaseModel)


def write(path: Path, document: BaseModel) -> None:
    """Write ``document`` with sorted keys, so that a report can be compared and hashed."""
    text = json.dumps(document.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def read(path: Path, model: type[M], fix: str) -> M:
    """Read a file that :func:`write` made.

    Raises
    ------
    ProjectError
        It is missing, or of another shape; ``fix`` says which command makes it.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ProjectError(f"{path} is missing.", fix) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise ProjectError(f"{path} is not what this version writes: {'.'.join(map(str, first['loc']))}: {first['msg']}", fix) from None
