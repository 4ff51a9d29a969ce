"""The project whose model is served: generated from this repository, trained on half a year of flights, packaged.

The same fitted pipeline is kept twice: as the Bento that `modelyard package` built, and as an MLflow model.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

NOW = "2013-07-01"
CACHE = click.option(
    "--cache", type=click.Path(path_type=Path), default=Path(".bench"), show_default=True, help="Environments and the model."
)

_PEERS = """
import json, sys
from pathlib import Path
import mlflow, pandas as pd, yaml
from modelyard import dataset, project
from flights import train
from flights.features import features
here, into = project.find(), Path(sys.argv[1])
params = yaml.safe_load((here.root / "params.yaml").read_text())["train"]
pipeline = train.fit(dataset.split(here).train, params)
content = json.loads((here.root / "models/examples.json").read_text())
rows = pd.DataFrame(content["rows"])
rows["scheduled"] = pd.to_datetime(rows["scheduled"])
inputs = pd.DataFrame(features(rows))
predicted = pipeline.predict_proba(inputs)[:, 1]
assert abs(predicted - content["predictions"]).max() < 1e-5, "not the model that was packaged"
signature = mlflow.models.infer_signature(inputs, pipeline.predict_proba(inputs))
how = {"pyfunc_predict_fn": "predict_proba", "serialization_format": "cloudpickle"}
mlflow.sklearn.save_model(pipeline, into / "sklearn", signature=signature, **how)
(into / "inputs.json").write_text(inputs.to_json(orient="records"))
"""


@dataclass(frozen=True)
class Yard:
    """What the servers serve, and what they are asked."""

    root: Path  # the project
    bento: Path
    peers: Path  # the MLflow model, and inputs for it

    @property
    def examples(self) -> Path:
        """Rows, with the predictions that must come."""
        return self.root / "models/examples.json"

    def rows(self, count: int) -> tuple[list[dict[str, Any]], list[float]]:
        """So many rows of the examples, in turn, and their predictions."""
        content = json.loads(self.examples.read_text())
        rows, predictions = ([each[i % len(each)] for i in range(count)] for each in (content["rows"], content["predictions"]))
        return rows, predictions

    def inputs(self, count: int) -> list[dict[str, Any]]:
        """The same rows as the model's inputs, which MLflow's server wants: it knows no features.py."""
        held = json.loads((self.peers / "inputs.json").read_text())
        return [held[i % len(held)] for i in range(count)]


def make(cache: Path) -> Yard:
    """Generate, train and package, where that was not done yet."""
    from modelyard.demo import stage

    cache.mkdir(parents=True, exist_ok=True)
    (cache / ".gitignore").write_text("*\n")
    folder = cache.resolve() / "yard"
    root = folder / "flights"
    if not (root / "reports/package.json").exists():
        os.environ["MODELYARD_NO_LOCK"] = "1"
        built = stage.build(folder, "binary").root if not root.exists() else root
        env = {**os.environ, "MODELYARD_NOW": NOW, "MODELYARD_BUILDER": "none", "PYTHONPATH": "src"}
        for command in (["ingest"], ["train"], ["package"]):
            subprocess.run([sys.executable, "-c", "from modelyard.cli import main; main()", *command], cwd=built, env=env, check=True)
    peers = folder / "peers"
    if not (peers / "inputs.json").exists():
        peers.mkdir(exist_ok=True)
        env = {**os.environ, "PYTHONPATH": str(root / "src")}
        subprocess.run([sys.executable, "-c", _PEERS, str(peers)], cwd=root, env=env, check=True)
    name, _, version = json.loads((root / "reports/package.json").read_text())["bento"].partition(":")
    return Yard(root, root / ".modelyard/bentoml/bentos" / name / version, peers)


@click.command(help="Make the project, its model and its Bento.")
@CACHE
def main(cache: Path) -> None:
    click.echo(make(cache))


if __name__ == "__main__":
    main()
