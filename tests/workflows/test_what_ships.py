"""What act executes here is what ships, and what runs on GitHub: nothing is rewritten on the way."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from workflows.conftest import Scene

from modelyard import git, vendoring

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
LOOK = """
name: look
on: workflow_dispatch
jobs:
  look:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1
      - uses: ./.github/actions/setup
      - run: |
          echo "changed: $(git status --porcelain --ignored | wc -l)"
          find .github vendor -type f | xargs sha256sum
          cd "$(dirname "$(command -v modelyard)")/../lib"
          find . -path '*/site-packages/modelyard/*' ! -name '*.pyc' -type f | xargs sha256sum
"""


def shipped() -> dict[str, bytes]:
    """Path in a project -> what this repository puts there."""
    found = {}
    for name, source in {"actions": REPOSITORY / "actions", "workflows": REPOSITORY / "workflows"}.items():
        for path in source.rglob("*"):
            if path.is_file():
                text = path.read_text()
                where = f".github/{name}/{'modelyard-' if name == 'workflows' else ''}{path.relative_to(source).as_posix()}"
                found[where] = (vendoring.rewrite(text) if path.suffix == ".yml" else text).encode()
    return found


def toolkit() -> dict[str, bytes]:
    """Path below the package -> the toolkit's source."""
    source = REPOSITORY / "src" / "modelyard"
    return {p.relative_to(source).as_posix(): p.read_bytes() for p in source.rglob("*") if p.is_file() and "__pycache__" not in p.parts}


def test_a_project_holds_our_actions_and_workflows(fresh: Scene) -> None:
    """The vendored actions and reusable workflows are ours, byte for byte but for `$/`; the toolkit is ours."""
    root = fresh.yard.root
    vendored = [*(root / ".github/actions").rglob("*"), *(root / ".github/workflows").glob("modelyard-*.yml")]

    assert {p.relative_to(root).as_posix(): p.read_bytes() for p in vendored if p.is_file()} == shipped()
    assert {p.removeprefix("src/modelyard/") for p in git.ls(root / "vendor/modelyard", "HEAD", "src")} == set(toolkit())
    assert all((root / "vendor/modelyard/src/modelyard" / name).read_bytes() == content for name, content in toolkit().items())


def test_a_job_executes_them_as_they_are(fresh: Scene, tmp_path: Path) -> None:
    """In a job, after setup, actions and workflows are the committed files, and the toolkit on the PATH is the vendored one."""
    yard = fresh.yard.copy(tmp_path)
    (yard.root / ".github/workflows/look.yml").write_text(LOOK)
    yard.commit("Look")
    committed = {path: git.show(yard.root, "HEAD", path) or b"" for path in git.ls(yard.root, "HEAD", ".")}
    expected = {path: hashlib.sha256(content).hexdigest() for path, content in committed.items()}
    run = yard.happen("workflow_dispatch", "look")
    assert run.conclusion == "success", run.log

    lines = [line.removeprefix("look: ") for line in run.log.splitlines()]
    seen = {path: digest for digest, _, path in (line.partition("  ") for line in lines) if len(digest) == 64}
    for path in seen.keys() & expected.keys():
        assert seen[path] == expected[path]
    assert seen.keys() & expected.keys() == {path for path in expected if path.startswith((".github/", "vendor/"))}
    installed = {path.partition("site-packages/")[2]: digest for path, digest in seen.items() if "site-packages" in path}
    source = "vendor/modelyard/src/"
    assert installed == {path.removeprefix(source): digest for path, digest in expected.items() if path.startswith(source)}
    assert "changed: 0" in lines
