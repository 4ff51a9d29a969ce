"""A service in a few lines: a package whose model is one number, and what a request to it holds."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from modelyard.serve.contract import FILE, MODEL, Column, Contract

LOADER = """
import json
import numpy as np

class Model:
    def __init__(self, slope, reads="x", provider="CPUExecutionProvider", outputs=1, robust=False):
        self.slope, self.reads, self.provider, self.outputs, self.robust = slope, reads, provider, outputs, robust

    def predict(self, batch):
        x = np.nan_to_num(np.asarray(batch[self.reads], dtype=float))
        group = np.asarray(batch["group"])
        found = 1 / (1 + np.exp(-self.slope * x))
        if (group == "secret-fails").any():
            raise ValueError(f"cannot use {group.tolist()}")
        if not self.robust:
            found = np.where(group == "secret-nan", np.nan, found)
        both = np.stack([1 - found, found], axis=1)  # as a classifier gives them
        return both[:, 1] if self.outputs == 1 else np.stack([found] * self.outputs, axis=1)

def load(path):
    return Model(**json.loads(path.read_text()))
"""

SERVICE = """
from modelyard.serve import service
from PACKAGE import model
Service = service.make(model.load)
"""

COLUMNS = [
    Column(name="at", kind="time"),
    Column(name="x", kind="number", minimum=-8, maximum=8, nullable=True),
    Column(name="group", kind="text", values=["a", "b"]),
]
ROW = {"at": "2013-01-01T00:00:00", "x": 0.5, "group": "a"}


def write_model(folder: Path, slope: float = 2.0, version: str = "7", model: dict[str, Any] | None = None, **changes: Any) -> Contract:
    """A model file and its contract."""
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"slope": slope, **(model or {})}).encode()
    (folder / MODEL).write_bytes(content)
    given = {"columns": COLUMNS, "histogram": [0.25, 0.5, 0.75, 1.0], "sha256": hashlib.sha256(content).hexdigest(), **changes}
    contract = Contract(name="mini", task="binary", version=version, run_id="r1", **given)
    (folder / FILE).write_text(contract.model_dump_json())
    return contract


def write_package(folder: Path, name: str) -> None:
    """A package with ``model`` and ``service``."""
    (folder / name).mkdir(parents=True)
    for file, text in {"__init__": "", "model": LOADER, "service": SERVICE.replace("PACKAGE", name)}.items():
        (folder / name / f"{file}.py").write_text(text)


def expected(x: float, slope: float = 2.0) -> float:
    """What the model says."""
    return 1 / (1 + math.exp(-slope * x))


def samples(text: str) -> dict[str, float]:
    """What /metrics says: sample with its labels -> value."""
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return {name.removeprefix("modelyard_"): float(value) for name, value in pairs}
