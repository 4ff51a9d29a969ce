"""The workflow `train`, executed where images are built: one that is too large stops the release before anybody is asked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from workflows.conftest import Scene, _environment, caches, fresh  # noqa: F401 - fixtures
from workflows.yard import APRIL

from modelyard import image
from modelyard.image import Builder

pytestmark = [pytest.mark.images, pytest.mark.slow]


def test_an_image_that_is_too_large_is_not_proposed(fresh: Scene, builder: Builder, base: str, tmp_path: Path) -> None:  # noqa: F811
    """Verdict block with figure and limit, green, no branch but the state; with room for it the same training is proposed."""
    yard = fresh.yard.copy(tmp_path)
    yard.put("params.yaml", "train.iterations", 20)
    yard.put("modelyard.yaml", "serving.image", {"variants": ["cpu"], "base": base, "size_mb": 100})
    yard.commit("A small image")
    env = {image.VARIABLE: builder.name, "BUILDAH_ISOLATION": "chroot"}

    blocked = yard.happen("workflow_dispatch", "train", inputs={"now": APRIL.isoformat()}, env=env)
    branches = set(yard.refs())
    yard.put("modelyard.yaml", "serving.image.size_mb", 2000)
    yard.commit("A larger one")
    passed = yard.happen("workflow_dispatch", "train", inputs={"now": APRIL.isoformat()}, env=env)

    assert (blocked.conclusion, blocked.verdict) == ("success", "block"), blocked.log
    assert blocked.steps["train/train.evaluate.verdict"] == "promote"
    assert re.search(r"The cpu image has \d+ MB, and serving\.image\.size_mb allows 100\.", blocked.summary)
    assert branches == {"main", "modelyard-state"}
    assert (passed.conclusion, passed.steps["train/train.package.verdict"]) == ("success", "packaged"), passed.log
    assert "modelyard/release" in yard.refs()
    (built,) = passed.steps["train/train.package.images"].split()
    assert (builder.megabytes(built) or 0) > 100
    (kept,) = max(yard.artifacts.glob("train-*"), key=lambda folder: int(folder.name.rpartition("-")[2])).glob("reports-train")
    assert json.loads((kept / "package.json").read_text())["images"][0]["reference"] == built
    assert (kept / "sbom-cpu.cdx.json").exists()
