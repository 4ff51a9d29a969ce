"""What champion and shadow said of the same rows, from the prediction log, with the labels that have come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelyard import dataset, predictionlog
from modelyard.errors import DataError
from modelyard.predictionlog import PREFIX

if TYPE_CHECKING:
    import pandas as pd

    from modelyard.project import Project


@dataclass(frozen=True)
class Answered:
    """Which model answered."""

    version: str
    sha256: str


@dataclass(frozen=True)
class Pairs:
    """Rows that both models predicted.

    Parameters
    ----------
    day
        (n,) whole numbers, days since 1970.
    champion, shadow
        (n,) predictions.
    label
        (n,) NaN where it has not come.
    champion_seconds, shadow_seconds
        (answers,) what predict took; NaN where nobody measured.
    left_out
        Why -> rows of the log that are not among them.
    """

    day: np.ndarray
    champion: np.ndarray
    shadow: np.ndarray
    label: np.ndarray
    champion_seconds: np.ndarray
    shadow_seconds: np.ndarray
    champion_is: Answered
    shadow_is: Answered
    left_out: Mapping[str, int] = field(default_factory=dict)


def read(project: Project, folder: Path) -> Pairs:
    """The shadow that answered last, and the champion beside it.

    Parameters
    ----------
    folder
        The prediction log, or its compaction.

    Raises
    ------
    DataError
        There is no such log, the two have no request in common, or ``load()`` fails.
    """
    data = project.policy.data
    columns = [f"{PREFIX}{name}" for name in ("time", "request", "row", "id", "role", "version", "sha256", "seconds", "prediction")]
    raw = predictionlog.read(folder, [*columns, data.time]).table.to_pandas()
    log = raw[columns].rename(columns=lambda name: name.removeprefix(PREFIX)).assign(at=predictionlog.times(raw, data.time))
    log = log.sort_values(["time", "request", "row"], kind="stable")
    shadows, left_out = _latest(log[log["role"] == "shadow"], "by other shadows")
    if shadows.empty:
        fix = "MODELYARD_SHADOW names the folder of its model to the service, and serving.shadow of the policy its share of the answers."
        raise DataError(f"The prediction log in {folder} holds no answer of a shadow.", fix)
    champions, more = _latest(
        log[(log["role"] == "champion") & log["request"].isin(shadows["request"])], "by other champions, beside the shadow"
    )
    left_out |= more
    both = shadows.merge(champions, on=["request", "row"], suffixes=("", "_champion"))
    twice = both["request"].isin(both.loc[both.duplicated(["request", "row"]), "request"])
    unknown = both[["prediction", "prediction_champion"]].isna().any(axis=1)
    left_out |= {
        "of the shadow, where the champion's answer is not in the log": int((~shadows["request"].isin(both["request"])).sum()),
        "of requests whose id came twice": int(twice.sum()),
        "without a prediction": int((unknown & ~twice).sum()),
    }
    both = both[~twice & ~unknown].reset_index(drop=True)
    if both.empty:
        raise DataError(f"The prediction log in {folder} holds no request that shadow and champion both answered.", _why(left_out))
    answers, last = both.drop_duplicates("request"), both.iloc[-1]
    return Pairs(
        day=both["at"].to_numpy().astype("datetime64[D]").astype(np.int64),
        champion=both["prediction_champion"].to_numpy(dtype=float),
        shadow=both["prediction"].to_numpy(dtype=float),
        label=_labels(project, both, is_event=data.time in raw.columns),
        champion_seconds=answers["seconds_champion"].to_numpy(dtype=float),
        shadow_seconds=answers["seconds"].to_numpy(dtype=float),
        champion_is=Answered(last["version_champion"], last["sha256_champion"]),
        shadow_is=Answered(last["version"], last["sha256"]),
        left_out=left_out,
    )


def _latest(rows: pd.DataFrame, others: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """The rows of the model that answered last, and how many are those of others."""
    if rows.empty:
        return rows, {others: 0}
    own = rows[rows["sha256"] == rows["sha256"].iloc[-1]]
    return own, {others: len(rows) - len(own)}


def _why(left_out: dict[str, int]) -> str:
    return f"Rows that were not compared: {', '.join(f'{count:,} {why}' for why, count in left_out.items() if count)}."


def _labels(project: Project, both: pd.DataFrame, *, is_event: bool) -> np.ndarray:
    """(n,) labels by row id; NaN where none has come, or no id is known.

    Parameters
    ----------
    is_event
        The column ``at`` is the time of what was predicted; else that of the answer, which it follows.
    """
    policy = project.policy
    if not policy.monitor.row_id or not both["id"].notna().any():
        return np.full(len(both), np.nan)
    start, end = both["at"].min().normalize(), both["at"].max().normalize() + timedelta(days=1)
    end += timedelta(days=0 if is_event else policy.monitor.window_days)
    loaded = dataset.load(project, start.to_pydatetime(), end.to_pydatetime())
    labels, _ = predictionlog.labels(loaded, policy.monitor.row_id, policy.data.label)
    found: np.ndarray = both["id"].map(labels).to_numpy(dtype=float)
    return found
