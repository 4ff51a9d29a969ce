"""What the live model really served in the window: its answers from the prediction log, with the labels that have come since."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from modelyard import predictionlog
from modelyard.monitor import checks
from modelyard.monitor.profile import Profile
from modelyard.monitor.report import Check
from modelyard.predictionlog import PREFIX

if TYPE_CHECKING:
    import pandas as pd

    from modelyard.champion import Champion
    from modelyard.project import Project


@dataclass(frozen=True)
class Served:
    """The rows that the champion answered, each once.

    Parameters
    ----------
    frame
        Their features, event time and label; a label is missing where it has not come, or the row was not found.
    scores
        (n,) what was answered.
    found
        (n,) whether ``load()`` returned the row.
    no_labels
        Why none was found; empty where one was.
    profile
        The champion's, of those columns only that the log holds.
    check
        How many rows there are, and what was left out.
    """

    frame: pd.DataFrame
    scores: np.ndarray
    found: np.ndarray
    no_labels: str
    profile: Profile
    check: Check


def of(project: Project, champion: Champion, profile: Profile, loaded: pd.DataFrame, start: datetime, end: datetime) -> Served:
    """Read the log that ``monitor.served`` names, for event times in [start, end).

    The event time is that of the column ``data.time`` where the service got it, else the time of the answer, UTC.

    Parameters
    ----------
    loaded
        What ``load()`` returned for the same days.

    Raises
    ------
    DataError
        There is no such log, or ``load()`` lacks a column of ``monitor.row_id``.
    """
    policy, data, model = project.policy.monitor, project.policy.data, champion.release.model
    read = predictionlog.read(project.root / (policy.served or ""), during=(data.time, start, end))
    log = read.table.to_pandas()
    champions = log[f"{PREFIX}role"] == "champion"
    own = champions & (log[f"{PREFIX}sha256"] == model.sha256) & log[f"{PREFIX}prediction"].notna()
    rows = log[own].sort_values([f"{PREFIX}time", f"{PREFIX}request", f"{PREFIX}row"], kind="stable")
    name = rows[f"{PREFIX}id"]
    again = name.notna() & name.duplicated(keep="last")
    rows = rows[~again].reset_index(drop=True)
    labels, twice = predictionlog.labels(loaded, policy.row_id, data.label)
    features = [column for column in rows.columns if not column.startswith(PREFIX)]
    frame = rows[features].assign(
        **{
            data.time: predictionlog.times(rows, data.time),
            data.label: rows[f"{PREFIX}id"].map(labels).astype("float64") if len(labels) else np.nan,
        }
    )
    found = rows[f"{PREFIX}id"].isin(labels.index).to_numpy(dtype=bool)
    no_labels = "monitor.row_id names no columns, by which rows that were served could be found in load()" if not policy.row_id else ""
    left_out = {
        "by a fallback": int((log[f"{PREFIX}role"] == "fallback").sum()),
        "by other versions": int((champions & (log[f"{PREFIX}sha256"] != model.sha256)).sum()),
        "without a prediction": int((champions & (log[f"{PREFIX}sha256"] == model.sha256)).sum() - own.sum()),
        "asked for again later": int(again.sum()),
    }
    missing = None if not policy.row_id else int((~found).sum())
    return Served(
        frame=frame,
        scores=rows[f"{PREFIX}prediction"].to_numpy(dtype=np.float64),
        found=found,
        no_labels=no_labels or ("" if found.any() else "none of the rows that were served is in load()"),
        profile=_only(profile, {*features, data.time}),
        check=checks.served(len(rows), model.version, left_out, missing=missing, ambiguous=twice, damaged=len(read.damaged)),
    )


def _only(profile: Profile, logged: set[str]) -> Profile:
    """The profile of what the log holds: a column that the service never saw, or redacts, is not missing."""
    columns = tuple(column for column in profile.layout.columns if column.role != "feature" or column.name in logged)
    segments = {name: values for name, values in profile.layout.segments.items() if name in logged}
    return replace(profile, layout=replace(profile.layout, columns=columns, segments=segments))
