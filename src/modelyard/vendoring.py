"""Putting the platform into a project: the toolkit, its actions and its workflows, named so that they work from there.

Standard library only: the template's hook runs this before anything is installed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from modelyard.errors import GitError, UsageError

#: Where the vendored parts lie in a project.
TOOLKIT = Path("vendor/modelyard")
ACTIONS = Path(".github/actions")
WORKFLOWS = Path(".github/workflows")

_ACTION = re.compile(r"^(\s*(?:-\s+)?uses:\s+)\$/actions/([a-z][a-z0-9-]*)(\s+#.*)?$")
_WORKFLOW = re.compile(r"^(\s*uses:\s+)\$/\.github/workflows/([a-z][a-z0-9-]*)\.yml(\s+#.*)?$")
_LOCAL = re.compile(r"^\s*(?:-\s+)?uses:\s+[\"']?\.")
_HEADER = re.compile(r"^\[{1,2}([^\[\]]+)\]{1,2}\s*$")

_README = """# The Modelyard toolkit, vendored

This is the source of `modelyard` as it was when the project was generated. The project's `pyproject.toml` names this folder, so what
you see is what runs: the command `modelyard`, the actions in `.github/actions` and the workflows `.github/workflows/modelyard-*.yml`.
Don't edit it: a newer version replaces all three together.
"""

_CACHE_KEYS = """[tool.uv]
cache-keys = [{ file = "pyproject.toml" }, { file = "src/**/*.py" }]  # else uv does not see an edit; not all of src: bytecode is no edit
"""


def rewrite(text: str) -> str:
    """Turn references to this repository (``$/...``) into references inside a project (``./.github/...``).

    Comments stay as they are.

    Raises
    ------
    UsageError
        A line refers to the repository in another way than these two::

            uses: $/actions/<verb>
            uses: $/.github/workflows/<name>.yml
    """
    return "".join(_line(number, line) for number, line in enumerate(text.splitlines(keepends=True), 1))


def _line(number: int, line: str) -> str:
    body = line.rstrip("\r\n")
    if body.lstrip().startswith("#"):
        return line
    done = _ACTION.sub(rf"\1./{ACTIONS.as_posix()}/\2\3", body)
    done = _WORKFLOW.sub(rf"\1./{WORKFLOWS.as_posix()}/modelyard-\2.yml\3", done)
    if "$/" in done or (done == body and _LOCAL.match(body)):
        raise UsageError(
            f"Line {number} cannot be vendored: {body.strip()}",
            "Write `uses: $/actions/<verb>` or `uses: $/.github/workflows/<name>.yml`, without quotes.",
        )
    return done + line[len(body) :]


def slim(pyproject: str) -> str:
    """The toolkit's ``pyproject.toml`` as a project needs it: what builds and installs, none of what develops it."""
    kept, keep = [], True
    for line in pyproject.splitlines(keepends=True):
        if header := _HEADER.match(line):
            table = header.group(1)
            keep = table in ("build-system", "project") or table.startswith(("project.", "tool.hatch."))
        if keep:
            kept.append(line)
    return "".join(kept).rstrip("\n") + "\n\n" + _CACHE_KEYS


def vendor(platform: Path, project: Path) -> None:
    """Put toolkit, actions and workflows of ``platform`` (a checkout of this repository) into ``project``, in place of older ones.

    Raises
    ------
    UsageError
        A symbolic link, which would point nowhere there, or a reference that cannot be rewritten.
    """
    toolkit = project / TOOLKIT
    shutil.rmtree(toolkit, ignore_errors=True)
    for source in _files(platform / "src" / "modelyard"):
        _write(toolkit / source.relative_to(platform), source.read_bytes())
    _write(toolkit / "pyproject.toml", slim((platform / "pyproject.toml").read_text(encoding="utf-8")).encode())
    _write(toolkit / "README.md", _README.encode())
    _write(toolkit / "LICENSE", (platform / "LICENSE").read_bytes())

    shutil.rmtree(project / ACTIONS, ignore_errors=True)
    for source in _files(platform / "actions"):
        _write(project / ACTIONS / source.relative_to(platform / "actions"), _rewritten(source))
    for old in (project / WORKFLOWS).glob("modelyard-*.yml"):
        old.unlink()
    for source in _files(platform / "workflows"):
        _write(project / WORKFLOWS / f"modelyard-{source.name}", _rewritten(source))


def stage(repo: Path, into: Path) -> Path:
    """Copy the files that git knows, or would take, from ``repo`` into the new folder ``into``: a template without ``.venv`` and caches.

    Cookiecutter copies a template's whole folder before it runs ``pre_prompt``: of an untidy working tree that takes half a minute.

    Returns
    -------
    Path
        ``into``.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=repo, capture_output=True, check=False)
    if listed.returncode:
        raise GitError(f"{repo} is not a git repository: {listed.stderr.decode(errors='replace').strip()}")
    for name in sorted(set(listed.stdout.decode().split("\0")) - {""}):
        source = repo / name
        if source.is_file():  # a file deleted but not yet staged is still listed
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return into


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise UsageError(f"{path} is a symbolic link.", "Put a real file in its place: links do not survive vendoring.")
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def _rewritten(source: Path) -> bytes:
    if source.suffix not in (".yml", ".yaml"):
        return source.read_bytes()
    try:
        return rewrite(source.read_text(encoding="utf-8")).encode()
    except UsageError as error:
        raise UsageError(f"{source}: {error.what}", error.fix) from None


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
