"""The committed JSON Schemas: fresh, and what the verbs write fits them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import BaseModel
from unit import mini_project

from modelyard import jsonfile, profile, release, schemas, validate
from modelyard.clock import parse
from modelyard.evaluate import challenge, shadowed
from modelyard.evaluate.pairs import Answered, Pairs
from modelyard.evaluate.report import Evaluation
from modelyard.loadtest.generator import Offered, Sample
from modelyard.loadtest.report import LoadTest, judge, verdict
from modelyard.monitor import live, watch
from modelyard.policy import Evaluate, Level
from modelyard.score.manifest import Input, Manifest, Model

NAMES = ["evaluate", "loadtest", "monitor", "policy", "release", "score", "shadow", "validate"]


def test_the_committed_schemas_are_fresh() -> None:
    """`python -m modelyard.schemas` would change nothing."""
    assert schemas.generate() == {path.name: path.read_text() for path in schemas.FOLDER.glob("*.schema.json")}


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """One of each, as a project has them."""
    root = tmp_path_factory.mktemp("project")
    project = mini_project.make(root, evaluate={"criteria": {"roc_auc": {"min": 0.6}}})
    validate.run(project)
    profile.run(project)
    champion = mini_project.released(project, noise=1.0)
    jsonfile.write(project.report("evaluate.json"), challenge.judge(project, champion))
    watch.write(project.report("monitor.json"), live.look(project, champion, parse("2013-04-01")))
    files = {"policy": root / "modelyard.yaml"}
    files |= {name: root / f"reports/{name}.json" for name in ("evaluate", "monitor", "validate")}
    day = np.repeat(np.arange(10), 4)
    score, label = np.linspace(0.1, 0.9, 40), np.tile([0.0, 1.0], 20)
    known = Answered("1", "1" * 64)
    rows = Pairs(day, score, score, label, np.ones(1), np.ones(1), known, known)
    answers = [Sample(0.1 * n, 0.1 * n, 0.1 * n + 0.01, "") for n in range(20)]
    tested = judge(Offered(10, answers, 0.9), Level())
    said, reasons = verdict([tested], Level())
    found: dict[str, BaseModel] = {
        "shadow": shadowed.compare("binary", Evaluate(metric="roc_auc"), rows),
        "loadtest": LoadTest(
            verdict=said, reasons=reasons, level=Level(), service="flights:1", model=None, rounds=[tested], knee=None, memory=None
        ),
        "score": Manifest(
            verdict="complete",
            batch="2013-04",
            source="load()",
            model=Model(name="flights", version="1", sha256="1" * 64, commit="2" * 40),
            rows=1,
            refused=0,
            inputs=[Input(name="2013-04", sha256="3" * 64, rows=1)],
            outputs=[],
        ),
    }
    documents = {name: json.loads(path.read_text()) for name, path in files.items()}
    documents |= {name: each.model_dump(mode="json") for name, each in found.items()}
    return documents | {"release": yaml.safe_load(release.write(champion.release))}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_fits_its_schema(name: str, documents: dict[str, object]) -> None:
    """The schema accepts the real document, and refuses it without its keys."""
    content = json.loads((schemas.FOLDER / f"{name}.schema.json").read_text())
    Draft202012Validator.check_schema(content)
    validator = Draft202012Validator(content)

    assert list(validator.iter_errors(documents[name])) == []
    assert not validator.is_valid({})


def test_a_report_of_another_shape_is_refused(tmp_path: Path) -> None:
    """A file of another version is told by its first problem, with what to run."""
    from modelyard.errors import ProjectError

    path = tmp_path / "evaluate.json"
    path.write_text('{"version": 9}')

    with pytest.raises(ProjectError, match="version"):
        jsonfile.read(path, Evaluation, "Run `modelyard train`.")
