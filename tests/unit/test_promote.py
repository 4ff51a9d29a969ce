"""``promote``: what a merged release must prove before it is live."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from unit import mini_project
from unit.conftest import set_champion

from modelyard import git, promote, registry, release, serving, state, store
from modelyard.errors import PolicyError, UsageError
from modelyard.outcome import Outcome
from modelyard.policy import Serving
from modelyard.project import EXAMPLES, RELEASE, Project


def champion(project: Project) -> str:
    alias = registry.get_alias(registry.connect(project.root / state.FOLDER), "mini", "champion")
    return alias.version if alias else ""


def rewrite(project: Project, change: Callable[[dict[str, Any]], None]) -> None:
    """Merge another record into main."""
    path = project.root / RELEASE
    record = yaml.safe_load(path.read_text())
    change(record)
    path.write_text(yaml.safe_dump(record))
    mini_project.commit(project.root, "Another record")


def refusal(project: Project) -> Outcome:
    """Promote, and check that a refusal is a negative verdict that leaves the champion."""
    before = champion(project)

    outcome = promote.run(project)

    assert (outcome.verdict, outcome.exit_code, champion(project)) == ("refused", 10, before)
    assert outcome.summary.startswith(f"**promote: refused** ({outcome.outputs['check']})")
    assert outcome.problems == (f"refused ({outcome.outputs['check']}): {outcome.outputs['reason']}",)
    return outcome


def test_a_release_is_verified_without_changing_anything(merged: Project) -> None:
    """A dry run proves the whole record, as an auditor in a clone does; no alias moves."""
    outcome = promote.run(merged, dry_run=True)

    assert (outcome.exit_code, outcome.outputs["version"], champion(merged)) == (0, "1", "")
    assert outcome.summary.startswith("**promote: verified** mini version 1")


def test_what_is_live_already_is_left_alone(succeeded: Project) -> None:
    """Running it again builds nothing and moves nothing on the state branch."""
    before = git.run("ls-remote", "origin", state.BRANCH, cwd=succeeded.root)

    outcome = promote.run(succeeded)

    assert (outcome.verdict, outcome.exit_code, outcome.outputs["version"]) == ("live", 0, "2")
    assert "live already" in outcome.summary
    assert git.run("ls-remote", "origin", state.BRANCH, cwd=succeeded.root) == before
    assert not (succeeded.root / ".modelyard/bentoml").exists()


def test_nothing_released_is_no_failure(tmp_path: Path) -> None:
    """The push that starts a project has no record yet."""
    outcome = promote.run(mini_project.yard(tmp_path))

    assert (outcome.verdict, outcome.exit_code) == ("nothing released", 0)


@pytest.mark.parametrize(
    ("change", "check", "reason"),
    [
        (lambda r: r["model"].update(sha256="0" * 64), "model file", "names the model 000000000000, but DVC delivers"),
        (lambda r: r["model"].update(version="9"), "registry", "mini version 9 is not in the registry"),
        (lambda r: r["model"].update(name="other"), "registry", "other version 2 is not in the registry"),
        (lambda r: r["model"].update(version="1"), "registry", "in the registry is the model"),
        (lambda r: r["model"].update(run_id="0" * 32), "evaluation", "has no evaluation"),
        (lambda r: r["evaluation"].update(sha256="0" * 64), "evaluation", "is not the one that the record names"),
        (lambda r: r["code"].update(dvc_lock="0" * 64), "lock", "is not the one that the record names. Main moved"),
        (lambda r: r["code"].update(commit="0" * 40), "model file", "0000"),
    ],
)
def test_a_record_that_cannot_be_proved_is_refused(
    succeeded: Project, change: Callable[[dict[str, Any]], None], check: str, reason: str
) -> None:
    """Each wrong line of a merged record is refused by the check that it fails."""
    rewrite(succeeded, change)

    outcome = refusal(succeeded)

    assert outcome.outputs["check"] == check
    assert reason in outcome.outputs["reason"]


def test_another_runs_evaluation_is_refused(succeeded: Project) -> None:
    """The evaluation exists and its hash is right, but it judged the first model."""
    first = release.read(git.show(succeeded.root, "HEAD~2", RELEASE.as_posix()) or b"")
    rewrite(
        succeeded,
        lambda r: (r["model"].update(run_id=first.model.run_id), r["evaluation"].update(sha256=first.evaluation.sha256)),
    )

    assert "judged another model" in refusal(succeeded).outputs["reason"]


def test_code_that_moved_under_an_open_release_is_refused(merged: Project) -> None:
    """The merge was clean, but the model was trained from other code: the file is named, and what to do."""
    script = merged.source / merged.policy.package / "model.py"
    script.write_text(script.read_text() + "\n# newer\n")
    mini_project.commit(merged.root, "Newer features")

    outcome = refusal(merged)

    assert outcome.outputs["check"] == "lock"
    assert re.search(r"Main moved since \w+, where .*: src/\w+/model\.py changed\. Run train", outcome.outputs["reason"])


def test_other_changes_on_main_do_not_matter(merged: Project) -> None:
    """Neither documentation nor what was live once is held against newer files."""
    (merged.root / "README.md").write_text("docs")
    mini_project.commit(merged.root, "Docs")
    assert promote.run(merged, dry_run=True).exit_code == 0

    script = merged.source / merged.policy.package / "model.py"
    script.write_text(script.read_text() + "\n# newer\n")
    mini_project.commit(merged.root, "Newer features")
    set_champion(merged, "1")
    assert promote.run(merged, dry_run=True).exit_code == 0


def test_a_lost_remote_is_refused_with_its_reason(merged: Project) -> None:
    """The data remote does not deliver the model: the refusal names the file."""
    import shutil

    for folder in (".dvc/cache", ".modelyard/state/dvc", ".modelyard/champion"):
        shutil.rmtree(merged.root / folder, ignore_errors=True)

    outcome = refusal(merged)

    assert outcome.outputs["check"] == "model file"
    assert "does not deliver models/model.onnx" in outcome.outputs["reason"]


@pytest.mark.parametrize("value", [0.5, float("nan")])
def test_predictions_that_differ_are_refused(merged: Project, monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    """Another version of a library that predicts otherwise does not go live; what is no number is no agreement."""
    real = store.read

    def altered(root: Path, path: Path, rev: str) -> bytes:
        data = real(root, path, rev)
        if path != EXAMPLES:
            return data
        content = json.loads(data)
        content["predictions"][-1] += value
        return json.dumps(content).encode()

    monkeypatch.setattr(store, "read", altered)

    assert refusal(merged).outputs["check"] == "predictions"


def test_a_model_whose_code_fails_is_refused(merged: Project) -> None:
    """The code of the recorded commit raises on the recorded rows, in this process or in one of its own."""
    folder = promote.verify(merged, git.head(merged.root)).champion.folder
    for broken in (b"{}", b'{"rows": [{"y": 1}], "predictions": [0.5]}'):
        (folder / EXAMPLES).write_bytes(broken)
        assert refusal(merged).outputs["check"] == "predictions"
    script = merged.source / merged.policy.package / "model.py"
    script.write_text(script.read_text() + "\n# newer\n")
    set_champion(merged, "1")
    mini_project.commit(merged.root, "Newer code")
    folder = promote.verify(merged, git.head(merged.root)).champion.folder  # each commit has its own
    (folder / EXAMPLES).write_bytes(broken)
    outcome = refusal(merged)

    assert outcome.outputs["check"] == "predictions"
    assert "KeyError: 'x'" in outcome.outputs["reason"]


def test_a_service_that_is_missing_is_refused(merged: Project) -> None:
    """The commit that the record names holds no service: nothing can be built, and the alias stays."""
    verified = promote.verify(merged, git.head(merged.root)).champion
    (verified.folder / "src" / merged.policy.package / "service.py").unlink()

    outcome = refusal(merged)

    assert (outcome.outputs["check"], "service.py is missing" in outcome.outputs["reason"]) == ("smoke test", True)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["sh", "-c", "echo no quota >&2; exit 3"], "sh -c .* ended with 3: no quota"),
        (["no-such-program"], "no-such-program .* cannot be run: No such file"),
    ],
)
def test_a_deployment_that_fails_moves_no_alias(merged: Project, command: list[str], reason: str) -> None:
    """The command's own words are in the refusal."""
    project = dataclasses.replace(merged, policy=merged.policy.model_copy(update={"serving": Serving(deploy=command)}))
    record = release.read((merged.root / RELEASE).read_bytes())

    with pytest.raises(promote.RefusedError) as caught:
        promote.make_live(project, record, serving.Bento("mini:1", merged.root))

    assert caught.value.check == "deployment"
    assert re.search(reason, caught.value.reason)
    assert champion(merged) == ""


def test_a_deployment_is_told_what_to_deploy_and_the_alias_moves_last(merged: Project) -> None:
    """The command gets Bento, tag, version and images; then the version is marked as live, with its images, and becomes the champion."""
    command = ["sh", "-c", "echo $MODELYARD_BENTO_TAG $MODELYARD_MODEL_VERSION $MODELYARD_BENTO $MODELYARD_IMAGE_CPU > deployed"]
    project = dataclasses.replace(merged, policy=merged.policy.model_copy(update={"serving": Serving(deploy=command)}))
    record = release.read((merged.root / RELEASE).read_bytes())

    image = f"example.org/mini@sha256:{'1' * 64}"
    promote.make_live(project, record, serving.Bento("mini:1", merged.root), images={"cpu": image})

    assert (merged.root / "deployed").read_text() == f"mini:1 1 {merged.root} {image}\n"
    tagged = registry.get_version(registry.connect(merged.root / state.FOLDER), "mini", "1")
    assert tagged is not None
    assert tagged.tags["modelyard.image.cpu"] == image
    assert champion(merged) == "1"
    assert promote.run(merged).summary.startswith("**promote: live** mini version 1 (it was live already")


_KILLED = """
from modelyard import project, promote
from modelyard.policy import Serving
found = project.find()
deploy = Serving(deploy=["bash", "-c", "kill -9 $PPID"])
promote.run(project.Project(found.root, found.policy.model_copy(update={"serving": deploy})))
"""


def test_killed_between_deployment_and_alias_it_is_run_again(merged: Project) -> None:
    """The alias moves last: a promotion that is killed before has changed nothing that is recorded, and the next one completes it."""
    done = subprocess.run([sys.executable, "-c", _KILLED], cwd=merged.root, capture_output=True, check=False)

    assert (done.returncode, champion(merged)) == (-9, "")
    assert promote.run(merged).verdict == "live"
    assert champion(merged) == "1"


def test_what_is_no_record_or_no_commit_is_a_usage_error(merged: Project) -> None:
    """A broken file on main and a revision that does not exist end with exit code 2, not with a verdict."""
    with pytest.raises(UsageError, match="no commit 'nonsense'"):
        promote.run(merged, rev="nonsense")
    (merged.root / RELEASE).write_text("<<<<<<< HEAD\n")
    mini_project.commit(merged.root, "Break it")
    with pytest.raises(PolicyError, match=r"releases/production\.yaml"):
        promote.run(merged)
