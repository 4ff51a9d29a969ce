"""Vendoring: what is rewritten, what is refused, and what lies in a project afterwards."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

from modelyard import vendoring
from modelyard.errors import GitError, UsageError

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("line", "rewritten"),
    [
        ("      - uses: $/actions/setup", "      - uses: ./.github/actions/setup"),
        ("        uses: $/actions/evaluate # this commit", "        uses: ./.github/actions/evaluate # this commit"),
        ("    uses: $/.github/workflows/promote.yml", "    uses: ./.github/workflows/modelyard-promote.yml"),
        ("      - uses: actions/checkout@3d3c42e # v7", "      - uses: actions/checkout@3d3c42e # v7"),
        ("  # uses: $/elsewhere", "  # uses: $/elsewhere"),
        ('        run: echo "${{ github.sha }}" "$HOME/x"', '        run: echo "${{ github.sha }}" "$HOME/x"'),
    ],
)
def test_references_to_this_repository_are_rewritten(line: str, rewritten: str) -> None:
    """Actions and workflows are named as they lie in a project; everything else stays byte for byte."""
    text = f"name: x\r\n{line}\nlast"

    assert vendoring.rewrite(text) == f"name: x\r\n{rewritten}\nlast"


@pytest.mark.parametrize(
    "line",
    [
        "uses: $/setup",
        "uses: $/actions/setup@v1",
        "uses: '$/actions/setup'",
        "uses: $/actions/../x",
        "uses: $/.github/workflows/train.yaml",
        "- uses: $/.github/workflows/train.yml",
        "run: cat $/actions/setup/action.yml",
        "uses: ./.github/workflows/train.yml",
        "- uses: ./actions/setup",
        "- uses: '../x'",
    ],
)
def test_what_it_does_not_know_is_refused(line: str) -> None:
    """A reference of another form is not guessed at: the line is named."""
    with pytest.raises(UsageError, match="Line 2 cannot be vendored"):
        vendoring.rewrite(f"jobs:\n  {line}\n")


def test_the_toolkit_s_pyproject_keeps_what_installs_it() -> None:
    """Development groups and tools go; name, dependencies, command and entry points stay."""
    ours = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    slim = tomllib.loads(vendoring.slim((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")))

    assert slim["project"] == ours["project"]
    assert slim["build-system"] == ours["build-system"]
    assert set(slim["tool"]) == {"hatch", "uv"}
    assert "cache-keys" in slim["tool"]["uv"]
    assert set(slim) == {"build-system", "project", "tool"}


@pytest.fixture
def platform(tmp_path: Path) -> Path:
    """A small stand-in for this repository's tree."""
    root = tmp_path / "platform"
    files = {
        "pyproject.toml": (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"),
        "LICENSE": "licence",
        "src/modelyard/__init__.py": "",
        "src/modelyard/__pycache__/x.pyc": "",
        "actions/setup/action.yml": "runs: {}\n",
        "actions/setup/tool.sh": "echo $/untouched\n",
        "workflows/train.yml": "- uses: $/actions/setup\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def tree(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_vendoring_puts_everything_in_its_place(platform: Path, tmp_path: Path) -> None:
    """Toolkit, actions and workflows lie where the project looks for them, without bytecode."""
    vendoring.vendor(platform, tmp_path / "project")

    assert tree(tmp_path / "project") == {
        "vendor/modelyard/pyproject.toml",
        "vendor/modelyard/README.md",
        "vendor/modelyard/LICENSE",
        "vendor/modelyard/src/modelyard/__init__.py",
        ".github/actions/setup/action.yml",
        ".github/actions/setup/tool.sh",
        ".github/workflows/modelyard-train.yml",
    }
    assert (tmp_path / "project/.github/workflows/modelyard-train.yml").read_text() == "- uses: ./.github/actions/setup\n"
    assert (tmp_path / "project/.github/actions/setup/tool.sh").read_text() == "echo $/untouched\n"


def test_vendoring_again_removes_what_is_gone(platform: Path, tmp_path: Path) -> None:
    """A newer platform replaces the older one; the project's own workflows stay."""
    project = tmp_path / "project"
    vendoring.vendor(platform, project)
    (project / ".github/workflows/train.yml").write_text("the project's")
    (platform / "actions/setup/tool.sh").unlink()
    (platform / "workflows/train.yml").rename(platform / "workflows/ci.yml")
    vendoring.vendor(platform, project)

    assert "the project's" in (project / ".github/workflows/train.yml").read_text()
    assert not (project / ".github/actions/setup/tool.sh").exists()
    assert not (project / ".github/workflows/modelyard-train.yml").exists()
    assert (project / ".github/workflows/modelyard-ci.yml").exists()


def test_a_link_is_refused(platform: Path, tmp_path: Path) -> None:
    """A symbolic link would point nowhere in a project."""
    (platform / "actions/setup/link").symlink_to("tool.sh")
    with pytest.raises(UsageError, match="symbolic link"):
        vendoring.vendor(platform, tmp_path / "project")


def test_a_refusal_names_the_file(platform: Path, tmp_path: Path) -> None:
    """What cannot be rewritten is found: file and line are told."""
    (platform / "workflows/train.yml").write_text("- uses: $/tools/x\n")
    with pytest.raises(UsageError, match=r"train\.yml: Line 1 cannot be vendored"):
        vendoring.vendor(platform, tmp_path / "project")


def test_what_ships_can_be_vendored(tmp_path: Path) -> None:
    """Every action and workflow of this repository is of a known form; the same actions and workflows arrive."""
    vendoring.vendor(REPOSITORY, tmp_path)

    assert {p.name for p in (tmp_path / vendoring.ACTIONS).iterdir()} == {p.name for p in (REPOSITORY / "actions").iterdir()}
    arrived = {p.name for p in (tmp_path / vendoring.WORKFLOWS).iterdir()}
    assert arrived == {f"modelyard-{p.name}" for p in (REPOSITORY / "workflows").iterdir()}
    assert arrived
    for path in (tmp_path / ".github").rglob("*.yml"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if "uses: ./" in line:
                target = tmp_path / line.split("uses: ")[1].split()[0]
                assert (target / "action.yml").is_file() or target.is_file(), line


def git(repo: Path, *args: str) -> None:
    subprocess.run(["git", *args], cwd=repo, check=True, capture_output=True)


def test_a_stage_holds_what_git_would_take(tmp_path: Path) -> None:
    """Committed, changed and new files are staged as they are now; ignored and deleted ones are not."""
    repo = tmp_path / "repo"
    repo.mkdir()
    git(repo, "init")
    (repo / ".gitignore").write_text(".venv/\n")
    for name in ("kept", "deleted", "späce {{x}}"):
        (repo / name).write_text("old")
    git(repo, "add", ".")
    (repo / "kept").write_text("new")
    (repo / "deleted").unlink()
    (repo / "folder").mkdir()
    (repo / "folder/fresh").write_text("x")
    (repo / ".venv").mkdir()
    (repo / ".venv/huge").write_text("x")
    staged = vendoring.stage(repo, tmp_path / "stage")

    assert tree(staged) == {".gitignore", "kept", "späce {{x}}", "folder/fresh"}
    assert (staged / "kept").read_text() == "new"


def test_a_stage_needs_a_repository(tmp_path: Path) -> None:
    """Without git there is nothing to tell source from rubbish."""
    with pytest.raises(GitError, match="not a git repository"):
        vendoring.stage(tmp_path, tmp_path / "stage")
