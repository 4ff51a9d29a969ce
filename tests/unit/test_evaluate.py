"""The interval, the decision, and the verb around them."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from unit import mini_project

from modelyard import evaluate
from modelyard.errors import DataError, ProjectError
from modelyard.evaluate import challenge, metrics, paired, statistic
from modelyard.policy import METRICS

NAMES = [(task, name) for task, names in METRICS.items() for name in names]


def _rows(task: str, days: int = 8, each: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Day, label and a score with ties."""
    draw = np.random.default_rng(1)
    day = np.repeat(np.arange(days), each)
    score = np.round(draw.uniform(0.02, 0.98, len(day)), 1)
    if task == "multiclass":
        table = draw.dirichlet([1, 1, 1], len(day))
        return day, np.array([draw.choice(3, p=row) for row in table], dtype=float), table
    if task == "binary":
        return day, (draw.uniform(size=len(day)) < score).astype(float), score
    return day, score + draw.normal(size=len(day)) + day, score


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("task", "name"), NAMES)
def test_a_statistic_without_a_day_is_scikit_learn_s_metric_of_the_other_rows(task: str, name: str, weighted: bool) -> None:
    """By brute force, for all rows and for each day left out."""
    day, label, score = _rows(task)
    weight = np.random.default_rng(3).uniform(0, 2, len(day)) if weighted else None

    found = statistic.of(name, day, label, score, weight=weight)

    def plain(rows: np.ndarray) -> float:
        of_these = weight[rows] if weight is not None else None
        if name == "calibration_error":  # the bins stay those of all rows
            bins, each = metrics.bins(score)[rows], np.ones(rows.sum()) if of_these is None else of_these
            return float(sum(abs((each * (label - score)[rows])[bins == b].sum()) for b in np.unique(bins)) / each.sum())
        return metrics.compute(task, label[rows], score[rows], weight=of_these)[name]  # type: ignore[arg-type]

    assert found.value == pytest.approx(plain(day >= 0), abs=1e-12)
    assert found.without == pytest.approx([plain(day != d) for d in range(8)], abs=1e-12)


def test_wins_of_a_case_made_by_hand() -> None:
    """Positives above, equal to and below the negatives; over all rows, and within each day."""
    day = np.array([0, 0, 1, 1])
    label = np.array([1.0, 0, 1, 0])
    score = np.array([0.9, 0.5, 0.5, 0.7])

    assert statistic.wins(np.zeros(4), label, score, np.ones(4)).tolist() == [2.0, 1.5, 0.5, 1.0]
    assert statistic.wins(day, label, score, np.ones(4)).tolist() == [1.0, 1.0, 0.0, 0.0]
    assert statistic.wins(day, label, score, np.array([1.0, 3.0, 5.0, 7.0])).tolist() == [3.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(("task", "name"), NAMES)
def test_swapping_the_models_mirrors_the_interval(task: str, name: str) -> None:
    """Challenger against champion is champion against challenger with the sign turned."""
    day, label, score = _rows(task)
    other = np.clip(score + np.random.default_rng(2).normal(0, 0.1, score.shape), 0.01, 0.99)

    one = paired.compare(name, True, day, label, score, other)
    two = paired.compare(name, True, day, label, other, score)

    assert (one.difference, one.lower, one.upper) == pytest.approx((-two.difference, -two.upper, -two.lower))
    assert one.lower < one.difference < one.upper


def test_fewer_errors_are_an_improvement() -> None:
    """Where less is better the difference is turned: positive is better throughout."""
    day, label, _ = _rows("regression")

    found = paired.compare("mae", False, day, label, label + 1, label + 3)

    assert found.difference == pytest.approx(2)
    assert found.lower == pytest.approx(2)


def test_equal_predictions_leave_nothing_to_tell() -> None:
    """Two models that predict the same differ by 0, with no error."""
    day, label, score = _rows("binary")

    found = paired.compare("roc_auc", True, day, label, score, score)

    assert (found.difference, found.lower, found.se, found.detectable) == (0, 0, 0, 0)


def test_rows_of_a_day_count_as_one() -> None:
    """Repeating each row tenfold adds rows, not evidence."""
    day, label, score = _rows("binary")
    other = np.clip(score + np.random.default_rng(2).normal(0, 0.1, score.shape), 0.01, 0.99)

    once = paired.compare("roc_auc", True, day, label, score, other)
    often = paired.compare("roc_auc", True, *(np.repeat(a, 10) for a in (day, label, score, other)))

    assert often.se == pytest.approx(once.se)


def test_the_lower_bound_covers() -> None:
    """Of 400 samples of 21 days about 5 % have their one-sided 95 % lower bound above the truth, which is 0.

    Binomial(400, .05) has a standard deviation of 4.4; 35 would be 8.75 %, which percentile bounds at 7 days exceed.
    """
    draw = np.random.default_rng(3)
    day = np.repeat(np.arange(21), 2)
    label = np.zeros(42)
    above = 0
    for _ in range(400):
        shift = np.repeat(draw.normal(size=21), 2)  # a day's rows move together
        found = paired.compare("mae", False, day, label, 10 - shift, np.full(42, 10.0))
        above += found.lower > 0

    assert 8 <= above <= 35


def test_too_few_days_have_no_interval() -> None:
    """Six days are refused, and so are days of which one holds all of a class."""
    day, label, score = _rows("binary", days=6)
    with pytest.raises(ValueError, match="needs 7 days, not 6"):
        paired.compare("roc_auc", True, day, label, score, score)

    day, label, score = _rows("binary", days=8)
    lone = np.where(day == 0, label, 0.0)
    with pytest.raises(ValueError, match="both classes"):
        paired.compare("roc_auc", True, day, lone, score, 1 - score**2)


def test_the_example_in_the_docstring_holds() -> None:
    """What the documentation shows is what happens."""
    assert doctest.testmod(paired).failed == 0


def test_the_first_model_is_promoted(tmp_path: Path) -> None:
    """Without a champion it must beat a constant, and meet the criteria."""
    project = mini_project.make(tmp_path, evaluate={"criteria": {"roc_auc": {"min": 0.8}}})

    outcome = evaluate.run(project)

    written = json.loads((tmp_path / "reports/evaluate.json").read_text())
    assert (outcome.verdict, outcome.exit_code) == ("promote", 0)
    assert outcome.summary.startswith("**evaluate: promote**")
    assert (outcome.outputs["metric"], outcome.outputs["champion"]) == ("roc_auc", "")
    assert float(outcome.outputs["challenger"]) > 0.8
    assert written["holdout"] == ["2013-02-08T00:00:00", "2013-03-01T00:00:00"]
    assert written["inputs"]["days"] == 21
    assert [batch["path"] for batch in written["inputs"]["batches"]] == ["data/raw/2013-02.parquet"]


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_the_better_of_two_models_wins(tmp_path: Path, task: str) -> None:
    """A challenger without the champion's noise is promoted; the other way round it is kept out."""
    project = mini_project.make(tmp_path, task=task)

    better = challenge.judge(project, mini_project.released(project, noise=2.0))
    mini_project.model(project.root, noise=2.0)
    worse = challenge.judge(project, mini_project.released(project))

    assert better.comparison
    assert worse.comparison
    assert (better.verdict, worse.verdict) == ("promote", "keep")
    assert better.comparison.lower > 0
    assert worse.comparison.difference == pytest.approx(-better.comparison.difference)
    assert better.champion
    assert better.champion.metrics == worse.challenger.metrics


def test_the_champion_itself_is_kept(tmp_path: Path) -> None:
    """The same bytes are no new release."""
    project = mini_project.make(tmp_path)

    found = challenge.judge(project, mini_project.released(project))

    assert (found.verdict, found.reasons) == ("keep", ["The challenger is the champion itself: the same bytes."])


def test_a_first_model_that_knows_nothing_is_blocked(tmp_path: Path) -> None:
    """There is nothing to keep; a constant would do as well."""
    project = mini_project.make(tmp_path)
    mini_project.model(project.root, slope=0.0, noise=0.3)

    found = challenge.judge(project, None)

    assert found.verdict == "block"
    assert found.reasons[0].startswith("Against a model that always says the same roc_auc improves by ")


def test_a_champion_that_cannot_be_asked_blocks(tmp_path: Path) -> None:
    """Nothing is promoted over a model whose own code fails on today's rows, and the reason is told."""
    project = mini_project.make(tmp_path)
    live = mini_project.released(project)
    path = live.folder / "src" / project.policy.package / "model.py"
    path.write_text(path.read_text().replace("x = np.asarray", "raise KeyError('speed')\n        x = np.asarray"))

    found = challenge.judge(project, live)

    assert found.verdict == "block"
    assert "The champion cannot be asked: " in found.reasons[0]
    assert "speed" in found.reasons[0]


def test_a_champion_whose_column_is_gone_is_asked_without_it_where_the_policy_says_so(tmp_path: Path) -> None:
    """Block is the default; with `unreadable: score` it is asked with the column missing, and the verdict says which."""
    project = mini_project.make(tmp_path, evaluate={"unreadable": "score"})
    live = mini_project.released(project, noise=1.0)
    examples = json.loads(live.examples.read_text())
    live.examples.write_text(json.dumps({**examples, "rows": [{**row, "gone": 1.0} for row in examples["rows"]]}))

    found = challenge.judge(project, live)

    assert found.comparison is not None
    assert "The data hold no gone any more: the champion was asked with that missing." in found.reasons[0]
    path = live.folder / "src" / project.policy.package / "model.py"
    path.write_text(path.read_text().replace("x = np.asarray", "raise KeyError('speed')\n        x = np.asarray"))
    found = challenge.judge(project, live)
    assert (found.verdict, found.checks[0].name) == ("promote", "baseline")
    assert "By the policy (unreadable: score) a constant stands in its place." in found.reasons[0]
    assert found.champion is not None
    assert found.champion.metrics == {}


def test_a_champion_that_has_seen_the_holdout_blocks(tmp_path: Path) -> None:
    """That neither was trained on the rows is checked: here the policy's hold-out grew since the release."""
    project = mini_project.make(tmp_path, evaluate={"holdout_days": 35})

    found = challenge.judge(project, mini_project.released(project, noise=1.0))

    assert found.verdict == "block"
    assert "was trained on rows up to 2013-02-08" in found.reasons[0]


@pytest.mark.parametrize(("impact", "verdict"), [("minor", "promote"), ("severe", "block")])
def test_at_high_risk_nothing_is_released_without_answers(tmp_path: Path, impact: str, verdict: str) -> None:
    """The same model: at moderate risk the open checklist is noted, at high risk it blocks, and the reason names the file."""
    project = mini_project.make(tmp_path, risk={"impact": impact})

    found = challenge.judge(project, None)

    assert (found.verdict, found.risk) == (verdict, {"minor": "moderate", "severe": "high"}[impact])
    assert any("governance/checklist.yaml" in reason for reason in found.reasons) is (verdict == "block")


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    """A report holds no clock and no path of the machine."""
    for name in ("one", "two"):
        project = mini_project.make(tmp_path / name, evaluate={"seed": 3})
        evaluate.run(project)

    assert (tmp_path / "one/reports/evaluate.json").read_bytes() == (tmp_path / "two/reports/evaluate.json").read_bytes()


@pytest.mark.parametrize(("labels", "reason"), [(np.nan, "no row has a label"), (1.0, "all labels are 1")])
def test_a_holdout_that_cannot_judge_blocks(tmp_path: Path, labels: float, reason: str) -> None:
    """No labels, or one class only: a verdict with the reason, not a crash."""
    project = mini_project.make(tmp_path)
    path = tmp_path / "data/raw/2013-02.parquet"
    pd.read_parquet(path).assign(late=labels).to_parquet(path)

    outcome = evaluate.run(project)

    assert (outcome.verdict, outcome.exit_code) == ("block", 10)
    assert reason in outcome.problems[0]


def test_on_too_few_days_the_champion_is_kept(tmp_path: Path) -> None:
    """Labels on five days are no ground to replace a champion on, however bad it is."""
    project = mini_project.make(tmp_path)
    path = tmp_path / "data/raw/2013-02.parquet"
    frame = pd.read_parquet(path)
    frame.loc[frame["time"] >= "2013-02-13", "late"] = np.nan
    frame.to_parquet(path)

    found = challenge.judge(project, mini_project.released(project, noise=1.0))

    assert (found.verdict, found.reasons) == ("keep", ["5 days are too few to compare roc_auc with the champion: 10 are needed."])


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        ("return np.ones((len(batch['x']), 2))", "returned shape"),
        ("return np.full(len(batch['x']), np.nan)", "NaN or infinite"),
        ("return np.full(len(batch['x']), 1.5)", "predicts probabilities"),
        ("raise KeyError('y')", "cannot predict with models/model.onnx: KeyError"),
        ("return ['late'] * len(batch['x'])", "returned no numbers"),
    ],
)
def test_a_model_that_does_not_predict_is_named(tmp_path: Path, predict: str, message: str) -> None:
    """Wrong shape, wrong values and errors of the project's own code are told as such."""
    project = mini_project.make(tmp_path)
    path = project.source / project.policy.package / "model.py"
    path.write_text(path.read_text().replace("x = np.asarray", f"{predict}\n        x = np.asarray"))

    with pytest.raises(ProjectError, match=message):
        challenge.judge(project, None)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """No model, and no data, are told with what to run."""
    project = mini_project.make(tmp_path / "a")
    (project.root / "models/model.onnx").unlink()
    with pytest.raises(ProjectError, match="modelyard train"):
        evaluate.run(project)

    with pytest.raises(DataError, match="There is no data"):
        evaluate.run(mini_project.make(tmp_path / "b", periods=()))


def test_labels_of_a_binary_task_are_0_and_1(tmp_path: Path) -> None:
    """A label 2 is a fault of load(), told as such."""
    project = mini_project.make(tmp_path)
    path = tmp_path / "data/raw/2013-02.parquet"
    pd.read_parquet(path).assign(late=2.0).to_parquet(path)

    with pytest.raises(DataError, match="holds 2"):
        evaluate.run(project)
