# /// script
# dependencies = ["nox"]
# ///
"""Every job of this repository; ``nox -l`` lists them."""

import shutil
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"  # uv run has made the environment
nox.options.sessions = ["lint", "types", "tests"]
SKELETON = Path("{{cookiecutter.project_slug}}")


@nox.session
def lint(session: nox.Session) -> None:
    """Format and lint the Python, audit the workflows and actions."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    files = [*Path("workflows").glob("*.yml"), *Path("actions").glob("*/action.yml")]
    session.run("zizmor", "--offline", "--quiet", *map(str, files), ".github/workflows/test.yml")
    session.run(
        "zizmor", "--offline", "--quiet", "--config", f"{SKELETON}/.github/zizmor.yml", *map(str, SKELETON.glob(".github/workflows/*.yml"))
    )


@nox.session
def types(session: nox.Session) -> None:
    """Check the toolkit's types, strictly."""
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests: the toolkit's, the template's, and the workflows', executed."""
    session.run("pytest", *session.posargs)


@nox.session
def unit(session: nox.Session) -> None:
    """Run the fast tests only."""
    session.run("pytest", "tests/unit", *session.posargs)


@nox.session
def generate(session: nox.Session) -> None:
    """Refresh what is generated: the copies in .github/workflows, the JSON Schemas, the reference pages."""
    for file in Path("workflows").glob("*.yml"):
        shutil.copyfile(file, Path(".github/workflows") / file.name)
    session.run("python", "-m", "modelyard.schemas")
    session.run("python", "docs/generate_reference.py")


@nox.session
def demo(session: nox.Session) -> None:
    """Run the main job: generate a project and let a year of flights happen to it."""
    session.run("modelyard", "demo", *session.posargs)
