"""What answers when the model fails: the champion before it, or a constant of the policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from modelyard.serve import beside
from modelyard.serve.contract import Contract

#: The folder of the champion before, within that of the models.
PREVIOUS = "previous"


@dataclass(frozen=True)
class Fallback:
    """Predictions (n,) of columns (n,), and what gives them: the log and ``/model`` name it."""

    predict: Callable[[Mapping[str, np.ndarray]], np.ndarray] = field(repr=False)
    version: str = ""
    sha256: str = ""

    def __call__(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Answer; what the champion before raises passes, and then there is no answer."""
        return self.predict(columns)


def make(contract: Contract, load: beside.Load, folder: Path) -> Fallback | None:
    """The fallback that the contract asks for; None where it asks for none, or no model was released before this one.

    Parameters
    ----------
    folder
        Of the models: ``previous/`` in it holds the champion before, with its own contract.

    Raises
    ------
    ValueError
        The champion before is there, and cannot be used.
    """
    wanted = contract.fallback
    if wanted.by == "constant" and wanted.constant is not None:
        constant = wanted.constant
        return Fallback(lambda columns: np.full(beside.rows(columns), constant))
    if wanted.by == "previous" and (folder / PREVIOUS).is_dir():
        before = beside.open_(folder / PREVIOUS, load)
        return Fallback(before, before.contract.version, before.contract.sha256)
    return None
