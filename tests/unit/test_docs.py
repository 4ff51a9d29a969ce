"""The documentation says what is so: generated pages, links, commands."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import click
import pytest
import yaml

from modelyard.cli import modelyard

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
SKELETON = ROOT / "{{cookiecutter.project_slug}}"
#: The two commands of the README, by which the repository is judged.
README_COMMANDS = ["pip install uv && uv run modelyard demo     # the main job", "uv run pytest                               # the tests"]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_reference", ROOT / "docs/generate_reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def code_of(text: str) -> str:
    """The blocks of code, indented or fenced, and the code within sentences, a piece a line."""
    fenced = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^(?: {4}|\t)(.+)$", text, re.MULTILINE)
    inline = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
    return "\n".join([*fenced, *indented, *inline])


def commands(text: str) -> set[str]:
    """Each call ``modelyard <verb> ...`` in a page's code, up to what ends a command."""
    return {found.strip() for found in re.findall(r"(?<![\w/.-])(modelyard [a-z][^\n&|;#)>]*)", code_of(text))}


def problem(call: str) -> str:
    """What is wrong with a call as it is written; empty where nothing is."""
    words = shlex.split(call)[1:]
    command: click.Command = modelyard
    context = click.Context(command)
    while isinstance(command, click.Group) and words and words[0].islower() and not words[0].startswith("-"):
        inner = command.get_command(context, words[0])
        if inner is None:
            return f"there is no command {words[0]!r}"
        command, words = inner, words[1:]
    known = {option for param in command.params for option in param.opts} | {"--help", "-h", "--debug"}
    unknown = [word for word in words if word.startswith("-") and word.partition("=")[0] not in known]
    return f"unknown option {unknown[0]}" if unknown else ""


def anchors(path: Path) -> set[str]:
    """The anchors that headings make, as GitHub does."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_reference_is_up_to_date() -> None:
    """The generated pages are what the generator would write now, and no page is left over."""
    assert generator().outdated() == []


def test_check_names_a_page_that_is_out_of_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that was edited by hand, one that is missing, and one that nothing makes are all told."""
    module = generator()
    made = module.pages()
    for page, text in made.items():
        (tmp_path / page).write_text(text, encoding="utf-8")
    (tmp_path / "policy.md").write_text(made["policy.md"] + "more", encoding="utf-8")
    (tmp_path / "state.md").unlink()
    (tmp_path / "gone.md").write_text(module.MARK, encoding="utf-8")
    monkeypatch.setattr(module, "REFERENCE", tmp_path)

    assert set(module.outdated()) == {"policy.md", "state.md", "gone.md"}


def test_the_generator_runs_as_nox_calls_it() -> None:
    """``python docs/generate_reference.py --check`` ends with 0."""
    done = subprocess.run([sys.executable, "docs/generate_reference.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_resolve(page: Path) -> None:
    """Each relative link leads to a file, and its anchor to a heading there."""
    prose = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        path, _, anchor = target.partition("#")
        file = page.parent / unquote(path) if path else page
        if "://" not in target and not (file.exists() and (not anchor or anchor in anchors(file))):
            broken.append(target)

    assert broken == []


def test_each_page_can_be_reached() -> None:
    """From the README every page of docs/ is found by following links."""
    seen, todo = set(), [ROOT / "README.md", ROOT / "docs/README.md"]
    while todo:
        page = todo.pop()
        seen.add(page)
        links = re.findall(r"\]\(([^)#\s]+\.md)", page.read_text(encoding="utf-8"))
        todo += [path for link in links if (path := (page.parent / link).resolve()) not in seen and path.exists()]

    assert set((ROOT / "docs").rglob("*.md")) - seen == set()


@pytest.mark.parametrize("page", [*PAGES, SKELETON / "README.md", SKELETON / "releases/README.md"], ids=name)
def test_commands_exist(page: Path) -> None:
    """Each ``modelyard ...`` that a page shows is a command with these options."""
    wrong = {call: why for call in commands(page.read_text(encoding="utf-8")) if (why := problem(call))}

    assert wrong == {}


@pytest.mark.parametrize("call", ["modelyard scroe", "modelyard state drop", "modelyard promote --dryrun"])
def test_a_command_that_does_not_exist_is_found(call: str) -> None:
    """The check above does not pass whatever is written."""
    assert commands(f"Try:\n\n    uv run {call} && ls\n") == {call}
    assert problem(call)


def test_the_two_commands() -> None:
    """README's two commands stand there as they are promised; nox's demo and .ci/run do the same."""
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")

    assert [
        line[4:] for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if line[4:] in README_COMMANDS
    ] == README_COMMANDS
    assert 'session.run("modelyard", "demo"' in noxfile
    assert "uv run pytest" in (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()


def test_contributing_lists_every_job() -> None:
    """Each nox session stands in CONTRIBUTING's table."""
    sessions = re.findall(r"@nox\.session\ndef (\w+)", (ROOT / "noxfile.py").read_text(encoding="utf-8"))
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

    assert [session for session in sessions if f"`uv run nox -s {session}`" not in text] == []


def test_the_readme_lists_every_prompt() -> None:
    """The prompts of cookiecutter.json, and their choices, stand in the README's table."""
    answers = yaml.safe_load((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    prompts = {key: value for key, value in answers.items() if not key.startswith("_")}
    rows = {row.split("`")[1]: row for row in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if row.startswith("| `")}

    assert prompts.keys() <= rows.keys()
    for key, choices in prompts.items():
        for choice in choices if isinstance(choices, list) else []:
            assert f"`{choice}`" in rows[key]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_path_of_a_machine(page: Path) -> None:
    """Pages name no folder of the machine they were written on."""
    assert re.findall(r"(?<![\w.$\"])/(?:work|tmp|root|home)/\S*", page.read_text(encoding="utf-8")) == []
