"""The window against the profile: checks, and the verdict that follows from them. No I/O.

==============  ============================================================================  =========
check           fires when                                                                    verdict
==============  ============================================================================  =========
schema          a row or column does not fit the project's schema                             alert
volume          rows per day, as a ratio to the training data's, leave the policy's range     alert
missing         a column's share of missing values rose by more than the policy allows        alert
drift           a column's or the prediction's distance reaches the policy's, and no labels   retrain
                say how well the model does (the policy may ask for alert)
performance     the deciding metric lost more than the policy's decay since the release       retrain
age             the champion is as old as the policy allows                                   retrain
release         main records another version than the registry's champion                     alert
==============  ============================================================================  =========

The verdict is the strongest, ``retrain`` before ``alert`` before ``healthy``, and every reason is listed. A broken window does
not hold back a retraining that is due: ``train`` validates its own data and refuses what is broken.

Drift is evidence only where labels are missing. Seasons move columns every month, and on the flights of the template neither
column nor prediction drift foretold what a retraining would gain; where matured labels say that the model still does what it
did, drift is noted and nobody is called.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel

from modelyard import policy
from modelyard.monitor.profile import Column

Verdict = Literal["healthy", "alert", "retrain"]
Status = Literal["ok", "noted", "unknown", "alert", "retrain"]


class Check(BaseModel):
    """One question, its answer, and a sentence on it."""

    name: Literal["schema", "volume", "missing", "drift", "performance", "age", "release"]
    status: Status
    message: str


class Shift(BaseModel):
    """One column (or the prediction) in the window, beside the profile."""

    missing: float
    missing_before: float
    distance: float | None
    drifted: bool


class Performance(BaseModel):
    """The deciding metric on the window's labelled rows."""

    metric: str
    value: float
    at_release: float
    loss: float
    rows: int
    days: int


def js_distance(first: list[int], second: list[int]) -> float | None:
    r"""Jensen-Shannon distance of two counts over the same cells.

    .. math:: \sqrt{\tfrac12 \sum_i p_i \log_2\frac{p_i}{m_i} + \tfrac12 \sum_i q_i \log_2\frac{q_i}{m_i}}, \quad m = \tfrac12 (p + q)

    with p and q the shares. 0 where they are equal, 1 where no cell is shared (base 2); None where one side has no counts.

    Examples
    --------
    >>> js_distance([1, 1], [10, 10]), js_distance([5, 0], [0, 7])
    (0.0, 1.0)

    References
    ----------
    D. M. Endres, J. E. Schindelin, "A new metric for probability distributions", IEEE Trans. Inf. Theory 49 (2003).
    """
    if not sum(first) or not sum(second):
        return None
    p, q = np.asarray(first) / sum(first), np.asarray(second) / sum(second)
    m = (p + q) / 2
    parts = [float(np.sum(s[s > 0] * np.log2(s[s > 0] / m[s > 0]))) for s in (p, q)]
    return float(np.sqrt(min(1.0, max(0.0, sum(parts) / 2))))


def shift(before: Column, now: Column, limit: float) -> Shift:
    """Set one column's counts beside the profile's."""
    distance = js_distance(before.counts, now.counts)
    drifted = distance is not None and distance >= limit
    return Shift(missing=now.missing_share, missing_before=before.missing_share, distance=distance, drifted=drifted)


def volume(rows: int, days: int, rows_before: int, days_before: float, limits: policy.Volume) -> Check:
    """Rows per day against the training data's."""
    before = rows_before / days_before
    ratio = rows / days / before
    text = f"{rows / days:,.0f} rows a day, {ratio:.2f} times the training data's {before:,.0f}"
    if limits.min <= ratio <= limits.max:
        return Check(name="volume", status="ok", message=f"{text}.")
    return Check(name="volume", status="alert", message=f"{text}; {limits.min:g} to {limits.max:g} are allowed.")


def missing(columns: dict[str, Shift], limit: float) -> Check:
    """Rise of the share of missing values, per column."""
    risen = {name: s for name, s in columns.items() if s.missing - s.missing_before > limit}
    if not risen:
        return Check(name="missing", status="ok", message=f"No column misses {limit:.0%} more than in training.")
    told = ", ".join(f"{name} {s.missing:.1%} (in training {s.missing_before:.1%})" for name, s in risen.items())
    return Check(name="missing", status="alert", message=f"Missing values rose: {told}.")


def drift(columns: dict[str, Shift], prediction: Shift | None, limit: float, judged: bool, verdict: Literal["alert", "retrain"]) -> Check:
    """Distances of the prediction and of each column.

    Parameters
    ----------
    judged
        Labels say how well the model does on this window.
    verdict
        What drift says where they do not.
    """
    moved = {**({"the prediction": prediction} if prediction else {}), **columns}
    told = ", ".join(f"{name} {s.distance:.2f}" for name, s in moved.items() if s.drifted)
    if not told:
        return Check(name="drift", status="ok", message=f"No distance to the profile reaches {limit:g}.")
    return Check(name="drift", status="noted" if judged else verdict, message=f"Distance to the profile of {limit:g} or more: {told}.")


def performance(found: Performance | None, unknown: str, decay: float) -> Check:
    """The metric's loss since the release; ``unknown`` says why there is none to tell."""
    if found is None:
        return Check(name="performance", status="unknown", message=f"Not known: {unknown}.")
    text = f"{found.metric} {found.value:.4f} on {found.rows:,} labelled rows; at release {found.at_release:.4f}"
    if found.loss > decay:
        return Check(name="performance", status="retrain", message=f"{text}: lost {found.loss:.4f}, more than {decay:g}.")
    return Check(name="performance", status="ok", message=f"{text}.")


def age(days: float, limit: int | None) -> Check:
    """Days since the champion's logical date."""
    if limit is not None and days >= limit:
        return Check(name="age", status="retrain", message=f"The champion is {days:.0f} days old; {limit} are allowed.")
    return Check(name="age", status="ok", message=f"The champion is {days:.0f} days old" + (f" of {limit}." if limit else "."))


def release(recorded: str, live: str | None) -> Check:
    """Whether what main records is what is live.

    Parameters
    ----------
    recorded
        Model version in main's release record.
    live
        Version of the alias ``champion``; empty where none has it, None where the registry is not there to be asked.
    """
    if live is None:
        return Check(name="release", status="unknown", message="The registry was not asked: there is no state here.")
    if live != recorded:
        what = f"version {live} is live" if live else "nothing is live"
        return Check(name="release", status="alert", message=f"main records version {recorded}, but {what}: run promote, or train.")
    return Check(name="release", status="ok", message=f"Version {live} is recorded and live.")


def decide(checks: list[Check]) -> tuple[Verdict, list[str]]:
    """The strongest status as the verdict, and the messages of all that fired, strongest first."""
    fired = [c for c in checks if c.status == "retrain"] + [c for c in checks if c.status == "alert"]
    verdict: Verdict = "retrain" if fired and fired[0].status == "retrain" else "alert" if fired else "healthy"
    return verdict, [f"{c.name}: {c.message}" for c in fired]
