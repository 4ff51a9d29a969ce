"""`modelyard local` with act on a small project: its workflows really run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard import git, local
from modelyard.errors import WorkflowError

pytestmark = pytest.mark.slow

CHECKOUT = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1"
FILES = {
    "src/a.txt": "first\n",
    ".github/actions/judge/action.yml": """
name: judge
description: Judge, as our actions do.
inputs: {word: {description: Verdict, required: true}}
outputs: {verdict: {description: Verdict, value: "${{ steps.say.outputs.verdict }}"}}
runs:
  using: composite
  steps:
    - id: say
      shell: bash
      env: {WORD: "${{ inputs.word }}"}
      run: |
        echo "verdict=$WORD" >> "$GITHUB_OUTPUT"
        echo "## $WORD" >> "$GITHUB_STEP_SUMMARY"
        (exit 10) || test $? -eq 10
""",
    ".github/workflows/train.yml": """
name: Train
on:
  workflow_dispatch: {inputs: {reason: {type: string, default: asked}}}
  schedule: [{cron: "17 3 * * 1"}]
  repository_dispatch: {types: [new-data]}
  push: {branches: [main], paths: ["src/**"]}
permissions: {}
concurrency: {group: train, cancel-in-progress: false}
jobs:
  train:
    permissions: {contents: write}
    uses: ./.github/workflows/modelyard-train.yml
    with: {reason: "${{ inputs.reason || github.event.schedule || github.event.client_payload.reason || github.event_name }}"}
  after:
    needs: train
    if: needs.train.outputs.verdict == 'promote'
    runs-on: ubuntu-latest
    steps: [{run: "echo now=$MODELYARD_NOW extra=$EXTRA uri=$MLFLOW_TRACKING_URI token=$TOKEN.", env: {TOKEN: "${{ github.token }}"}}]
  never:
    needs: train
    if: needs.train.outputs.verdict == 'keep'
    runs-on: ubuntu-latest
    steps: [{run: "false"}]
""",
    ".github/workflows/modelyard-train.yml": f"""
name: Reusable train
on:
  workflow_call:
    inputs: {{reason: {{type: string, default: none}}, runs-on: {{type: string, default: '["ubuntu-latest"]'}}}}
    outputs: {{verdict: {{value: "${{{{ jobs.evaluate.outputs.verdict }}}}"}}}}
defaults: {{run: {{shell: bash}}}}
jobs:
  evaluate:
    runs-on: ${{{{ fromJSON(inputs.runs-on) }}}}
    outputs: {{verdict: "${{{{ steps.judge.outputs.verdict }}}}", parent: "${{{{ steps.parent.outputs.sha }}}}"}}
    steps:
      - uses: {CHECKOUT}
        with: {{fetch-depth: 2, persist-credentials: false}}
      - run: echo "reason=$REASON text=$(cat src/a.txt)"
        env: {{REASON: "${{{{ inputs.reason }}}}"}}
      - id: parent
        run: echo "sha=$(git rev-parse HEAD^)" >> "$GITHUB_OUTPUT"
      - id: judge
        uses: ./.github/actions/judge
        with: {{word: promote}}
      - uses: actions/upload-artifact@043fb46d1a93c77aae656e7c1c64a875d1fc6a0a
        if: always()
        with: {{name: text, path: src/}}
  promote:
    needs: evaluate
    if: needs.evaluate.outputs.verdict == 'promote'
    uses: ./.github/workflows/modelyard-promote.yml
    with: {{ref: "${{{{ needs.evaluate.outputs.parent }}}}"}}
""",
    ".github/workflows/modelyard-promote.yml": f"""
on: {{workflow_call: {{inputs: {{ref: {{type: string, required: true}}}}}}}}
jobs:
  live:
    runs-on: ubuntu-latest
    steps:
      - uses: {CHECKOUT}
        with: {{ref: "${{{{ inputs.ref }}}}"}}
      - uses: actions/download-artifact@3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c
        with: {{name: text, path: got}}
      - run: |
          echo "parent=$(cat src/a.txt) artifact=$(cat got/a.txt)"
          git -c user.name=job -c user.email=job@example.com commit --quiet --allow-empty -m job
          git push --quiet --force origin HEAD:refs/heads/from-a-job
      - id: judge
        uses: ./.github/actions/judge
        with: {{word: live}}
""",
    ".github/workflows/fail.yml": """
on: workflow_dispatch
jobs:
  bad:
    runs-on: ubuntu-latest
    steps: [{name: Break, run: "seq 1 2000; exit 3"}, {if: always(), run: "echo always"}]
  next:
    needs: bad
    runs-on: ubuntu-latest
    steps: [{run: "echo no"}]
""",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project with a bare origin beside it, two commits deep."""
    root = tmp_path / "project"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git.run("init", "--quiet", "--bare", str(tmp_path / "origin.git"), cwd=tmp_path)
    git.run("init", "--quiet", cwd=root)
    git.run("remote", "add", "origin", str(tmp_path / "origin.git"), cwd=root)
    commit(root, "src/a.txt", "first\n")
    commit(root, "src/a.txt", "second\n")
    return root


def commit(root: Path, name: str, text: str) -> None:
    (root / name).write_text(text)
    git.run("add", "--all", cwd=root)
    git.run("commit", "--quiet", "-m", text.strip(), cwd=root)
    git.run("push", "--quiet", "origin", "main", cwd=root)


def test_a_push_runs_through_nested_workflows(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkout, outputs, conditions, artifacts, another ref and a push back work two workflows deep; uncommitted changes are not run."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://real")
    monkeypatch.setenv("GITHUB_TOKEN", "real")
    (project / "src/a.txt").write_text("uncommitted\n")
    (run,) = local.run(project, "push", env={"EXTRA": "yes"}, artifacts=tmp_path / "artifacts")

    assert run.conclusion == "success", run.log
    assert run.jobs == {
        "train": "success", "train/evaluate": "success", "train/promote": "success", "train/promote/live": "success",
        "after": "success", "never": "skipped",
    }  # fmt: skip
    assert run.steps["train/evaluate.judge.verdict"] == "promote"
    assert run.verdict == run.outputs["verdict"] == "live"
    assert run.summary == "## promote\n## live\n"
    assert "reason=push text=second" in run.log
    assert "parent=first artifact=second" in run.log
    assert "now= extra=yes uri= token=." in run.log
    assert [path.read_text() for path in tmp_path.glob("artifacts/train-*/text/a.txt")] == ["second\n"]
    assert git.run("log", "-1", "--format=%s", "from-a-job", cwd=tmp_path / "origin.git") == "job"


def test_a_push_outside_the_paths_starts_nothing(project: Path) -> None:
    """The paths filter holds; a workflow that was asked for by name is told as skipped."""
    commit(project, "readme.txt", "text\n")

    assert local.run(project, "push") == []
    assert [run.conclusion for run in local.run(project, "push", "train")] == ["skipped"]


@pytest.mark.parametrize(
    ("event", "options", "reason"),
    [
        ("dispatch", {"inputs": {"reason": "drift"}}, "drift"),
        ("schedule", {}, "17 3 * * 1"),
        ("repository_dispatch", {"payload": {"event_type": "new-data", "client_payload": {"reason": "data"}}}, "data"),
    ],
)
def test_each_event_carries_its_payload(project: Path, event: str, options: dict[str, dict[str, object]], reason: str) -> None:
    """Inputs, the schedule and the client payload reach a reusable workflow."""
    (run,) = local.run(project, event, "train", **options)  # type: ignore[arg-type]

    assert f"reason={reason} text=second" in run.log


def test_a_failure_names_its_step_and_keeps_its_output(project: Path) -> None:
    """The failing step, all of its output and what ran after it are told; later jobs are skipped."""
    steps: list[local.Step] = []
    (run,) = local.run(project, "dispatch", "fail", watch=steps.append)

    assert run.conclusion == "failure"
    assert run.jobs == {"bad": "failure", "next": "skipped"}
    assert run.problems == ("bad / Break",)
    assert [step.conclusion for step in steps] == ["started", "failure", "started", "success"]
    assert steps[1].tail[-1] == "2000"


def test_the_command_ends_with_1_and_writes_the_runs(project: Path, tmp_path: Path) -> None:
    """--json lists the runs with their logical date, also where one failed."""
    call = [sys.executable, "-c", "from modelyard.cli import main; main()", "local", "dispatch", "fail", "--now", "2013-04-01"]
    done = subprocess.run([*call, "--json", str(tmp_path / "runs.json")], cwd=project, capture_output=True, text=True, check=False)
    (run,) = json.loads((tmp_path / "runs.json").read_text())

    assert done.returncode == 1, done.stderr
    assert "bad / Break" in done.stderr
    assert (run["date"], run["workflow"], run["conclusion"]) == ("2013-04-01T00:00:00+00:00", "fail", "failure")


def test_jobs_share_an_environment_that_follows_lock_and_toolkit(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment stays while lock and toolkit stay, and is another one after an edit of either."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    step = "{run: 'echo \"path=$UV_PROJECT_ENVIRONMENT\"'}"
    job = f"{{runs-on: ubuntu-latest, steps: [{{uses: {CHECKOUT}}}, {step}]}}"
    (project / "pyproject.toml").write_text("[project]\n")
    (project / "vendor/modelyard").mkdir(parents=True)
    commit(project, "uv.lock", "locked\n")
    commit(project, ".github/workflows/env.yml", f"on: workflow_dispatch\njobs: {{one: {job}, two: {job}}}\n")

    def paths() -> set[str]:
        (run,) = local.run(project, "dispatch", "env")
        return {line.partition("path=")[2] for line in run.log.splitlines() if "path=" in line}

    (first,) = paths()
    commit(project, "src/a.txt", "third\n")
    (same,) = paths()
    commit(project, "vendor/modelyard/code.py", "edited\n")
    (edited,) = paths()

    assert first == same != edited
    assert Path(first).is_relative_to(tmp_path / "cache")
    assert (Path(edited).parent / "project/vendor/modelyard/code.py").read_text() == "edited\n"


def test_what_act_cannot_read_is_told(project: Path) -> None:
    """A workflow that act rejects fails with act's words."""
    commit(project, ".github/workflows/odd.yml", "on: workflow_dispatch\nconcurrency: {group: x, queue: max}\njobs: {}\n")
    (run,) = local.run(project, "dispatch", "odd")

    assert run.conclusion == "failure"
    assert "queue" in " ".join(run.problems)


def test_nothing_runs_where_one_workflow_cannot(project: Path) -> None:
    """All workflows of an event are checked before the first is run."""
    commit(project, ".github/workflows/z.yml", "on: push\njobs: {x: {runs-on: ubuntu-latest, steps: [{uses: docker/login-action@v3}]}}\n")
    steps: list[local.Step] = []
    with pytest.raises(WorkflowError, match="docker/login-action"):
        local.run(project, "push", watch=steps.append)

    assert steps == []
