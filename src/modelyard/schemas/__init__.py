"""JSON Schemas of what a project reads and writes, generated from the pydantic models.

``python -m modelyard.schemas`` writes them beside this file, where they are committed; a test compares.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

FOLDER = Path(__file__).parent


def generate() -> dict[str, str]:
    """File name -> content of every schema."""
    from modelyard import policy, release, validate
    from modelyard.evaluate.report import Evaluation
    from modelyard.evaluate.shadowed import Shadowed
    from modelyard.loadtest.report import LoadTest
    from modelyard.monitor.report import Monitoring
    from modelyard.score.manifest import Manifest

    models: dict[str, type[BaseModel]] = {
        "policy": policy.Policy,
        "release": release.Release,
        "validate": validate.Validation,
        "evaluate": Evaluation,
        "shadow": Shadowed,
        "loadtest": LoadTest,
        "score": Manifest,
    }
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schemas = {name: draft | model.model_json_schema() for name, model in models.items()}
    schemas["monitor"] = draft | TypeAdapter(Monitoring).json_schema()  # plain dataclasses: a check imports no pydantic
    return {f"{name}.schema.json": json.dumps(s, indent=2, sort_keys=True, ensure_ascii=False) + "\n" for name, s in schemas.items()}
