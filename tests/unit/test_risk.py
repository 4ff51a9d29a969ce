"""The risk section of the policy: the matrix, what a level asks for, and what ``monitor`` makes of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from unit import mini_project

from modelyard import policy, profile
from modelyard.errors import PolicyError
from modelyard.monitor import live
from modelyard.monitor.report import Monitoring
from modelyard.project import Project
from modelyard.risk import FAMILIES, IMPACTS, LEVELS, PROBABILITIES, Demand, Risk

NOW = datetime(2013, 4, 1, 5, 30, tzinfo=UTC)


def problem(**risk: Any) -> str:
    with pytest.raises(PolicyError) as caught:
        policy.parse(risk, Risk, "risk")
    return str(caught.value)


@pytest.mark.parametrize(
    ("probability", "impact", "level"),
    [
        ("rare", "negligible", "low"),
        ("rare", "severe", "moderate"),
        ("possible", "negligible", "low"),
        ("possible", "minor", "moderate"),
        ("possible", "major", "high"),
        ("likely", "major", "high"),
        ("likely", "severe", "critical"),
        ("almost certain", "negligible", "moderate"),
        ("almost certain", "severe", "critical"),
    ],
)
def test_the_level_follows_from_probability_and_impact(probability: Any, impact: Any, level: str) -> None:
    """A cell of the matrix, by words."""
    assert Risk(probability=probability, impact=impact).level == level


@given(st.integers(0, 4), st.integers(0, 4), st.sampled_from([(0, 1), (1, 0), (1, 1)]))
def test_more_of_either_never_lowers_the_level(row: int, column: int, step: tuple[int, int]) -> None:
    """Along rows and columns the severity grows, and with it what is asked for."""

    def of(row: int, column: int) -> Risk:
        return Risk.model_validate({"probability": PROBABILITIES[min(row, 4)], "impact": IMPACTS[min(column, 4)]})

    less, more = of(row, column), of(row + step[0], column + step[1])

    assert LEVELS.index(less.level) <= LEVELS.index(more.level)
    assert set(less.demand.checks) <= set(more.demand.checks)
    assert less.demand.approvers <= more.demand.approvers
    assert (less.demand.life(None) or 10**6) >= (more.demand.life(None) or 10**6)


def test_the_documentation_shows_the_matrix() -> None:
    """Its cells are those of the code."""
    text = (Path(__file__).parents[2] / "docs/explanation/what-the-matrix-decides.md").read_text()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
    rows = {row[0]: row[1:] for row in cells}

    assert [rows[probability] for probability in PROBABILITIES] == Risk().matrix
    assert list(IMPACTS) in [row[1:] for row in cells]


def test_what_the_levels_ask_for() -> None:
    """Nobody, one, two, two of whom one has a role; all checks from high on; a training by itself except at critical."""
    demands = Risk().demands

    assert [demands[level].approvers for level in LEVELS] == [0, 1, 2, 2]
    assert [demands[level].role for level in LEVELS] == ["", "", "", "risk"]
    assert [demands[level].independent for level in LEVELS] == [False, False, True, True]
    assert [demands[level].retrain for level in LEVELS] == [True, True, True, False]
    assert [demands[level].max_age_days for level in LEVELS] == [None, None, 365, 180]
    assert [set(FAMILIES) - set(demands[level].checks) for level in LEVELS[1:]] == [{"fairness", "checklist"}, set(), set()]
    assert [demands[level].inconclusive for level in LEVELS] == ["pass", "pass", "block", "block"]
    assert [demands[level].words for level in LEVELS] == [
        "nobody: the workflow merges it",
        "1 person",
        "2 people who did not write the training code",
        "2 people who did not write the training code, one of them with the role 'risk'",
    ]


def test_matrix_and_demands_can_be_changed() -> None:
    """A stricter matrix, and one level that asks for something else; the levels that are not named keep what they ask for."""
    risk = policy.parse(
        {"matrix": [["high"] * 5] * 5, "demands": {"high": {"checks": ["criteria"], "inconclusive": "pass", "approvers": 3}}}, Risk, "risk"
    )

    assert (risk.level, risk.demand) == ("high", Demand(checks=["criteria"], inconclusive="pass", approvers=3))
    assert risk.demands["critical"] == Risk().demands["critical"]


@pytest.mark.parametrize(("level", "instead"), [("low", "low"), ("medium", "moderate"), ("high", "high"), ("critical", "critical")])
def test_who_still_names_a_level_is_told_what_to_write(level: str, instead: str) -> None:
    """Probability and impact of that level, to be copied."""
    told = problem(level=level, owner="o")

    assert f"instead of level: {level} write probability: " in told
    said = dict(part.split(": ") for part in told.partition("write ")[2].partition(" (found")[0].split(" and "))
    assert Risk.model_validate(said).level == instead


@pytest.mark.parametrize(
    ("risk", "message"),
    [
        ({"level": "extreme"}, "instead of level: extreme write probability: possible and impact: minor"),
        ({"probability": "maybe"}, "probability: Input should be 'rare', 'unlikely', 'possible', 'likely' or 'almost certain'"),
        ({"impact": 3}, "impact: Input should be 'negligible', 'minor', 'moderate', 'major' or 'severe'"),
        ({"matrix": [["low"] * 5] * 4}, "matrix: 5 rows of 5 levels are needed"),
        ({"matrix": [["small"] * 5] * 5}, "matrix.0.0: Input should be 'low', 'moderate', 'high' or 'critical'"),
        ({"demands": {"hihg": {}}}, "demands.hihg"),
        ({"demands": {"high": {"approvers": 2}}}, "demands.high.checks: missing"),
        ({"demands": {"low": {"checks": [], "inconclusive": "pass", "approvers": 0, "role": "risk"}}}, "demands.low: nobody approves"),
        ({"demands": "none"}, "demands: Input should be a valid dictionary"),
        ({"probabilty": "rare"}, "probabilty: unknown key; did you mean 'probability'?"),
    ],
)
def test_a_wrong_word_is_told_with_what_is_allowed(risk: dict[str, Any], message: str) -> None:
    """Words, not numbers; a matrix of five by five; levels that exist."""
    assert message in problem(**risk)


AGES = [(None, None, None), (90, None, 90), (None, 180, 180), (90, 180, 90), (400, 180, 180)]


@pytest.mark.parametrize(("wanted", "allowed", "days"), AGES)
def test_the_smaller_age_counts(wanted: int | None, allowed: int | None, days: int | None) -> None:
    """What the project wants, and what its risk allows."""
    assert Demand(checks=[], inconclusive="pass", approvers=1, max_age_days=allowed).life(wanted) == days


def test_the_template_s_risk_is_moderate() -> None:
    """What a new project starts with, as its file says."""
    text = (Path(__file__).parents[2] / "{{cookiecutter.project_slug}}/modelyard.yaml").read_text()
    section = yaml.safe_load(text[text.index("\nrisk:") :].replace("{{", "").replace("}}", ""))["risk"]

    assert Risk.model_validate(section).level == "moderate"


def look(tmp_path: Path, **settings: Any) -> Monitoring:
    project: Project = mini_project.make(tmp_path, **settings)
    profile.run(project)
    return live.look(project, mini_project.released(project), NOW)


def risky(probability: str, impact: str, days: int) -> dict[str, Any]:
    demand = {"checks": [], "inconclusive": "pass", "approvers": 0, "max_age_days": days}
    return {"probability": probability, "impact": impact, "demands": {"high": demand, "critical": {**demand, "retrain": False}}}


def test_a_release_does_not_outlive_its_risk_level(tmp_path: Path) -> None:
    """It is 31 days old: the project allows 90, its level 30, so a training is due and starts by itself."""
    found = look(tmp_path, monitor={"max_age_days": 90}, risk=risky("possible", "major", 30))

    assert (found.verdict, found.needs_approval) == ("retrain", False)
    assert {check.name: check.status for check in found.checks}["age"] == "retrain"


def test_at_a_level_without_retraining_a_person_starts_it(tmp_path: Path) -> None:
    """The same at critical risk: the verdict stays, and nothing starts, although monitor.approval is none."""
    found = look(tmp_path, risk=risky("likely", "severe", 30))

    assert (found.verdict, found.needs_approval) == ("retrain", True)
    assert found.reason.endswith("and a person must start it.")


def test_a_level_whose_role_nobody_has_is_refused_before_anything_is_trained() -> None:
    """Naming somebody later would change the policy under the open release, which promote refuses."""
    raw: dict[str, Any] = {
        "name": "m",
        "package": "m",
        "task": "binary",
        "data": {"start": "2013-01-01", "time": "t", "label": "y"},
        "evaluate": {"metric": "roc_auc"},
        "risk": {"probability": "likely", "impact": "severe"},
    }

    with pytest.raises(PolicyError, match=r"risk.roles: level critical asks for the role 'risk', and names nobody who has it"):
        policy.parse(raw, policy.Policy, "modelyard.yaml")
    assert (
        policy.parse({**raw, "risk": {**raw["risk"], "roles": {"risk": ["rita@example.org"]}}}, policy.Policy, "").risk.level == "critical"
    )
