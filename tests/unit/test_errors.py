"""Errors, the progress that surrounds them, and the outcome of a verb."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from modelyard import console, errors
from modelyard.outcome import Outcome

SOURCE = Path(errors.__file__).parent
CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass)]


def test_each_error_has_an_exit_code_of_the_design() -> None:
    """Usage and configuration end with 2, all else with 1; 10 is a verdict, and no error."""
    for error in CLASSES:
        assert error.exit_code == (errors.EXIT_USAGE if issubclass(error, errors.UsageError) else errors.EXIT_FAILED)
    assert (Outcome(verdict="", summary="").exit_code, Outcome(verdict="", summary="", positive=False).exit_code) == (0, 10)


def test_an_error_says_what_happened_and_what_to_change() -> None:
    """Both stand in its text, on lines of their own."""
    assert str(errors.StateError("It broke.", "Mend it.")) == "It broke.\nMend it."
    assert str(errors.StateError("It broke.")) == "It broke."


def test_each_error_is_raised_somewhere() -> None:
    """No class of errors.py is dead: but for the base, each is raised by the toolkit."""
    raised = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
                raised.add(node.exc.func.id)

    assert {error.__name__ for error in CLASSES} - {"ModelyardError"} <= raised


def test_a_step_that_fails_is_not_told_as_done(capfd: pytest.CaptureFixture[str]) -> None:
    """A step says that it begins and, only where it succeeded, how long it took."""
    with console.step("good"):
        pass
    with pytest.raises(ValueError, match="no"), console.step("bad"):
        raise ValueError("no")

    told = capfd.readouterr()
    assert [line.partition(":")[0] for line in told.err.splitlines()] == ["good ...", "good", "bad ..."]
    assert told.out == ""
