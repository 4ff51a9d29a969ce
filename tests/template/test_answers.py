"""Answers that cannot work, or would become code, are refused with the reason before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from template.bake import cookiecutter, files

REFUSED = [
    ("project_slug", "Flights", "lower-case"),
    ("project_slug", "1flights", "beginning with a letter"),
    ("project_slug", "two words", "lower-case"),
    ("project_slug", "under_score", "hyphens"),
    ("project_slug", "a/b", "lower-case"),
    ("project_slug", "x" * 51, "50 at most"),
    ("project_slug", "mlflow", "uses itself"),
    ("project_slug", "modelyard", "uses itself"),
    ("project_slug", "scikit-learn", "uses itself"),
    ("package", "my-package", "underscores"),
    ("package", "class", "Python's own name"),
    ("package", "json", "Python's own name"),
    ("package", "test", "Python's own name"),
    ("package", "mlflow", "would hide"),
    ("package", "dvc", "would hide"),
    ("package", "tests", "would hide"),
    ("package", "../up", "underscores"),
    ("package", "flüge", "underscores"),
    ("project_name", " ", "1 to 200 characters"),
    ("author", "x" * 201, "1 to 200 characters"),
    ("author", 'Zoë "the boss"', 'no "'),
    ("author", "back\\slash", "no \\"),
    ("description", "one\ntwo", "line breaks"),
    ("description", "bell\x07", "control characters"),
    ("__data_start", "yesterday", "not a date"),
    ("__data_start", "20130101", "not a date"),
    ("__data_start", "2013-02-30", "not a date"),
]


@pytest.mark.parametrize(("name", "value", "reason"), REFUSED)
def test_refused_with_the_reason(template: Path, tmp_path: Path, name: str, value: str, reason: str) -> None:
    """One bad answer: no project, and a sentence that says why."""
    derived = {"project_slug": "flights", "package": "flights"}
    done = cookiecutter(template, tmp_path, **{**derived, name: value})

    assert done.returncode != 0
    assert reason in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert files(tmp_path) == set()


@pytest.mark.parametrize(
    ("name", "value", "allowed"), [("task", "clustering", "regression"), ("estimator", "magic", "trees"), ("licence", "GPL", "MIT")]
)
def test_a_choice_that_is_none_is_refused(template: Path, tmp_path: Path, name: str, value: str, allowed: str) -> None:
    """Cookiecutter itself refuses what is not on the list, and names what is."""
    done = cookiecutter(template, tmp_path, **{name: value})

    assert done.returncode != 0
    assert f"{value} provided for choice variable {name}" in done.stderr
    assert allowed in done.stderr
    assert files(tmp_path) == set()


HOSTILE = [
    "'''\nopen('pwned', 'w')\n'''",
    '"""\nopen("pwned", "w")\n"""',
    "\\'''; open('pwned', 'w'); '''",
    '"\n[tool.uv]\nindex-url = "x',
    "a\u2028b",
    "</script>'); open('pwned','w')#\\",
]


@pytest.mark.parametrize("field", ["project_name", "description", "author", "package", "project_slug"])
@pytest.mark.parametrize("text", HOSTILE)
def test_an_answer_is_never_executed(template: Path, tmp_path: Path, field: str, text: str) -> None:
    """Texts that try to end the string they stand in are refused, and nothing of them runs."""
    derived = {"project_slug": "flights", "package": "flights"}
    done = cookiecutter(template, tmp_path, **{**derived, field: text})

    assert done.returncode != 0
    assert "Nothing was generated" in done.stderr + done.stdout or "not a valid" in done.stderr or "File name too long" in done.stderr
    assert files(tmp_path) == set()


def test_all_problems_are_told_at_once(template: Path, tmp_path: Path) -> None:
    """Two bad answers are two sentences."""
    done = cookiecutter(template, tmp_path, project_slug="A", package="import", author='"')
    told = done.stderr + done.stdout

    assert "project_slug 'A'" in told
    assert "package 'import'" in told
    assert "author" in told
