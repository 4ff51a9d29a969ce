"""What a request to the champion holds: by the schema of the commit that it was trained with, not by today's."""

from __future__ import annotations

import os
import subprocess
import sys

from pydantic import TypeAdapter

from modelyard.champion import Champion
from modelyard.errors import ProjectError
from modelyard.serve.contract import Column

_COLUMNS = TypeAdapter(list[Column])
# In a process of its own: this one may hold another version of the same package.
_DERIVE = """
import sys
from pathlib import Path
from modelyard import contracts, serving, validate
from modelyard.errors import ModelyardError
from modelyard.policy import Policy
from modelyard.project import EXAMPLES, Project
from modelyard.score import request
folder, policy = sys.argv[1:]
project = Project(Path(folder), Policy.model_validate_json(policy))
try:
    found = contracts.columns(validate.schema(project).model, serving.read_examples(project.root / EXAMPLES)[0])
except ModelyardError as error:
    sys.exit(error.what)
sys.stdout.write(request.dumped(found))
"""


def columns(champion: Champion) -> tuple[Column, ...]:
    """The columns of a request, as the service of this release promises them.

    Raises
    ------
    ProjectError
        Its schema cannot be read.
    """
    done = subprocess.run(
        [sys.executable, "-c", _DERIVE, str(champion.folder), champion.project.policy.model_dump_json()],
        env={**os.environ, "PYTHONPATH": str(champion.folder / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ProjectError(f"What the champion's own code ({champion.release.code.commit[:12]}) asks of a row is not known: {last}")
    return tuple(_COLUMNS.validate_json(done.stdout))


def dumped(found: list[Column]) -> str:
    """As text between the two processes."""
    return _COLUMNS.dump_json(found).decode()
