"""The policy ``modelyard.yaml``: what the project demands of its data, its models and its releases."""

from __future__ import annotations

import difflib
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from modelyard.errors import PolicyError
from modelyard.risk import Risk

FILE = "modelyard.yaml"

#: A project's task is binary or regression; predictions from files may be of several classes.
Task = Literal["binary", "regression", "multiclass"]
Variant = Literal["cpu", "gpu"]
M = TypeVar("M", bound=BaseModel)
Share = Annotated[float, Field(ge=0, le=1)]

#: Metric -> True where more is better.
METRICS: dict[Task, dict[str, bool]] = {
    "binary": {
        "roc_auc": True,
        "average_precision": True,
        "brier": False,
        "log_loss": False,
        "calibration_error": False,
        "f_beta": True,
        "cost": False,
    },
    "regression": {"mae": False, "rmse": False, "r2": True, "pinball": False, "bias": False},
    "multiclass": {"log_loss": False, "accuracy": True, "macro_f1": True},
}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Section):
    """Where the data begin and how they are cut."""

    start: date = Field(description="First day of the first period.")
    period: Literal["month", "week", "day"] = Field("month", description="One file, and one DVC pointer, per period.")
    time: str = Field(description="Column of the event time; load(start, end) answers for start <= time < end.")
    label: str = Field(description="Column that the model predicts; missing where it is not known yet.")
    delay_days: int = Field(0, ge=0, description="Days after a period's end until its labels are known and it is taken.")


class Bound(_Section):
    """A floor, a ceiling, or both."""

    min: float | None = Field(None, description="Smallest value that passes.")
    max: float | None = Field(None, description="Largest value that passes.")
    of: Literal["value", "bound"] = Field(
        "value", description="bound: the worse end of the metric's 95 % interval must pass, not only its value."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Bound:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        return self


class Costs(_Section):
    """What a wrong answer costs, in any unit."""

    false_positive: float = Field(1.0, ge=0, description="Cost of a row that is called 1 and is 0.")
    false_negative: float = Field(1.0, ge=0, description="Cost of a row that is called 0 and is 1.")


class Segments(_Section):
    """Groups of rows in which the challenger may not be worse."""

    columns: list[str] = Field(default_factory=list, description="Columns whose values are the segments.")
    margin: float = Field(
        0.01, ge=0, description="Loss in the deciding metric against the champion, certain after Holm's correction, that blocks."
    )
    min_rows: int = Field(200, ge=1, description="Labelled rows that a segment needs to be judged.")


class Fairness(_Section):
    """Limits for protected attributes; they need not be features."""

    attributes: list[str] = Field(default_factory=list, description="Columns that name the groups.")
    min_ratio: float = Field(0.8, gt=0, le=1, description="Smallest ratio of the least to the most selected group (four fifths).")
    max_gap: float = Field(0.1, ge=0, le=1, description="Largest gap between groups in the rates of true and of false positives.")
    min_rows: int = Field(200, ge=1, description="Labelled rows that a group needs to be judged.")


class Expectation(_Section):
    """What must follow where one column grows and all others stay: domain knowledge as a test."""

    column: str = Field(description="A column of numbers.")
    prediction: Literal["not lower", "not higher"] = Field(description="How the prediction may not react to more of it.")
    by: float = Field(gt=0, description="How much is added.")
    tolerance: float = Field(0.05, ge=0, le=1, description="Share of rows that may react otherwise.")


class Readiness(_Section):
    """What the model must keep to where it serves."""

    p99_ms: float | None = Field(None, gt=0, description="99th percentile of the time for one row, in milliseconds.")
    size_mb: float | None = Field(None, gt=0, description="Size of the model file.")
    memory_mb: float | None = Field(None, gt=0, description="Memory that the loaded model adds.")


class Evaluate(_Section):
    """What a challenger must reach, and how it is compared with the champion."""

    metric: str = Field(description="The metric that decides.")
    holdout_days: int = Field(21, ge=7, description="The last days of the data, kept out of training.")
    criteria: dict[str, Bound] = Field(default_factory=dict, description="Metric -> bound; one that is missed blocks.")
    rule: Literal["superior", "non-inferior"] = Field(
        "superior",
        description="superior: the improvement's 95 % interval lies above 0. non-inferior: its one-sided 95 % bound above minus margin.",
    )
    margin: float | None = Field(
        None, gt=0, description="How much worse a non-inferior challenger may be; also than the last superior release."
    )
    threshold: float = Field(0.5, gt=0, lt=1, description="Score from which a binary model says 1, for F-beta, cost and fairness.")
    beta: float = Field(1.0, gt=0, description="Weight of recall against precision in F-beta.")
    costs: Costs = Costs()
    segments: Segments = Segments()
    fairness: Fairness = Fairness()
    expectations: list[Expectation] = Field(default_factory=list, description="How the prediction may not react.")
    readiness: Readiness = Readiness()
    unreadable: Literal["block", "score"] = Field(
        "block",
        description="What a champion that cannot read the new data's columns means. score: ask it with those that are gone given as "
        "missing; where even that fails, a constant stands in its place.",
    )
    too_good: float = Field(
        0.995, gt=0.5, le=1, description="ROC AUC, or R², from which a model is not believed: a feature that knows the label is likelier."
    )
    seed: int = Field(0, description="Of what is drawn at random (shuffles, noise), so that the same data give the same report.")

    @model_validator(mode="after")
    def _non_inferior_by_how_much(self) -> Evaluate:
        if self.rule == "non-inferior" and self.margin is None:
            raise ValueError("rule: non-inferior needs a margin: how much worse may a challenger be?")
        return self


class Volume(_Section):
    """Rows per day, as a ratio to the training data's."""

    min: float = Field(0.5, ge=0, description="Fewer rows a day than this share alert.")
    max: float = Field(2.0, gt=0, description="More rows a day than this multiple alert.")


class Windows(_Section):
    """In how many blocks drift must show before it counts: one odd week is none."""

    need: int = Field(2, ge=1, description="Blocks that must alarm, the latest among them.")
    of: int = Field(4, ge=1, description="Last blocks of the window that are looked at.")

    @model_validator(mode="after")
    def _can_be_reached(self) -> Windows:
        if self.need > self.of:
            raise ValueError(f"need: {self.need} of {self.of} blocks cannot alarm")
        return self


class Monitor(_Section):
    """When the live model is healthy, when somebody must look, and when it is trained anew."""

    window_days: int = Field(28, ge=1, description="Days up to the logical date that are compared with the champion's profile.")
    block_days: int = Field(7, ge=1, description="Days of a block; training data and window are cut into them. 7 holds each weekday once.")
    segments: list[str] = Field(
        default_factory=list, description="Columns with few values by which the profile counts separately, to say where a shift comes from."
    )
    volume: Volume = Volume()
    stale_days: int | None = Field(None, ge=1, description="Age of the newest row that alerts; none: twice block_days.")
    duplicates: Share = Field(0.01, description="Rise in the share of repeated rows, over the training data's, that alerts.")
    missing: Share = Field(0.1, description="Rise in a column's share of missing values that alerts, however ordinary its blocks find it.")
    alpha: float = Field(
        0.01, gt=0, le=0.2, description="Chance of a false alarm of a check of the whole table, where too few blocks can judge drift."
    )
    drift: Literal["alert", "retrain"] = Field(
        "retrain", description="What drift says where labels do not say that the model holds; judged by chance only, it alerts at most."
    )
    windows: Windows = Windows()
    shadow: bool = Field(
        True, description="Train fresh models beside the live one at each check whose labels have come, to tell decay; they are not kept."
    )
    decay: float = Field(
        0.01, ge=0, description="Gain of a fresh model in the deciding metric, on the same rows and certainly above 0, that retrains."
    )
    loss: float = Field(
        0.05, ge=0, description="Loss in the deciding metric since the release, certain at 95 %, that alerts where shadow is false."
    )
    max_age_days: int | None = Field(None, ge=1, description="Age of the champion that retrains by itself.")
    cooldown_days: int = Field(14, ge=0, description="Days after a training in which monitor starts no other.")
    approval: Literal["none", "required"] = Field(
        "none", description="required: monitor only asks for a training, in an issue, and a person starts it by dispatch."
    )
    served: str | None = Field(
        None, description="Folder of the prediction log, or of its compaction, below the project; none: the rows of load() are predicted."
    )
    row_id: list[str] = Field(
        default_factory=list, description="Columns of load() that, joined by /, are the ids which callers give: by them labels are found."
    )

    @model_validator(mode="after")
    def _holds_the_blocks(self) -> Monitor:
        need, blocks = self.windows.need, self.window_days // self.block_days
        if blocks < need:
            words = f"{need} blocks of {self.block_days} days must alarm, and window_days: {self.window_days} holds {blocks}"
            raise ValueError(f"windows.need: {words}")
        return self

    @property
    def stale_after(self) -> int:
        """Days after which the newest row is too old."""
        return self.stale_days or 2 * self.block_days


class Limits(_Section):
    """What one request to the service may ask for."""

    rows: int = Field(1000, ge=1, description="Rows of a request.")
    body_mb: float = Field(1.0, gt=0, description="Size of its body.")
    seconds: float = Field(10.0, gt=0, description="Time in which a body must have come, and an answer is given.")
    concurrency: int = Field(32, ge=1, description="Requests that one worker takes on at a time; the next ones are answered 503.")


class PredictionLog(_Section):
    """What the service writes down of its answers."""

    sample: Share = Field(1.0, description="Share of the answers that are written.")
    redact: list[str] = Field(default_factory=list, description="Columns whose values are never written.")
    file_mb: float = Field(64.0, gt=0, description="Size from which on a new file is begun.")
    file_minutes: float = Field(60.0, gt=0, description="Age from which on a new file is begun.")


class Fallback(_Section):
    """What answers when the model fails."""

    by: Literal["nothing", "previous", "constant"] = Field(
        "nothing", description="nothing: the request is answered 503; previous: the champion before this one, where it has the same code."
    )
    constant: float | None = Field(None, description="What `constant` answers.")

    @model_validator(mode="after")
    def _has_a_constant(self) -> Fallback:
        if (self.by == "constant") is not (self.constant is not None):
            raise ValueError("by: constant and a constant need each other")
        return self


class Level(_Section):
    """The service level that a load test asks for."""

    rate: float = Field(20.0, gt=0, description="Requests a second that must be borne.")
    rows: int = Field(1, ge=1, description="Rows of each.")
    seconds: float = Field(10.0, ge=1, description="For how long.")
    p99_ms: float = Field(250.0, gt=0, description="99th percentile of the time to an answer, counted from when it was due.")
    errors: Share = Field(0.0, description="Share of requests that may fail.")
    knee: float | None = Field(None, gt=0, description="Requests a second at which the level must still be kept; looking takes a minute.")
    memory_mb: float | None = Field(None, gt=0, description="Most memory of the service's processes together, in 10^6 bytes.")


class Image(_Section):
    """The images that serve."""

    variants: list[Variant] = Field(default=["cpu"], description="gpu pays for a neural model only: trees run on the CPU in any image.")
    base: str = Field("docker.io/library/python:3.11-slim", description="Image that the service is built on; better with its digest.")
    size_mb: float | None = Field(None, gt=0, description="Largest size of the cpu image, base included.")
    build_seconds: float | None = Field(None, gt=0, description="Longest build of it.")
    registry: str = Field("", description="Where promote pushes to, such as ghcr.io/owner/name; empty: nowhere.")


class Serving(_Section):
    """How a released model serves, and is deployed."""

    deploy: list[str] = Field(
        default_factory=list,
        description="Command and arguments that deploy; it gets MODELYARD_BENTO, MODELYARD_BENTO_TAG, MODELYARD_MODEL_VERSION, and of "
        "pushed images MODELYARD_IMAGE_CPU and MODELYARD_IMAGE_GPU.",
    )
    limits: Limits = Limits()
    log: PredictionLog = PredictionLog()
    shadow: Share = Field(0.1, description="Share of the answers that a shadow model, where one is mounted, gives too.")
    fallback: Fallback = Fallback()
    level: Level = Level()
    image: Image = Image()


class Policy(_Section):
    """The whole of ``modelyard.yaml``."""

    version: Literal[1] = Field(1, description="Version of this format.")
    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$", description="The model's name in the registry.")
    package: str = Field(pattern=r"^[a-z_][a-z0-9_]*$", description="The Python package under src/ that holds the project's code.")
    task: Literal["binary", "regression"] = Field(
        description="binary: the label is 0 or 1 and the model gives a probability; regression: both are numbers."
    )
    data: Data
    evaluate: Evaluate
    monitor: Monitor = Monitor()
    risk: Risk = Risk()
    serving: Serving = Serving()

    @model_validator(mode="after")
    def _somebody_can_approve(self) -> Policy:
        """To name them later would change this file under the open release, which promote refuses."""
        risk = self.risk
        if risk.demand.role and not risk.roles.get(risk.demand.role):
            raise ValueError(f"risk.roles: level {risk.level} asks for the role {risk.demand.role!r}, and names nobody who has it")
        return self

    @model_validator(mode="after")
    def _metrics_fit_the_task(self) -> Policy:
        known = METRICS[self.task]
        for key, name in [("metric", self.evaluate.metric), *(("criteria", name) for name in self.evaluate.criteria)]:
            if name not in known:
                raise ValueError(f"evaluate.{key}: {name!r} is no metric of a {self.task} task; known are {', '.join(known)}")
        return self


def load(root: Path) -> Policy:
    """Read the policy of the project at ``root``.

    Raises
    ------
    PolicyError
        The file is missing, no YAML, or holds a key or value that is not allowed; every problem is named.
    """
    path = root / FILE
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PolicyError(f"There is no {FILE} in {root}.", "Go to the project's folder.") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: bytes that are no UTF-8, a date that does not exist
        raise PolicyError(f"{path} is no YAML: {error}") from None
    return parse(raw, Policy, str(FILE))


def parse(raw: Any, model: type[M], name: str) -> M:
    """Validate ``raw`` against ``model``; problems are told with the nearest known key, or the values allowed."""
    if raw is None:
        raise PolicyError(f"{name} is empty.")
    if not isinstance(raw, dict):
        raise PolicyError(f"{name} must hold keys and values, not {type(raw).__name__}.")
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        lines = [_problem(dict(e), model) for e in error.errors()]
        raise PolicyError(f"{name} is not valid:\n" + "\n".join(f"  - {line}" for line in lines)) from None


def _problem(error: dict[str, Any], model: type[BaseModel]) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = _keys(model, error["loc"][:-1])
        near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        return f"{where}: unknown key" + (f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}")
    if error["type"] == "missing":
        return f"{where}: missing"
    message = error["msg"].removeprefix("Value error, ")
    return f"{where}: {message} (found {error['input']!r})" if where else message


def _keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    for part in path:
        field = model.model_fields.get(str(part))  # None: the index of a list, or the free key of a mapping, of what was found
        held = (field.annotation, *get_args(field.annotation)) if field else ()
        model = next((inner for inner in held if isinstance(inner, type) and issubclass(inner, BaseModel)), model)
    return list(model.model_fields)
