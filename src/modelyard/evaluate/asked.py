"""A model that is asked again and again for the same rows, each time in another way. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from modelyard.errors import ModelyardError
from modelyard.policy import Task
from modelyard.predictions import checked

if TYPE_CHECKING:
    import pandas as pd

#: Gives (m,) predictions of m rows; it may raise, which is a finding.
Predict = Callable[["pd.DataFrame"], np.ndarray]


@dataclass(frozen=True)
class Asked:
    """The model, the rows and what it said of them."""

    task: Task
    predict: Predict
    rows: pd.DataFrame
    before: np.ndarray

    @property
    def scale(self) -> float:
        """What tolerances are multiplied with."""
        return 1.0 if self.task == "binary" else float(np.abs(self.before).max())

    def ask(self, rows: pd.DataFrame) -> np.ndarray:
        """Predictions of other rows."""
        return ask(self.task, self.predict, rows)


def ask(task: Task, predict: Predict, rows: pd.DataFrame) -> np.ndarray:
    """Predictions, one valid number a row.

    Raises
    ------
    Exception
        Whatever the model raised, or a ProjectError of what it answered.
    """
    return checked(predict(rows), len(rows), task, "The model's predict")


def cause(error: Exception) -> Exception:
    """The model's own exception, where the toolkit only passed it on."""
    return error.__cause__ if isinstance(error, ModelyardError) and isinstance(error.__cause__, Exception) else error


def in_words(error: Exception) -> str:
    """What happened, in one line, shortened."""
    found = cause(error)
    said = found.what if isinstance(found, ModelyardError) else f"{type(found).__name__}: {found}"
    line = " ".join(said.split())
    return line if len(line) <= 200 else f"{line[:197]}..."
