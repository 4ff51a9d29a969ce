"""What must agree across the repository: verbs, actions, workflows, copies, pins, permissions."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard import cli, vendoring

ROOT = Path(__file__).parents[2]
SKELETON = ROOT / "{{cookiecutter.project_slug}}"
ACTIONS = sorted((ROOT / "actions").glob("*/action.yml"))
REUSABLE = sorted((ROOT / "workflows").glob("*.yml"))
CALLERS = sorted((SKELETON / ".github/workflows").glob("*.yml"))
OWN = ROOT / ".github/workflows/test.yml"
WORKFLOWS = [*REUSABLE, *CALLERS, OWN]
#: Outputs whose names are computed where the verb makes them.
COMPUTED = {"evaluate": {"challenger", "champion", "difference", "lower"}}
#: Verbs whose verdict is always empty.
WITHOUT_VERDICT = {"train", "profile", "register", "propose", "report"}
#: Access that each name of a level includes.
LEVELS = {"none": 0, "read": 1, "write": 2}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def steps(path: Path) -> list[dict[str, Any]]:
    content = read(path)
    if "runs" in content:
        return list(content["runs"]["steps"])
    return [step for job in content["jobs"].values() for step in job.get("steps", [])]


def test_a_verb_is_a_module_an_action_a_test_and_a_page() -> None:
    """The sets of verbs, actions, test files and reference pages are the same, and each verb's module has its command."""
    verbs = set(cli.VERBS)

    assert {path.parent.name for path in ACTIONS} - {"setup"} == verbs
    assert {verb for verb in verbs if (ROOT / f"tests/unit/test_{verb}.py").exists()} == verbs
    for verb in cli.VERBS | cli.TOOLS:
        assert importlib.import_module(f"modelyard.{verb}").command.name == verb


def test_each_verb_has_its_reference_page() -> None:
    """docs/reference/<verb>.md exists for each verb."""
    pages = {path.stem for path in (ROOT / "docs/reference").glob("*.md")}

    assert set(cli.VERBS) - pages == set()


@pytest.mark.parametrize("path", [p for p in ACTIONS if p.parent.name != "setup"], ids=name)
def test_an_action_holds_no_logic(path: Path) -> None:
    """Env in, one command, outputs out: at most 50 lines, inputs only through env, exit code 10 only where a verdict can be negative."""
    verb = path.parent.name
    action = read(path)
    (step,) = action["runs"]["steps"]

    assert len(path.read_text().splitlines()) <= 50
    assert (action["name"], action["runs"]["using"], step["id"], step["shell"]) == (verb, "composite", "run", "bash")
    assert re.fullmatch(rf"modelyard {verb}( [-\w]+| \"\$[A-Z]+\")*( \|\| test \$\? -eq 10)?", step["run"])
    used = {given for value in step.get("env", {}).values() for given in re.findall(r"inputs\.([\w-]+)", value)}
    assert used == set(action.get("inputs", {}))
    assert set(re.findall(r"\$([A-Z]+)", step["run"])) <= set(step.get("env", {}))
    for output, what in action.get("outputs", {}).items():
        assert what["value"] == f"${{{{ steps.run.outputs.{output} }}}}"


@pytest.mark.parametrize("path", [p for p in ACTIONS if p.parent.name != "setup"], ids=name)
def test_an_action_declares_what_its_verb_sets(path: Path) -> None:
    """Each output that the verb's Outcome names is one of the action, and the other way round."""
    verb = path.parent.name
    declared = set(read(path).get("outputs", {}))

    assert declared == outputs(verb) | (set() if verb in WITHOUT_VERDICT else {"verdict"})


def outputs(verb: str) -> set[str]:
    """Collect the string keys of the dictionaries that become ``outputs`` in the verb's module, and in functions it calls for that."""
    module = ROOT / "src/modelyard" / f"{verb}.py"
    source = module if module.exists() else ROOT / "src/modelyard" / verb / "__init__.py"
    texts = [source.read_text()]
    if verb == "rollback":  # its refusals are promote's
        texts.append(ast.unparse(function(ROOT / "src/modelyard/promote.py", "refused")))
    found = set(COMPUTED.get(verb, set()))
    for tree in map(ast.parse, texts):
        for node in ast.walk(tree):
            values: list[ast.expr] = []
            assigned = isinstance(node, ast.Assign) and "outputs" in map(ast.unparse, node.targets)
            if assigned or (isinstance(node, ast.keyword) and node.arg == "outputs"):
                values = [node.value]  # type: ignore[attr-defined]
            elif isinstance(node, ast.FunctionDef) and node.name == "_outputs":
                values = [r.value for r in ast.walk(node) if isinstance(r, ast.Return) and r.value]
            for value in values:
                if isinstance(value, ast.Dict):
                    found |= {key.value for key in value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
    return found


def function(path: Path, wanted: str) -> ast.FunctionDef:
    return next(n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef) and n.name == wanted)


@pytest.mark.parametrize("path", [*ACTIONS, *WORKFLOWS], ids=name)
def test_no_expression_reaches_a_shell(path: Path) -> None:
    """``${{ }}`` stands in no ``run:``; inputs come as environment variables."""
    for step in steps(path):
        assert "${{" not in str(step.get("run", ""))


def test_third_party_actions_are_pinned() -> None:
    """By a commit with its version as comment, and the same action by the same commit everywhere."""
    pins: dict[str, set[str]] = {}
    for path in [*ACTIONS, *WORKFLOWS]:
        for line in path.read_text().splitlines():
            if found := re.match(r"^\s*(?:-\s+)?uses:\s+(?![$.])(\S.*)$", line):
                pinned = re.fullmatch(r"([\w.-]+/[\w./-]+)@([0-9a-f]{40} # v\d+\.\d+\.\d+)", found[1])
                assert pinned, f"{name(path)}: {line.strip()}"
                pins.setdefault(pinned[1], set()).add(pinned[2])

    assert {"actions/checkout", "astral-sh/setup-uv", "actions/upload-artifact"} <= set(pins)
    assert {action: commits for action, commits in pins.items() if len(commits) != 1} == {}


@pytest.mark.parametrize("path", WORKFLOWS, ids=name)
def test_permissions_are_named_job_by_job(path: Path) -> None:
    """Nothing at the top; each job says what it needs, and each line why."""
    content = read(path)

    assert content["permissions"] == {}
    for job in content["jobs"].values():
        assert job["permissions"]
    for line in path.read_text().splitlines():
        if re.match(r"^ {6}[a-z-]+: (read|write)\b", line):
            assert re.search(r" # \S", line), line


def called(reference: str) -> Path:
    """Give the reusable workflow that a caller or another reusable workflow names."""
    stem = re.fullmatch(r"(?:\./\.github/workflows/modelyard-|\$/\.github/workflows/)([a-z]+)\.yml", reference)
    assert stem, reference
    return ROOT / "workflows" / f"{stem[1]}.yml"


def needed(path: Path) -> dict[str, str]:
    """Give the permissions that a workflow asks for, itself and through those it calls."""
    needs: dict[str, str] = {}
    for job in read(path)["jobs"].values():
        for asked in (job["permissions"], needed(called(job["uses"])) if "uses" in job else {}):
            for scope, level in asked.items():
                needs[scope] = max(needs.get(scope, "none"), level, key=LEVELS.__getitem__)
    return needs


@pytest.mark.parametrize("path", [*CALLERS, *REUSABLE], ids=name)
def test_a_caller_grants_what_its_callee_asks_for(path: Path) -> None:
    """Else GitHub refuses to start the run, without a log; monitor calls train, which calls promote."""
    for job in read(path)["jobs"].values():
        if "uses" in job:
            asked = needed(called(job["uses"]))
            short = {s: level for s, level in asked.items() if LEVELS[job["permissions"].get(s, "none")] < LEVELS[level]}
            assert short == {}


@pytest.mark.parametrize("path", [*CALLERS, *REUSABLE], ids=name)
def test_a_caller_passes_what_its_callee_declares(path: Path) -> None:
    """Inputs and secrets of a call exist there; a misspelt one would be another refusal without a log."""
    for job in read(path)["jobs"].values():
        if "uses" in job:
            call = read(called(job["uses"]))[True]["workflow_call"]  # YAML 1.1 reads the key `on` as true
            assert set(job.get("with", {})) <= set(call.get("inputs", {}))
            assert set(job.get("secrets", {})) <= set(call.get("secrets", {}))


@pytest.mark.parametrize("path", [*REUSABLE, *CALLERS], ids=name)
def test_a_step_passes_what_its_action_declares(path: Path) -> None:
    """Inputs of our own actions exist, and each output that a workflow reads is one of the action in that step."""
    text = path.read_text()
    for step in steps(path):
        if found := re.fullmatch(r"\$/actions/([a-z]+)", str(step.get("uses", ""))):
            action = read(ROOT / "actions" / found[1] / "action.yml")
            assert set(step.get("with", {})) <= set(action.get("inputs", {}))
            read_here = set(re.findall(rf"steps\.{step.get('id')}\.outputs\.([\w-]+)", text))
            assert read_here <= set(action.get("outputs", {}))


def test_the_copies_that_github_calls_equal_the_source() -> None:
    """.github/workflows holds each of workflows/*.yml byte for byte, and beside them only our own test."""
    copies = {path.name: path.read_bytes() for path in (ROOT / ".github/workflows").glob("*.yml")}

    assert copies.pop("test.yml")
    assert copies == {path.name: path.read_bytes() for path in REUSABLE}


@pytest.mark.parametrize("path", WORKFLOWS, ids=name)
def test_no_workflow_runs_foreign_code_with_a_token(path: Path) -> None:
    """Never pull_request_target nor workflow_run, and no checkout leaves its token on disk."""
    content = read(path)
    triggers = content[True]

    assert not {"pull_request_target", "workflow_run"} & set(triggers)
    for step in steps(path):
        if str(step.get("uses", "")).startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", CALLERS, ids=name)
def test_a_caller_is_short_and_calls_the_workflow_of_its_name(path: Path) -> None:
    """Triggers and one job; a schedule at an odd minute, since GitHub is late at the top of the hour."""
    content = read(path)
    (job,) = content["jobs"].values()

    assert len(path.read_text().splitlines()) < 45
    assert job["uses"] == f"./.github/workflows/modelyard-{path.name}"
    for entry in content[True].get("schedule", []) or []:
        assert int(entry["cron"].split()[0]) % 2 == 1
        assert int(entry["cron"].split()[0]) % 5


def test_the_tree_holds_no_links() -> None:
    """A symbolic link does not survive vendoring, nor a download by the runner."""
    listed = subprocess.run(["git", "ls-files", "--stage"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    untracked = subprocess.run(["git", "ls-files", "-o", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert [line for line in listed.splitlines() if line.startswith("120000")] == []
    assert [path for path in untracked.splitlines() if (ROOT / path).is_symlink()] == []


def test_help_imports_nothing_heavy() -> None:
    """``modelyard --help`` answers at once: no data frames, no MLflow, no DVC, no pydantic."""
    code = (
        "import sys\nfrom modelyard import cli\ntry:\n    cli.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(','.join(sorted({'pandas', 'numpy', 'mlflow', 'dvc', 'bentoml', 'sklearn', 'onnxruntime', 'pydantic'} & set(sys.modules))), "
        "file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "promote" in done.stdout
    assert done.stderr.strip() == ""


def test_zizmor_finds_nothing(tmp_path: Path) -> None:
    """Actions and workflows are clean as they are, and as they stand in a project, under that project's configuration."""
    zizmor = [str(Path(sys.executable).with_name("zizmor")), "--offline", "--quiet", "--no-progress"]
    source = subprocess.run([*zizmor, *map(str, [*REUSABLE, *ACTIONS, OWN])], capture_output=True, text=True, check=False)
    vendoring.vendor(ROOT, tmp_path)
    for path in CALLERS:
        (tmp_path / vendoring.WORKFLOWS / path.name).write_bytes(path.read_bytes())
    inside = [*tmp_path.glob(".github/workflows/*.yml"), *tmp_path.glob(".github/actions/*/action.yml")]
    config = ["--config", str(SKELETON / ".github/zizmor.yml")]
    project = subprocess.run([*zizmor, *config, *map(str, inside)], capture_output=True, text=True, check=False)

    assert len(inside) == len(CALLERS) + len(REUSABLE) + len(ACTIONS)
    assert source.returncode == 0, source.stdout + source.stderr
    assert project.returncode == 0, project.stdout + project.stderr
