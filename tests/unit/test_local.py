"""`modelyard local`, the parts that need no act: filters, payloads, environment, refusals, the origin, act's log."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from modelyard import git, local
from modelyard.errors import UsageError, WorkflowError
from modelyard.local import act, events, filters, origin, workflows
from modelyard.local.act import Record

CHECKOUT = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1"
Repository = Callable[[Mapping[str, str]], Path]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with these files, committed."""

    def make(files: Mapping[str, str]) -> Path:
        root = tmp_path / "project"
        if not root.exists():
            root.mkdir()
            git.run("init", "--quiet", cwd=root)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        git.run("add", "--all", cwd=root)
        git.run("commit", "--quiet", "--allow-empty", "-m", "files", cwd=root)
        return root

    return make


def tree(root: Path) -> workflows.Tree:
    return workflows.Tree(root, git.head(root))


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*", "main", "a/b"),
        ("**", "a/b", None),
        ("feature/*", "feature/x", "feature/x/y"),
        ("feature/**", "feature/x/y", "features"),
        ("releases/v[12].[0-9]+", "releases/v2.10", "releases/v3.1"),
        ("*.jsx?", "page.js", "page.ts"),
        ("docs/**/*.md", "docs/a.md", "docs/a.txt"),
        ("**/docs/**", "x/docs/a", "xdocs/a"),
        ("**.py", "src/a.py", "src/a.pyc"),
        ("v1.0", "v1.0", "v1x0"),
        (r"a\*", "a*", "ab"),
    ],
)
def test_patterns_mean_what_github_documents(pattern: str, yes: str, no: str | None) -> None:
    """Filter patterns follow GitHub's cheat sheet."""
    assert filters.pattern(pattern).fullmatch(yes)
    assert no is None or not filters.pattern(pattern).fullmatch(no)


def test_the_last_matching_pattern_decides() -> None:
    """`!` takes out, and a later pattern puts back in."""
    patterns = ["src/**", "!src/docs/**", "src/docs/conf.py"]

    assert filters.included(patterns, "src/a.py")
    assert not filters.included(patterns, "src/docs/a.md")
    assert filters.included(patterns, "src/docs/conf.py")
    assert not filters.included(["!src/**"], "other")


@pytest.mark.parametrize(
    ("trigger", "ref", "paths", "starts"),
    [
        ({}, "refs/heads/x", ["a"], True),
        ({"branches": ["main"]}, "refs/heads/main", ["a"], True),
        ({"branches": "main"}, "refs/heads/x", ["a"], False),
        ({"branches-ignore": ["x"]}, "refs/heads/x", ["a"], False),
        ({"tags": ["v*"]}, "refs/heads/main", ["a"], False),
        ({"branches": ["main"]}, "refs/tags/v1", [], False),
        ({"tags": ["v*"], "paths": ["src/**"]}, "refs/tags/v1", [], True),
        ({"paths": ["src/**"]}, "refs/heads/main", ["src/a", "b"], True),
        ({"paths": ["src/**"]}, "refs/heads/main", ["b"], False),
        ({"branches": ["main"], "paths": ["src/**"]}, "refs/heads/x", ["src/a"], False),
        ({"paths-ignore": ["docs/**"]}, "refs/heads/main", ["docs/a"], False),
        ({"paths-ignore": ["docs/**"]}, "refs/heads/main", ["docs/a", "b"], True),
    ],
)
def test_a_push_starts_what_its_filters_let_in(trigger: dict[str, Any], ref: str, paths: list[str], starts: bool) -> None:
    """Branches, tags and paths are filtered as GitHub filters them; a refusal says why."""
    assert (filters.refusal("push", trigger, ref=ref, paths=paths) == "") is starts


def test_pull_requests_and_dispatches_look_at_their_type() -> None:
    """A closed pull request starts only what asks for it; a dispatch only what listens to its type."""
    main = "refs/heads/main"

    assert filters.refusal("pull_request", {}, ref=main, paths=["a"], action="synchronize") == ""
    assert "closed" in filters.refusal("pull_request", {}, ref=main, paths=["a"], action="closed")
    assert filters.refusal("repository_dispatch", {"types": ["new-data"]}, ref=main, action="drift")


def test_workflows_are_chosen_by_event_and_name(repository: Repository) -> None:
    """`on` may be a word, a list or a mapping; a typo names the nearest workflow; reusable ones never start by themselves."""
    root = repository({
        ".github/workflows/a.yml": "on: push\njobs: {}",
        ".github/workflows/train.yaml": "on: [push, workflow_dispatch]\njobs: {}",
        ".github/workflows/inner.yml": "on: {workflow_call: {}}\njobs: {}",
    })  # fmt: skip
    found = tree(root).workflows()

    assert [w.stem for w in workflows.choose(found, "push", None)] == ["a", "train"]
    assert [w.stem for w in workflows.choose(found, "workflow_dispatch", "train.yaml")] == ["train"]
    with pytest.raises(UsageError, match="'train'"):
        workflows.choose(found, "push", "trian")
    with pytest.raises(UsageError, match="does not run on push"):
        workflows.choose(found, "push", "inner")
    with pytest.raises(UsageError, match="push, workflow_dispatch"):
        workflows.choose(found, "schedule", None)
    with pytest.raises(UsageError, match="not committed"):
        workflows.choose([], "push", None)


def test_yaml_is_read_as_github_reads_it(repository: Repository) -> None:
    """`on`, `off` and `yes` are words, `true` is not."""
    inputs = "{a: {default: yes}, t: {default: trueish}, b: {default: 2013-04-01, required: true}}"
    text = f"on: {{workflow_dispatch: {{inputs: {inputs}}}}}\njobs: {{off: {{}}}}"
    (found,) = tree(repository({".github/workflows/a.yml": text})).workflows()

    assert list(found.jobs) == ["off"]
    assert found.triggers["workflow_dispatch"]["inputs"] == {
        "a": {"default": "yes"},
        "t": {"default": "trueish"},
        "b": {"default": "2013-04-01", "required": True},
    }


def caller(uses: str) -> dict[str, str]:
    """A workflow that reaches `uses` through a reusable workflow and a local action."""
    return {
        ".github/workflows/a.yml": "on: push\njobs: {x: {uses: ./.github/workflows/b.yml}}",
        ".github/workflows/b.yml": "on: workflow_call\njobs: {y: {runs-on: [gpu], steps: [{uses: ./.github/actions/c}]}}",
        ".github/actions/c/action.yml": f"runs: {{using: composite, steps: [{{uses: '{uses}'}}]}}",
    }


def test_what_a_workflow_needs_is_found_through_its_calls(repository: Repository) -> None:
    """Actions and runner labels are collected from reusable workflows and composite actions too."""
    found = tree(repository(caller(CHECKOUT)))
    needs = workflows.needs(found, found.workflow(".github/workflows/a.yml"))

    assert needs.actions == {CHECKOUT: workflows.STANDINS / "checkout"}
    assert {"gpu", "ubuntu-latest"} <= needs.labels


@pytest.mark.parametrize("uses", ["docker/login-action@v3", "$/actions/train", "docker://alpine:3", "actions/checkout/nothing@v7"])
def test_an_action_without_stand_in_is_refused(repository: Repository, uses: str) -> None:
    """What is not known is not run, and the message names where it is used."""
    found = tree(repository(caller(uses)))

    with pytest.raises(WorkflowError, match=r"actions/c/action\.yml uses"):
        workflows.needs(found, found.workflow(".github/workflows/a.yml"))


def test_workflows_in_a_circle_are_refused(repository: Repository) -> None:
    """A workflow that calls itself is an error, not an endless walk."""
    found = tree(repository({".github/workflows/a.yml": "on: [push, workflow_call]\njobs: {x: {uses: ./.github/workflows/a.yml}}"}))

    with pytest.raises(WorkflowError, match="circle"):
        workflows.needs(found, found.workflow(".github/workflows/a.yml"))


def test_every_stand_in_is_an_action() -> None:
    """Each name in the table has its folder, and no folder is left over."""
    assert {path.parent.name for path in workflows.STANDINS.glob("*/action.yml")} == set(workflows.ACTIONS.values())


def test_jobs_see_an_allow_list_of_the_environment() -> None:
    """No token and no tracking server reach a job; what the user gives does."""
    host = {"PATH": "/bin", "MLFLOW_TRACKING_URI": "http://real", "AWS_SECRET_ACCESS_KEY": "s", "GITHUB_TOKEN": "t", "UV_PYTHON": "3.11"}
    seen = act.environment(
        host | {"VIRTUAL_ENV": "/v", "PYTHONDONTWRITEBYTECODE": "1"}, {"MLFLOW_TRACKING_URI": "http://mine"}, {"OWN": "1"}
    )

    assert seen["MLFLOW_TRACKING_URI"] == "http://mine"
    assert seen["UV_PYTHON"] == "3.11"
    assert seen["OWN"] == "1"
    assert seen["GITHUB_API_URL"] == "https://github.invalid/api/v3"
    assert not {"AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"} & set(seen)


WORKFLOW = workflows.Workflow("w", ".github/workflows/w.yml", {
    "on": {
        "workflow_dispatch": {"inputs": {"why": {"default": "asked"}, "force": {"type": "boolean"}, "who": {"required": True}}},
        "repository_dispatch": {"types": ["new-data"]},
        "schedule": [{"cron": "17 3 * * 1"}],
    }
})  # fmt: skip


def test_inputs_are_checked_and_filled_in() -> None:
    """Defaults are filled in; unknown, missing and impossible inputs are errors that name the way out."""
    event = events.Event(name="workflow_dispatch", ref="refs/heads/main", commit="c")

    assert events.payload(event, WORKFLOW, {"who": "me"})["inputs"] == {"why": "asked", "force": "false", "who": "me"}
    with pytest.raises(UsageError, match="'force'"):
        events.payload(event, WORKFLOW, {"who": "me", "forec": "true"})
    with pytest.raises(UsageError, match="--input who="):
        events.payload(event, WORKFLOW, {})
    with pytest.raises(UsageError, match="true, false"):
        events.payload(event, WORKFLOW, {"who": "me", "force": "maybe"})


def test_a_dispatch_takes_the_rest_call_or_the_bare_payload(repository: Repository) -> None:
    """`{"event_type": ..., "client_payload": ...}` and the bare payload give a job the same."""
    root = repository({})
    for given in ({"event_type": "new-data", "client_payload": {"rows": 3}}, {"rows": 3}):
        event = events.make(root, "repository_dispatch", rev="HEAD", before=None, default_branch="main", payload=given)
        made = events.payload(event, WORKFLOW, {})

        assert (made["action"], made["client_payload"]) == ("new-data", {"rows": 3})


def test_a_push_knows_what_changed(repository: Repository) -> None:
    """Changed files are those since the first parent, or since the commit given."""
    first = git.head(repository({"a.txt": "1"}))
    repository({"b.txt": "1"})
    root = repository({"c é.txt": "1"})

    def paths(before: str | None) -> tuple[str, ...]:
        return events.make(root, "push", rev="HEAD", before=before, default_branch="main", payload=None).paths

    assert paths(None) == ("c é.txt",)
    assert paths(first) == ("b.txt", "c é.txt")


def test_a_pull_request_is_compared_with_its_base(repository: Repository) -> None:
    """Its files are those since it left the default branch."""
    root = repository({"a.txt": "1"})
    git.run("checkout", "--quiet", "-b", "topic", cwd=root)
    repository({"b.txt": "1"})
    repository({"c.txt": "1"})
    event = events.make(root, "pull_request", rev="HEAD", before=None, default_branch="main", payload=None)

    assert event.paths == ("b.txt", "c.txt")
    assert event.filtered_ref == "refs/heads/main"


def test_a_remote_origin_is_not_touched_unless_allowed(repository: Repository, tmp_path: Path) -> None:
    """Jobs push to a mirror in the project, to a folder that is the origin, or with --push to the real one."""
    root = repository({"a.txt": "1"})
    assert origin.resolve(root, push=False).address == str(root / origin.MIRROR)
    git.run("remote", "add", "origin", "https://github.invalid/a/b", cwd=root)
    assert origin.resolve(root, push=False).address == str(root / origin.MIRROR)
    assert origin.resolve(root, push=True).address == "https://github.invalid/a/b"
    git.run("init", "--quiet", "--bare", str(tmp_path / "bare"), cwd=root)
    git.run("remote", "set-url", "origin", str(tmp_path / "bare"), cwd=root)
    assert origin.resolve(root, push=False).address == str(tmp_path / "bare")


def test_the_mirror_keeps_what_jobs_pushed(repository: Repository) -> None:
    """A branch that jobs moved on is not overwritten; the user is told to pull."""
    root = repository({"a.txt": "1"})
    mirror = Path(origin.resolve(root, push=False).address)
    git.run("push", "--quiet", str(mirror), f"{git.run('commit-tree', '-p', 'HEAD', '-m', 'job', 'HEAD^{tree}', cwd=root)}:main", cwd=root)
    pushed = git.head(mirror, "main")
    repository({"a.txt": "2"})

    assert "git pull" in origin.resolve(root, push=False).sentence
    assert git.head(mirror, "main") == pushed


def test_the_log_tells_steps_outputs_and_results() -> None:
    """Outputs are kept by job and step, failures by name, and a composite action's summary once."""
    record = Record()
    job = {"job": "Train/evaluate   ", "jobID": "evaluate", "stepID": ["judge"], "stage": "Main", "step": "Judge\nmore"}
    for line in (
        {**job, "raw_output": True, "msg": "no luck\n"},
        {**job, "command": "set-output", "name": "verdict", "arg": "keep"},
        {**job, "stepID": ["judge", "say"], "command": "summary", "content": "once"},
        {**job, "command": "summary", "content": "once"},
    ):
        act.read(record, line, {"Train/evaluate": "train/evaluate"}, "w")
    step = act.read(record, {**job, "stepResult": "failure", "executionTime": 2_000_000_000}, {"Train/evaluate": "train/evaluate"}, "w")

    assert record.steps == {"train/evaluate.judge.verdict": "keep"}
    assert record.summary == "once"
    assert step == local.Step("w", "train/evaluate", "Judge", "failure", 2.0, ("no luck",))
    assert record.failed == ["train/evaluate / Judge"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("reports", {"a.json", "sub/b.json"}),
        ("reports/a.json", {"a.json"}),
        ("reports/**/*.json", {"a.json", "sub/b.json"}),
        ("reports\n!reports/sub", {"a.json"}),
        ("reports/a.json\nmodels/m.onnx", {"reports/a.json", "models/m.onnx"}),
    ],
)
def test_artifacts_are_laid_out_as_the_real_action_does(tmp_path: Path, path: str, expected: set[str]) -> None:
    """One path is its own root, several share their least common folder; hidden files stay out."""
    for name in ("reports/a.json", "reports/sub/b.json", "reports/.hidden", "models/m.onnx"):
        file = tmp_path / "work" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    env = {
        "GITHUB_WORKSPACE": str(tmp_path / "work"), "GITHUB_OUTPUT": str(tmp_path / "output"),
        "MODELYARD_LOCAL_ARTIFACTS": str(tmp_path / "out"), "IN_NAME": "n",
        "IN_PATH": path, "IN_MISSING": "error", "IN_OVERWRITE": "false", "IN_HIDDEN": "false",
    }  # fmt: skip
    subprocess.run([sys.executable, "-I", workflows.STANDINS / "upload-artifact/upload.py"], env=env, check=True)
    out = tmp_path / "out" / "n"

    assert {file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()} == expected


def test_bad_arguments_are_told_before_anything_runs() -> None:
    """Input, environment and payload of the wrong form are usage errors."""
    runner = CliRunner()
    for arguments, words in ((["--input", "x"], "x=VALUE"), (["--env", "NOT_SET_HERE"], "NOT_SET_HERE"), (["--payload", "{"], "JSON")):
        with pytest.raises(UsageError, match=words):
            runner.invoke(local.command, ["push", *arguments], catch_exceptions=False, standalone_mode=False)
