"""What ``reports/monitor.json`` holds, and its summary for people. No I/O.

Plain dataclasses, because a check by itself must start fast: pydantic only makes their JSON Schema, and reads them back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Verdict = Literal["healthy", "alert", "retrain"]
Status = Literal["ok", "noted", "unknown", "alert", "retrain"]
Role = Literal["feature", "prediction", "label"]
Kind = Literal["continuous", "discrete", "categorical", "sequence"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question about the whole window, its answer, and a sentence on it."""

    name: str  # schema, volume, freshness, duplicates, missing, novel, drift, performance, decay, age, release, served
    status: Status
    message: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One of the three questions about a column: has its shape moved, is more missing, are there values never seen.

    ``size`` is, for the shape, the largest gap between the cumulative shares where values have an order, else the share of rows
    that changed cells (total variation), 0 to 1; for missing and never seen, current share minus reference share.
    ``chance`` is the p-value of so much or more where nothing changed and rows are independent; None where blocks judged.
    """

    size: float
    reference: float | None = None
    current: float | None = None
    chance: float | None = None
    alarm: bool = False


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one segment adds to a column's shift; ``share`` of the whole shift, negative where it works against it."""

    segment: str  # the segment column
    value: str
    reference_share: float  # of the rows
    current_share: float
    mix: float  # part of the shift because the segment grew or shrank
    within: float  # part because the column moved inside of it


@dataclass(frozen=True, kw_only=True)
class Strip:
    """A column over the blocks: one number each, for the small charts; the reference's blocks first."""

    measure: Literal["mean", "missing", "novel", "top"]  # "top": share of the reference's most frequent value
    reference: tuple[float | None, ...]
    current: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A bar of a column's distribution: what it stands for, and the share of the known rows that fall in it."""

    label: str
    reference: float
    current: float


@dataclass(frozen=True, kw_only=True)
class Shift:
    """One column in the window, beside the profile."""

    column: str
    role: Role
    kind: Kind
    shape: Answer | None  # None: not asked (a sequence, or no known value on one side)
    missing: Answer | None
    novel: Answer | None
    psi: float | None = None
    js: float | None = None  # Jensen-Shannon distance, base 2
    wasserstein: float | None = None  # in standard deviations of the reference; None where values have no order
    importance: float | None = None  # of the model, where it is known; largest first in the lists
    scores: tuple[float, ...] = ()  # per reference block, then per current block: how far from the others (block rule)
    strip: Strip | None = None
    cells: tuple[Cell, ...] = ()  # at most 20, for the page
    causes: tuple[Part, ...] = ()  # largest first; only where something alarms

    @property
    def alarm(self) -> bool:
        """Whether any of the three questions alarms."""
        return any(answer.alarm for answer in (self.shape, self.missing, self.novel) if answer)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What the alarms rest on."""

    rule: Literal["blocks", "chance", "none"]  # none: nothing could be compared
    blocks: int  # complete blocks of the reference
    block_days: float | None
    level: float  # chance of a false alarm of one check of the whole table: 1 / (blocks + 1), or alpha
    assumes: str  # "exchangeable blocks", "independent rows"
    scores: tuple[float, ...] = ()  # table-wide score per reference block, then per current block
    limit: float | None = None  # the largest of the reference's; a current block above it alarms
    starts: tuple[datetime | None, ...] = ()  # of the blocks, in the same order
    moved: tuple[bool, ...] = ()  # per current block, whether a shape alarms in it, the latest last (block rule)


@dataclass(frozen=True, kw_only=True)
class Point:
    """The deciding metric in one stretch of time."""

    start: datetime
    end: datetime
    value: float
    lower: float | None
    upper: float | None
    rows: int


@dataclass(frozen=True, kw_only=True)
class Performance:
    """The deciding metric on the matured labels of the window.

    ``at_release`` is the mean over the hold-out's stretches of the same length as those whose mean is ``value``.
    """

    metric: str
    more_is_better: bool
    value: float
    lower: float | None  # 95 %, symmetric studentized bootstrap over days
    upper: float | None
    at_release: float | None
    rows: int
    days: int
    points: tuple[Point, ...] = ()
    release_points: tuple[Point, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Decay:
    """The paired gain of a freshly trained shadow (same recipe, matured labels) over the live model on the window.

    ``found``: yes (gain >= limit and lower bound > 0), no (upper bound < limit), undetermined.
    """

    found: Literal["yes", "no", "undetermined"]
    gain: float
    lower: float
    upper: float
    limit: float
    days: int
    rows: int
    detectable: float


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What the metric would be if the scores are calibrated and P(label | features) has not changed; it never decides."""

    metric: str
    value: float
    assumes: str
    realised: float | None = None  # where labels have come since


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The model that is watched."""

    sha256: str
    version: str  # in the MLflow registry
    released: datetime  # logical date of its release
    age_days: float


@dataclass(frozen=True, kw_only=True)
class Monitoring:
    """One look at the live model, or at a table beside a profile; it holds no clock but the logical date."""

    verdict: Verdict
    reason: str  # why, in one sentence
    reasons: tuple[str, ...]  # all that fired, strongest first
    name: str  # of the project, or of the profile's file
    now: datetime | None
    window: tuple[datetime, datetime] | None  # [start, end) of the event times
    rows: int
    reference_rows: int
    champion: Champion | None
    checks: tuple[Check, ...]
    calibration: Calibration
    columns: tuple[Shift, ...]  # the prediction first, then alarms, then by importance, then size; labels last
    performance: Performance | None = None
    decay: Decay | None = None
    estimate: Estimate | None = None
    needs_approval: bool = False  # verdict retrain: a person must answer by dispatching train
    profile: dict[str, str] = field(default_factory=dict)  # SHA-256 of profile, model and data that were compared with
    version: Literal[2] = 2
