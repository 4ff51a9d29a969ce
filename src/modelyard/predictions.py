"""Predictions of a model, held to their promise: one finite number a row, a probability where the task is binary."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard.errors import ProjectError

if TYPE_CHECKING:
    import pandas as pd

    from modelyard.champion import Champion
    from modelyard.project import Project


def challenger(project: Project) -> Callable[[pd.DataFrame], np.ndarray]:
    """The model in the working tree, loaded once by the working tree's code: from a frame to predictions (n,).

    Raises
    ------
    ProjectError
        There is no model, or the project's ``model.load``, or later ``predict``, fails.
    """
    from modelyard.project import MODEL, load_object

    package = project.policy.package
    path = project.root / MODEL
    if not path.exists():
        raise ProjectError(f"{MODEL} is missing.", "Run `modelyard train`, or `modelyard state pull` and `dvc pull`.")
    load = load_object(project, "model", "load")
    loaded: Any = None

    def predict(frame: pd.DataFrame) -> np.ndarray:
        nonlocal loaded
        if frame.empty:
            return np.empty(0)
        try:
            loaded = loaded or load(path)
            values = loaded.predict(frame)
        except Exception as error:
            raise ProjectError(
                f"{package}.model cannot predict with {MODEL}: {type(error).__name__}: {error}",
                f"Mend src/{package}/model.py, or train again.",
            ) from error
        return checked(values, len(frame), project.policy.task, f"{package}.model's predict")

    return predict


def of_challenger(project: Project, frame: pd.DataFrame) -> np.ndarray:
    """Predictions (n,) of the model in the working tree; raises as :func:`challenger`."""
    return challenger(project)(frame)


def of_champion(champion: Champion, frame: pd.DataFrame) -> np.ndarray:
    """Predictions (n,) of the released model, by the code that it was trained with.

    Raises
    ------
    ProjectError
        They are not what a model must return.
    """
    if frame.empty:
        return np.empty(0)
    return checked(champion.predict(frame), len(frame), champion.project.policy.task, "The champion's predict")


def checked(values: Any, rows: int, task: str, name: str) -> np.ndarray:
    """``values`` as float64 of shape (rows,).

    Raises
    ------
    ProjectError
        Wrong shape, values that are not finite, or probabilities outside of [0, 1].
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ProjectError(f"{name} returned no numbers: {error}") from None
    if array.shape != (rows,):
        raise ProjectError(f"{name} returned shape {array.shape} for {rows} rows.", "Return one prediction a row, as a flat array.")
    if bad := int((~np.isfinite(array)).sum()):
        raise ProjectError(f"{name} returned {bad:,} of {rows:,} values that are NaN or infinite.")
    if task == "binary" and rows and (array.min() < 0 or array.max() > 1):
        span = f"{array.min():.4g} to {array.max():.4g}"
        raise ProjectError(f"{name} returned {span}.", "A binary model predicts probabilities of the positive class.")
    return array
