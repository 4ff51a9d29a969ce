"""Do training and serving compute with the same versions, and does the service's image hold all that its code imports?

Serving: what :func:`modelyard.serving.requirements` pins into the Bento. Training: the versions recorded beside the model (the object
``versions`` in ``models/examples.json``), else those of ``uv.lock``. What computes: numpy, onnxruntime, and whatever ``service.py`` and the
modules that it imports need. The smoke test cannot see a package that the image lacks, since it runs where everything is installed.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from modelyard import serving
from modelyard.evaluate.check import Check, Status

_ALWAYS = {"numpy", "onnxruntime"}
_RUNTIME = ["modelyard", "serve"]
_WHY = "another version of what computes can predict otherwise, and an image without a package does not start"
_LIMIT = "the same versions in training and service, and nothing imported that the image lacks"


def judge(training: Mapping[str, set[str]] | None, service: Mapping[str, str], imported: set[str]) -> Check:
    """Hold what the service installs against what training used.

    Parameters
    ----------
    training
        Package -> its versions (a lock may hold several, for several machines); None where nobody recorded them.
    service
        Package -> version that the image pins.
    imported
        Packages that the serving code needs; one that the image neither pins nor gets with a pinned one is missing there.
    """
    lacking = sorted(imported - set(service) - _brought(service))
    if lacking:
        return check("failed", f"The serving code imports {', '.join(lacking)}, which the service's image does not hold.")
    if training is None:
        return check("unknown", "Nobody recorded the versions of training: run `uv lock`, or let export.save write them.")
    shared = sorted(((imported | _ALWAYS) & set(service)) - {"bentoml"})  # it carries predictions, and computes none
    unknown = [name for name in shared if name not in training]
    odd = [
        f"{name} {' or '.join(sorted(training[name]))} in training, {service[name]} in the service"
        for name in shared
        if name in training and service[name] not in training[name]
    ]
    if odd:
        return check("failed", f"The versions differ: {'; '.join(odd)}. Run `uv sync`, and train again.")
    if unknown:
        return check("unknown", f"Training recorded no version of {', '.join(unknown)}.")
    return check("passed", f"Training and service: {', '.join(f'{name} {service[name]}' for name in shared)}.")


def training(root: Path, examples: Path) -> dict[str, set[str]] | None:
    """The versions that the model was trained with, as far as they were recorded."""
    try:
        recorded = json.loads(examples.read_text(encoding="utf-8")).get("versions")
    except (OSError, ValueError, AttributeError):
        recorded = None
    if isinstance(recorded, dict):
        return {_canonical(str(name)): {str(version)} for name, version in recorded.items()}
    try:
        packages = tomllib.loads((root / "uv.lock").read_text(encoding="utf-8"))["package"]
        found: dict[str, set[str]] = {}
        for package in packages:
            if "version" in package:  # the project itself may have none
                found.setdefault(_canonical(package["name"]), set()).add(package["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def service(root: Path | None = None) -> dict[str, str]:
    """What the image of the service pins, the packages that the project at ``root`` adds included.

    Raises
    ------
    importlib.metadata.PackageNotFoundError
        One of it is not installed here.
    """
    return {_canonical(name): version for name, _, version in (pin.partition("==") for pin in serving.requirements(root))}


def imported(source: Path, package: str) -> set[str]:
    """Distributions that ``service.py`` and the modules that it reaches import; a name that no distribution has, as it is."""
    names = _names(source, package) - set(sys.stdlib_module_names) - {package}
    obvious = {name for name in names if _is_installed(name)}  # most are called as their distribution is
    if not (others := names - obvious):
        return {_canonical(name) for name in obvious}
    known = metadata.packages_distributions()
    return {_canonical(name) for name in obvious} | {_canonical(known[name][0]) if name in known else name for name in others}


def _names(source: Path, package: str) -> set[str]:
    """Top-level names of all imports, by following those within the package."""
    names: set[str] = set()
    seen: set[Path] = set()
    open_ = [source / package / "__init__.py", source / package / "service.py"]
    while open_:
        path = open_.pop()
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        here = list(path.relative_to(source).parent.parts)
        for module in _imports(ast.parse(path.read_text(encoding="utf-8")), here):
            first, *rest = module.split(".")
            if [first, *rest[:1]] == _RUNTIME:  # lies in the Bento
                continue
            names.add(first)
            if first == package:
                for end in range(len(rest) + 1):
                    stem = source.joinpath(package, *rest[:end])
                    open_ += [stem.with_suffix(".py"), stem / "__init__.py"]
    return names


def _imports(node: ast.AST, here: list[str]) -> Iterator[str]:
    """Full names of what is imported at run time; of ``from a import b`` both a and a.b, since b may be a module."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = (
                [*here[: len(here) - child.level + 1], *([child.module] if child.module else [])] if child.level else [child.module or ""]
            )
            yield from (".".join([*base, alias.name]) for alias in child.names)
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield from _imports(ast.Module([other], []), here)
        else:
            yield from _imports(child, here)


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _brought(service: Mapping[str, str]) -> set[str]:
    """What the pinned packages require themselves, extras left out."""
    found = set()
    for name in service:
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        found |= {_canonical(re.split(r"[^\w.-]", each, maxsplit=1)[0]) for each in required if "extra ==" not in each}
    return found


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def check(status: Status, message: str) -> Check:
    """The check of the versions, with what was found."""
    return Check(family="readiness", name="versions", status=status, message=message, limit=_LIMIT, why=_WHY)
