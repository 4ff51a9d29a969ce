"""Copy files to the run's folder of artifacts, laid out as the real action lays them out: below their least common folder."""

from __future__ import annotations

import glob
import os
import shutil
import sys
import zlib
from pathlib import Path


def find(patterns: list[str], hidden: bool) -> list[Path]:
    """Files that the patterns name; a folder means all below it."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        negated = pattern.startswith("!")
        for name in glob.glob(pattern.lstrip("!"), recursive=True, include_hidden=True):  # noqa: PTH207  # Path.glob takes no absolute pattern
            path = Path(name).absolute()
            for file in [path] if path.is_file() else (p for p in sorted(path.rglob("*")) if p.is_file()):
                if negated:
                    found.pop(file, None)
                else:
                    found[file] = None
    here = Path.cwd()
    return [f for f in found if hidden or not any(part.startswith(".") for part in Path(os.path.relpath(f, here)).parts if part != "..")]


def root(patterns: list[str]) -> Path:
    """The folder that paths in the artifact are relative to: of the fixed beginnings of the patterns, the one they share."""
    bases = []
    for pattern in patterns:
        parts = Path(pattern).absolute().parts
        fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
        base = Path(*parts[:fixed])
        bases.append(base.parent if base.is_file() else base)
    return Path(os.path.commonpath(bases))


def main() -> int:
    """Copy; 1 where the step must fail."""
    os.chdir(os.environ["GITHUB_WORKSPACE"])
    name = os.environ["IN_NAME"]
    patterns = [line.strip() for line in os.environ["IN_PATH"].splitlines() if line.strip()]
    files = find(patterns, os.environ["IN_HIDDEN"] == "true")
    if not files:
        missing = os.environ["IN_MISSING"]
        if missing != "ignore":
            print(f"::{'error' if missing == 'error' else 'warning'}::upload-artifact: nothing was found at {', '.join(patterns)}")
        return int(missing == "error")
    target = Path(os.environ["MODELYARD_LOCAL_ARTIFACTS"], name)
    if target.exists():
        if os.environ["IN_OVERWRITE"] != "true":
            print(f"::error::upload-artifact: this run has an artifact {name} already")
            return 1
        shutil.rmtree(target)
    top = root([pattern for pattern in patterns if not pattern.startswith("!")])
    for file in files:
        copy = target / file.relative_to(top)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as output:
        output.write(f"artifact-id={zlib.crc32(name.encode())}\nartifact-url={target.as_uri()}\n")
    print(f"{len(files)} files: {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
