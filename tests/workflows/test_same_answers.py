"""Online, in batch and in scikit-learn a flight gets the same prediction: the released model, 10,000 real flights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from workflows.conftest import Scene

pytestmark = pytest.mark.slow

ROWS = 10_000
# Runs in the project, as its own verbs do: it asks the model in four ways, and writes what each says.
ASKED = """
import json, sys
from datetime import datetime
from pathlib import Path
import numpy as np, pandas as pd, yaml
from starlette.testclient import TestClient
from flights import model, train
from flights.features import features
from modelyard import champion, contracts, dataset, project, serving
from modelyard.score import request, rows
from modelyard.serve import service

folder, count = Path(sys.argv[1]), int(sys.argv[2])
here = project.find()
live = champion.load(here)
frame = dataset.load(here, datetime(2013, 4, 1), datetime(2013, 6, 1)).iloc[:count].reset_index(drop=True)
trained = train.fit(dataset.split(here).train, yaml.safe_load((here.root / "params.yaml").read_text())["train"])
said = {"scikit-learn": trained.predict_proba(pd.DataFrame(features(frame)))[:, 1]}
said["batch"] = rows.of_frame(live, request.columns(live), frame).predictions

examples, predictions = serving.read_examples(live.examples)
(folder / "model.onnx").write_bytes(live.model.read_bytes())
contracts.write(contracts.derive(here, model=live.model, rows=examples, predictions=predictions), folder)
asked = json.loads(frame[list(examples[0])].to_json(orient="records", date_format="iso", date_unit="s"))
with TestClient(service.application(folder, model.load)) as client:
    for name, body in (
        ("rows", lambda part: {"rows": part}),
        ("columns", lambda part: {"columns": {key: [row[key] for row in part] for key in part[0]}}),
    ):
        path = "/predict" if name == "rows" else "/predict_columns"
        found = [client.post(path, json=body(asked[start : start + 1000])) for start in range(0, len(asked), 1000)]
        assert {answer.status_code for answer in found} == {200}, [answer.text[:500] for answer in found if answer.status_code != 200]
        said[name] = [value for answer in found for value in answer.json()["predictions"]]
np.savez(folder / "said.npz", **said)
"""


def test_a_flight_gets_one_prediction_wherever_it_is_asked_for(released: Scene, tmp_path: Path) -> None:
    """The service by rows and by columns and the batch to the last bit; scikit-learn, trained again, within what ONNX rounds."""
    yard = released.yard.copy(tmp_path / "yard")
    assert yard.command("state", "pull").returncode == 0
    assert yard.command("pull", program="dvc").returncode == 0
    shutil.rmtree(yard.root / ".modelyard" / "champion", ignore_errors=True)

    done = yard.command("-c", ASKED, str(tmp_path), str(ROWS), program="python")

    assert done.returncode == 0, done.stderr
    said = np.load(tmp_path / "said.npz")
    assert {name: len(said[name]) for name in said} == dict.fromkeys(["scikit-learn", "batch", "rows", "columns"], ROWS)
    assert json.dumps(said["rows"].tolist()) == json.dumps(said["columns"].tolist()) == json.dumps(said["batch"].tolist())
    assert np.abs(said["scikit-learn"] - said["batch"]).max() < 1e-5
    assert len(np.unique(said["batch"])) > 100  # of 20 small trees
