"""The flights as numbers, and the template's recipe on them, fast: what is encoded is encoded once for all models."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

MONITOR = Path(__file__).resolve().parents[1] / "monitor"
sys.path += [str(MONITOR), str(MONITOR / "decision")]  # flights, output; stream

import output  # noqa: E402
import stream  # noqa: E402
from flights import CACHE, folder  # noqa: E402

__all__ = ["APRIL", "CACHE", "DAYS", "JULY", "Flights", "day_of", "fit", "flights", "folder", "output"]

DAYS = np.arange("2013-01-01", "2014-01-01", dtype="datetime64[D]")
APRIL, JULY = 90, 181  # first day of the pool, as day of the year; and of that for models trained to June


def day_of(date: str) -> int:
    """Day of the year, 0 ..., of a date such as 04-01."""
    return int(np.searchsorted(DAYS, np.datetime64(f"2013-{date}")))


@dataclass(frozen=True)
class Flights:
    """2013's flights whose label is known, in order of departure.

    Parameters
    ----------
    inputs
        (n, k) what the template's pipeline gives its estimator.
    names
        The k columns.
    raw
        The template's raw columns.
    """

    inputs: np.ndarray
    names: list[str]
    label: np.ndarray
    day: np.ndarray
    raw: pd.DataFrame

    def rows(self, first: int, end: int) -> np.ndarray:
        """Row numbers of the days first ... end - 1."""
        return np.arange(*np.searchsorted(self.day, [first, end]))


@cache
def flights() -> Flights:
    """All of them. Texts are ordinals of the year's values; a project's encoder would call unseen ones -1."""
    frame = stream.flights()
    parts = stream.recipe().features.features(frame)
    texts = set(stream.recipe().features.TEXTS)
    columns = [pd.Categorical(values).codes if name in texts else values for name, values in parts.items()]
    label = frame[stream.recipe().data.LABEL].to_numpy()
    return Flights(np.column_stack(columns).astype(np.float32), list(parts), label, frame["day"].to_numpy(), frame)


def fit(rows: np.ndarray, *, drop: str | None = None, label: np.ndarray | None = None, **changed: Any) -> np.ndarray:
    """Train on some rows, and score all.

    Parameters
    ----------
    drop
        An input that the model does not get.
    label
        (n,) of all rows, where others are learnt.
    changed
        Parameters of the estimator other than the template's.

    Returns
    -------
    ndarray
        (n,) probabilities of all flights of the year.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    data, params = flights(), stream.recipe().params
    keep = [i for i, name in enumerate(data.names) if name != drop]
    settings = {
        "max_iter": params["iterations"],
        "learning_rate": params["learning_rate"],
        "max_leaf_nodes": params["leaves"],
        "min_samples_leaf": params["min_samples_leaf"],
        "l2_regularization": params["l2"],
        "early_stopping": False,
        "random_state": params["seed"],
    }
    target = data.label if label is None else label
    with threadpool_limits(1):
        model = HistGradientBoostingClassifier(**{**settings, **changed}).fit(data.inputs[rows][:, keep], target[rows])
        return model.predict_proba(data.inputs[:, keep])[:, 1].astype(np.float32)
