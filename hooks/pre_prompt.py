"""Put the platform into the skeleton, before cookiecutter asks anything; it runs this in a temporary copy of the template."""

import sys
from pathlib import Path

sys.path.insert(0, "src")
sys.dont_write_bytecode = True  # else __pycache__ would be part of the skeleton

from modelyard.errors import ModelyardError  # noqa: E402
from modelyard.vendoring import vendor  # noqa: E402

try:
    vendor(Path.cwd(), Path("{{cookiecutter.project_slug}}"))
except ModelyardError as error:
    sys.exit(f"The template is not in order. {error}")
