"""modelyard.yaml: what is read, and how what is wrong is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard import policy
from modelyard.errors import PolicyError

GOOD: dict[str, Any] = {
    "name": "flights",
    "package": "flights",
    "task": "binary",
    "data": {"start": "2013-01-01", "time": "time", "label": "late"},
    "evaluate": {"metric": "roc_auc", "criteria": {"roc_auc": {"min": 0.6}}},
}


def laid(path: str, value: object) -> dict[str, Any]:
    """Give the good policy with one value set, at a dotted path."""
    content: dict[str, Any] = yaml.safe_load(yaml.safe_dump(GOOD))
    *sections, key = path.split(".")
    inner = content
    for section in sections:
        inner = inner.setdefault(section, {})
    inner[key] = value
    return content


def problem(content: object) -> str:
    with pytest.raises(PolicyError) as caught:
        policy.parse(content, policy.Policy, "modelyard.yaml")
    return str(caught.value)


def test_a_short_policy_is_enough(tmp_path: Path) -> None:
    """Everything but name, package, task, data and the metric has a default."""
    (tmp_path / policy.FILE).write_text(yaml.safe_dump(GOOD))

    found = policy.load(tmp_path)

    assert (found.evaluate.holdout_days, found.monitor.window_days, found.risk.level) == (21, 28, "moderate")
    assert found.evaluate.criteria["roc_auc"].min == 0.6


@pytest.mark.parametrize(("section", "days"), [({}, 14), ({"block_days": 3}, 6), ({"block_days": 3, "stale_days": 5}, 5)])
def test_stale_is_twice_a_block_where_nothing_is_said(section: dict[str, Any], days: int) -> None:
    """A whole block may be late; two without a new row are a fault."""
    assert policy.Monitor(**section).stale_after == days


@pytest.mark.parametrize("section", [{"window_days": 7, "windows": {"need": 1, "of": 1}}, {"window_days": 4, "block_days": 2}])
def test_a_short_window_asks_for_a_rule_that_it_can_reach(section: dict[str, Any]) -> None:
    """Fewer blocks, or shorter ones."""
    assert policy.Monitor(**section).window_days == section["window_days"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("evalute", "evalute: unknown key; did you mean 'evaluate'?"),
        ("evaluate.treshold", "evaluate.treshold: unknown key; did you mean 'threshold'?"),
        ("monitor.volume.mix", "monitor.volume.mix: unknown key; did you mean 'min'?"),
        ("evaluate.criteria.roc_auc.maxi", "evaluate.criteria.roc_auc.maxi: unknown key; did you mean 'max'?"),
        ("monitor.windows.off", "monitor.windows.off: unknown key; did you mean 'of'?"),
        ("risk.zzz", "risk.zzz: unknown key; known are probability, impact, matrix, demands, roles, owner, purpose"),
    ],
)
def test_an_unknown_key_gets_the_nearest_name(path: str, message: str) -> None:
    """At every depth the suggestion comes from the section that the key stands in."""
    assert message in problem(laid(path, 1))


@pytest.mark.parametrize(
    ("path", "value", "allowed"),
    [
        ("task", "ranking", "'binary' or 'regression'"),
        (
            "risk.level",
            "medium",
            "risk: the level follows from probability and impact: instead of level: medium write probability: possible",
        ),
        ("risk.impact", "extreme", "'negligible', 'minor', 'moderate', 'major' or 'severe'"),
        ("data.start", "soon", "date"),
        ("evaluate.holdout_days", 3, "greater than or equal to 7"),
        ("evaluate.criteria.roc_auc", {}, "give min, max or both"),
        ("evaluate.metric", "mae", "'mae' is no metric of a binary task; known are roc_auc, average_precision"),
        ("evaluate.criteria", {"rmse": {"max": 1}}, "'rmse' is no metric of a binary task"),
        ("monitor.missing", 5, "less than or equal to 1"),
        ("monitor.alpha", 0, "greater than 0"),
        ("monitor.approval", "maybe", "'none' or 'required'"),
        ("monitor.windows", {"need": 3, "of": 2}, "need: 3 of 2 blocks cannot alarm"),
        ("monitor.window_days", 13, "windows.need: 2 blocks of 7 days must alarm, and window_days: 13 holds 1"),
        ("monitor.block_days", 30, "windows.need: 2 blocks of 30 days must alarm, and window_days: 28 holds 0"),
        ("name", "My Model", "pattern"),
        ("package", "my-package", "pattern"),
        ("serving.deploy", "deploy.sh", "list"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(path: str, value: object, allowed: str) -> None:
    """The message names the key, the value and the choice."""
    told = problem(laid(path, value))

    assert allowed in told
    assert path.rpartition(".")[2] in told or repr(value) in told


def test_all_problems_are_told_at_once() -> None:
    """A missing key and a wrong value are two lines of one message."""
    content = laid("task", "ranking")
    del content["data"]["label"]

    told = problem(content)

    assert "data.label: missing" in told
    assert len(told.splitlines()) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"# only a comment\n", "is empty"),
        (b"- a\n- list\n", "must hold keys and values, not list"),
        (b"plain text", "must hold keys and values, not str"),
        (b"name: [unclosed", "is no YAML"),
        (b"name: \xff\xfe", "is no YAML"),
        (b"data:\n  start: 2013-02-30\n", "is no YAML: day is out of range"),
        (b"a: !!python/object:os.system {}\n", "is no YAML"),
    ],
)
def test_what_is_no_policy_at_all_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    """Empty, a list, broken YAML, other encodings, a day that does not exist."""
    (tmp_path / policy.FILE).write_bytes(content)

    with pytest.raises(PolicyError, match=message):
        policy.load(tmp_path)


def test_no_policy_is_told(tmp_path: Path) -> None:
    """The message names the folder."""
    with pytest.raises(PolicyError, match=r"no modelyard\.yaml in"):
        policy.load(tmp_path)
