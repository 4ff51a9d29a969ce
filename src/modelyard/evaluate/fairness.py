"""Fairness: how the rates of protected groups differ, with intervals over days. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, Field

from modelyard import policy
from modelyard.evaluate import metrics
from modelyard.evaluate.between import widest
from modelyard.evaluate.check import Check, Status
from modelyard.evaluate.gate import Rows
from modelyard.evaluate.paired import TWO_SIDED
from modelyard.evaluate.segments import values_of
from modelyard.policy import Task

#: With fewer days a group is not judged.
MINIMUM_DAYS = 10
#: A rate of true (false) positives needs as many rows with label 1 (0).
MINIMUM_OF_LABEL = 30
#: All pairs of groups are compared.
MAXIMUM_GROUPS = 50
_LISTED = 50
_WHY = {
    "selection rate": "groups that are selected less often may be put at a disadvantage (four-fifths rule)",
    "true positive rate": "whoever should be selected must be found alike in each group (equal opportunity)",
    "false positive rate": "whoever should not be selected must be spared alike in each group (equalised odds)",
    "mean error": "a model that says too much of one group and too little of another shifts a burden",
}


class Group(BaseModel):
    """The rows with one value of a protected attribute; rates are left out where there is too little to tell them."""

    value: str = Field(description="(missing): rows that have none.")
    rows: int = Field(description="With a label.")
    days: int
    selection_rate: float | None = Field(None, description="Share of rows with a score from the threshold on.")
    true_positive_rate: float | None = Field(None, description="The same among rows with label 1.")
    false_positive_rate: float | None = Field(None, description="The same among rows with label 0.")
    mean_prediction: float | None = None
    mean_error: float | None = Field(None, description="Mean of prediction minus label.")
    few: str = Field("", description="Why the group is not judged; empty where it is.")


class Attribute(BaseModel):
    """A protected attribute."""

    column: str
    groups: list[Group] = Field(description=f"The largest first, at most {_LISTED} beside those that are judged.")
    groups_total: int = Field(description="How many there are in all.")


class Fairness(BaseModel):
    """Rates by group, and what follows."""

    threshold: float = Field(description="Score from which a row is selected.")
    attributes: list[Attribute]
    checks: list[Check]


@dataclass(frozen=True)
class _Rows:
    """The rows of the groups of one attribute that have support."""

    group: np.ndarray  # (n,) 0 .. G-1
    day: np.ndarray  # (n,) 0 .. D-1
    label: np.ndarray
    score: np.ndarray
    weight: np.ndarray
    names: list[str]


@dataclass(frozen=True)
class _Difference:
    """Between the lowest and the highest group."""

    name: str
    value: float
    lower: float
    upper: float
    low: str
    high: str


def judge(
    task: Task,
    attributes: Mapping[str, np.ndarray],
    rows: Rows,
    score: np.ndarray,
    settings: policy.Fairness,
    threshold: float,
    confidence: float = TWO_SIDED,
) -> Fairness:
    """Ratio of selection rates, gaps of true and of false positive rates, by each attribute that the policy names.

    A limit that the whole interval crosses fails, one that it straddles is inconclusive; what an interval covers is said in
    :func:`modelyard.evaluate.between.widest`. For regression the gap of mean errors is noted. A group with fewer than
    ``settings.min_rows`` rows or :data:`MINIMUM_DAYS` days is listed and left out; so is one with fewer than
    :data:`MINIMUM_OF_LABEL` rows with label 1 (0) from the rate of true (false) positives. Rates come from fairlearn.

    Parameters
    ----------
    attributes
        Column -> (n,) values, for each of ``settings.attributes`` that the data have; rows without a value are a group.
    score
        (n,) of the rows.
    confidence
        Of one end of an interval.
    """
    if not settings.attributes:
        message = "The policy names no protected attribute: whether the model treats groups of people alike was not looked at."
        return Fairness(threshold=threshold, attributes=[], checks=[_check("all", "noted", message)])
    if problem := _problem(task, rows.label, score):
        checks = [_check(column, "unknown", f"Fairness by {column} cannot be judged: {problem}.") for column in settings.attributes]
        return Fairness(threshold=threshold, attributes=[], checks=checks)
    found: list[Attribute] = []
    checks = []
    for column in settings.attributes:
        if column not in attributes:
            checks.append(_check(column, "unknown", f"The held-out rows have no column {column!r}: correct evaluate.fairness.attributes."))
            continue
        groups, kept = _groups(attributes[column], rows, score, settings)
        judged = 2 <= len(kept.names) <= MAXIMUM_GROUPS
        told = _told(task, groups, kept, threshold) if judged else groups
        listed = [group for number, group in enumerate(told) if number < _LISTED or (judged and not group.few)]
        found.append(Attribute(column=column, groups=listed, groups_total=len(groups)))
        if not judged:
            few = f"of {len(groups)} groups {len(kept.names)} have {settings.min_rows} rows on {MINIMUM_DAYS} days"
            checks.append(_check(column, "unknown", f"Fairness by {column} cannot be judged: {few}; it takes 2 to {MAXIMUM_GROUPS}."))
        elif task == "regression":
            checks.append(_errors(column, kept, confidence))
        else:
            checks += [
                _selected(column, kept, settings, threshold, confidence),
                _gap(column, kept, 1, settings, threshold, confidence),
                _gap(column, kept, 0, settings, threshold, confidence),
            ]
    return Fairness(threshold=threshold, attributes=found, checks=checks)


def _problem(task: Task, label: np.ndarray, score: np.ndarray) -> str:
    if task == "multiclass":
        return "rates of more than two classes are not compared"
    if reason := metrics.undefined("", label):
        return reason
    return "" if np.isfinite(score).all() else "the challenger predicts no number in some rows"


def _groups(column: np.ndarray, given: Rows, score: np.ndarray, settings: policy.Fairness) -> tuple[list[Group], _Rows]:
    """All groups, and the rows of those with support, whose number they get."""
    groups: list[Group] = []
    names: list[str] = []
    kept: list[np.ndarray] = []
    _, day = np.unique(given.day, return_inverse=True)
    weight = given.weight if given.weight is not None else np.ones(len(day))
    for value, rows in values_of(column):
        days, few = len(np.unique(day[rows])), ""
        if len(rows) < settings.min_rows:
            few = f"fewer than {settings.min_rows} rows"
        elif days < MINIMUM_DAYS:
            few = f"fewer than {MINIMUM_DAYS} days"
        else:
            names.append(value)
            kept.append(rows)
        groups.append(Group(value=value, rows=len(rows), days=days, few=few))
    at = np.concatenate(kept) if kept else np.empty(0, dtype=np.int64)
    number = np.repeat(np.arange(len(kept)), [len(rows) for rows in kept])
    return groups, _Rows(number, day[at], given.label[at], score[at], weight[at], names)


def _told(task: Task, groups: list[Group], rows: _Rows, threshold: float) -> list[Group]:
    """The groups with their values."""
    count = np.bincount(rows.group)
    total = np.bincount(rows.group, weights=rows.weight)
    means = {"mean_prediction": rows.score, "mean_error": rows.score - rows.label}
    sums = {name: np.bincount(rows.group, weights=rows.weight * of) for name, of in means.items()}
    values = [{name: float(of[g] / total[g]) for name, of in sums.items()} for g in range(len(count))]
    if task == "binary":
        ones = np.bincount(rows.group, weights=rows.label)
        for group, rates in enumerate(_rates(rows, threshold)):
            lacking = {"true_positive_rate": ones[group], "false_positive_rate": count[group] - ones[group]}
            values[group].update({name: rate for name, rate in rates.items() if lacking.get(name, np.inf) >= MINIMUM_OF_LABEL})
    by_name = dict(zip(rows.names, values, strict=True))
    return [group if group.few else group.model_copy(update=by_name[group.value]) for group in groups]


def _rates(rows: _Rows, threshold: float) -> list[dict[str, float]]:
    """Rates of each group by fairlearn, from the counts of the four answers: it takes long for a million rows."""
    from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate

    answers = np.bincount(rows.group * 4 + (rows.label == 1) * 2 + (rows.score >= threshold), weights=rows.weight)
    cell = np.flatnonzero(answers)
    functions = {"selection_rate": selection_rate, "true_positive_rate": true_positive_rate, "false_positive_rate": false_positive_rate}
    frame = MetricFrame(
        metrics=functions,
        y_true=cell // 2 % 2,
        y_pred=cell % 2,
        sensitive_features=cell // 4,
        sample_params={name: {"sample_weight": answers[cell]} for name in functions},
    )
    return [{name: float(rate) for name, rate in rates.items()} for rates in frame.by_group.to_dict("records")]


def _sums(rows: _Rows, of: Callable[[_Rows], np.ndarray]) -> np.ndarray:
    """(D, G) weighted sums of a value of each row."""
    days, groups = int(rows.day.max()) + 1, len(rows.names)
    sums = np.bincount(rows.day * groups + rows.group, weights=rows.weight * of(rows), minlength=days * groups)
    return sums.reshape(days, groups)


def _between(name: str, hits: np.ndarray, rows: np.ndarray, names: list[str], confidence: float) -> _Difference:
    """The gap of rates, or of means."""
    held = rows.sum(axis=1) > 0  # a day without any such row says nothing
    hits, rows = hits[held], rows[held]
    rate = hits.sum(axis=0) / rows.sum(axis=0)
    lower, upper = widest(hits, rows, confidence)
    return _Difference(name, float(np.ptp(rate)), lower, upper, names[int(rate.argmin())], names[int(rate.argmax())])


def _ratio(hits: np.ndarray, rows: np.ndarray, names: list[str], confidence: float) -> _Difference:
    r"""The ratio of selection rates; on the log scale, except where a group is never selected.

    Then the ratio is 0 and there is no logarithm. With no selection on any of its :math:`D` days, the share of days that have one is
    at most :math:`1 - (1-\gamma)^{1/D}` (which holds for days, however alike their rows are), and the rate is at most that share.
    """
    rate = hits.sum(axis=0) / rows.sum(axis=0)
    low, high = int(rate.argmin()), int(rate.argmax())
    if rate[low] > 0:
        upper, lower = np.exp(-np.array(widest(hits, rows, confidence, log=True)))
    else:
        days = int((rows[:, rate == 0] > 0).sum(axis=0).min())
        lower, upper = 0.0, min(1.0, (1 - (1 - confidence) ** (1 / days)) / rate[high])
    return _Difference("selection rate", float(rate[low] / rate[high]), float(lower), float(upper), names[low], names[high])


def _selected(column: str, rows: _Rows, settings: policy.Fairness, threshold: float, confidence: float) -> Check:
    called = _sums(rows, lambda r: (r.score >= threshold).astype(float))
    limit, name = f"at least {settings.min_ratio:g}", f"{column}: ratio of selection rates"
    if not called.any():
        message = f"By {column}: no row has a score of {threshold:g} or more, so that there are no selection rates to compare."
        return _check(name, "unknown", message, limit=limit, why=_WHY["selection rate"])
    found = _ratio(called, _sums(rows, lambda r: np.ones(len(r.day))), rows.names, confidence)
    status: Status = "failed" if found.upper < settings.min_ratio else "passed" if found.lower >= settings.min_ratio else "inconclusive"
    message = f"By {column}: {found.low} is selected {found.value:.2f} times as often as {found.high}"
    return _judged(name, status, message, found, limit, confidence)


def _gap(column: str, rows: _Rows, of: int, settings: policy.Fairness, threshold: float, confidence: float) -> Check:
    what = "true positive rate" if of else "false positive rate"
    limit, name = f"at most {settings.max_gap:g}", f"{column}: gap of {what}s"
    given = _sums(rows, lambda r: (r.label == of).astype(float))
    kept = np.flatnonzero(given.sum(axis=0) >= MINIMUM_OF_LABEL)
    if len(kept) < 2:
        message = f"By {column}: {len(kept)} groups have {MINIMUM_OF_LABEL} rows with label {of}, which a {what} needs."
        return _check(name, "unknown", message, limit=limit, why=_WHY[what])
    hits = _sums(rows, lambda r: ((r.label == of) & (r.score >= threshold)).astype(float))
    if (days := int((given[:, kept].sum(axis=1) > 0).sum())) < MINIMUM_DAYS:
        message = f"By {column}: {days} days have rows with label {of}, and {MINIMUM_DAYS} are needed."
        return _check(name, "unknown", message, limit=limit, why=_WHY[what])
    found = _between(what, hits[:, kept], given[:, kept], [rows.names[g] for g in kept], confidence)
    status: Status = "failed" if found.lower > settings.max_gap else "passed" if found.upper <= settings.max_gap else "inconclusive"
    message = f"By {column}: the {what} of {found.high} is {found.value:.3f} above that of {found.low}"
    return _judged(name, status, message, found, limit, confidence, ceiling=1.0)


def _errors(column: str, rows: _Rows, confidence: float) -> Check:
    found = _between(
        "mean error", _sums(rows, lambda r: r.score - r.label), _sums(rows, lambda r: np.ones(len(r.day))), rows.names, confidence
    )
    message = f"By {column}: the mean error (prediction minus label) of {found.high} is {found.value:.4g} above that of {found.low}"
    return _judged(f"{column}: gap of mean errors", "noted", message, found, "", confidence)


def _judged(
    name: str, status: Status, message: str, found: _Difference, limit: str, confidence: float, *, ceiling: float | None = None
) -> Check:
    upper = found.upper if ceiling is None else min(ceiling, found.upper)
    said = f"{message} ({200 * confidence - 100:.0f} %: {found.lower:.3g} to {upper:.3g})"
    said += f"; {limit} is asked." if limit else "."
    ends = {"lower": found.lower, "upper": upper if np.isfinite(upper) else None}
    return _check(name, status, said, limit=limit, why=_WHY[found.name], value=found.value, **ends)


def _check(name: str, status: Status, message: str, *, limit: str = "", why: str = "", **numbers: float | None) -> Check:
    return Check(family="fairness", name=name, status=status, message=message, limit=limit, why=why, **numbers)
