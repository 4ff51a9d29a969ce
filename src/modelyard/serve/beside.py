"""A second model beside the one that serves: the shadow, or the champion before. Its file is checked before it is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from modelyard.serve import contract as contracts
from modelyard.serve.contract import MODEL, Contract


class Predicts(Protocol):
    """What the project's ``model.load`` gives."""

    def predict(self, batch: Mapping[str, np.ndarray], /) -> np.ndarray:
        """(n,) predictions of columns (n,)."""


Load = Callable[[Path], Predicts]


@dataclass(frozen=True)
class Beside:
    """A model of a folder, with what its contract says of it."""

    contract: Contract
    model: Predicts

    def __call__(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """(n,) finite predictions, one after the other in memory: a classifier's are often a column of a table.

        Raises
        ------
        ValueError
            The model gave something else; what it raises itself passes.
        """
        found = np.asarray(self.model.predict(columns), dtype=np.float64, order="C")
        if found.shape != (rows(columns),) or not np.isfinite(found).all():
            raise ValueError("the model gave other than one finite number a row")
        return found


def open_(folder: Path, load: Load) -> Beside:
    """The model of ``folder/model.onnx``, which ``folder/serving.json`` must name.

    Raises
    ------
    ValueError
        A file is missing or damaged, the model is not the one that the contract names, or the project's code cannot open it.
    """
    promised = contracts.verified(folder)
    try:
        return Beside(promised, load(folder / MODEL))
    except Exception as error:  # whatever the project's code raises
        raise ValueError(f"{folder / MODEL} cannot be opened: {type(error).__name__}.") from error


def rows(columns: Mapping[str, np.ndarray]) -> int:
    """How many rows the columns hold."""
    return len(next(iter(columns.values())))
