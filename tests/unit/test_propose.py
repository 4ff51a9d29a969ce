"""``propose``: the release branch and its pull request."""

from __future__ import annotations

import http.server
import json
import threading
from pathlib import Path

import pytest
from unit import mini_project
from unit.conftest import FEBRUARY, MARCH

from modelyard import git, policy, propose, release
from modelyard.errors import GitError, ProjectError, PushRejectedError, UsageError
from modelyard.project import MODEL, RELEASE, Project


def proposed(project: Project) -> str:
    return git.run("ls-remote", "origin", f"refs/heads/{propose.BRANCH}", cwd=project.root).partition("\t")[0]


def main(project: Project) -> str:
    return git.run("ls-remote", "origin", "refs/heads/main", cwd=project.root).partition("\t")[0]


def with_risk(project: Project, impact: str) -> Project:
    """Set the impact of what is possible, on main too."""
    path = project.root / policy.FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "risk": {"impact": impact}}))
    git.run("commit", "--quiet", "--message=risk", policy.FILE, cwd=project.root)
    git.run("push", "--quiet", "origin", "HEAD:main", cwd=project.root)
    return Project(project.root, policy.load(project.root))


def test_a_release_changes_exactly_its_files(registered: Project, capfd: pytest.CaptureFixture[str]) -> None:
    """Data pointers, lock, record and card on top of main; working tree, index and main stay; without a forge it says what it would do."""
    before = git.run("status", "--porcelain", cwd=registered.root), main(registered)

    outcome = propose.run(registered, FEBRUARY)

    commit = outcome.outputs["commit"]
    assert outcome.outputs == {"branch": "modelyard/release", "commit": proposed(registered), "pull": "", "merged": "false"}
    assert (outcome.exit_code, git.head(registered.root, f"{commit}~1")) == (0, before[1])
    assert git.run("diff", "--name-status", f"{commit}~1", commit, cwd=registered.root).split("\n") == [
        "A\tdata/raw/2013-01.parquet.dvc",
        "A\tdata/raw/2013-02.parquet.dvc",
        "A\tdvc.lock",
        "A\treleases/model-card.md",
        "A\treleases/production.yaml",
    ]
    assert (git.run("status", "--porcelain", cwd=registered.root), main(registered)) == before
    assert "would open the pull request 'Release mini 1'" in capfd.readouterr().err


def test_the_record_names_what_it_proves(registered: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes of model, evaluation and lock, the code commit, data, logical date and trigger."""
    monkeypatch.setenv("GITHUB_EVENT_NAME", "schedule")
    commit = propose.run(registered, FEBRUARY).outputs["commit"]

    record = release.read(git.show(registered.root, commit, RELEASE.as_posix()) or b"")

    assert record.model.sha256 == release.sha256(registered.root / MODEL)
    assert record.evaluation.sha256 == release.sha256(registered.root / "reports/evaluate.json")
    assert record.code.dvc_lock == release.sha256(registered.root / "dvc.lock")
    assert record.code.commit == main(registered)
    assert [batch.path for batch in record.data] == ["data/raw/2013-01.parquet", "data/raw/2013-02.parquet"]
    assert (record.logical_date, record.trigger, record.risk, record.approved_by) == (FEBRUARY, "schedule", "moderate", None)


def test_running_it_twice_makes_one_branch_from_the_current_main(registered: Project) -> None:
    """The branch is rebuilt: one commit on top of what main is now, although main moved in between."""
    propose.run(registered, FEBRUARY)
    (registered.root / "README.md").write_text("docs")
    git.run("add", "README.md", cwd=registered.root)
    git.run("commit", "--quiet", "--message=docs", cwd=registered.root)
    git.run("push", "--quiet", "origin", "HEAD:main", cwd=registered.root)

    second = propose.run(registered, FEBRUARY).outputs["commit"]

    assert proposed(registered) == second
    assert git.head(registered.root, f"{second}~1") == main(registered)


def test_a_period_that_is_gone_is_taken_out(merged: Project) -> None:
    """A pointer that main has and the training had not is deleted by the release."""
    old = git.head(merged.root)
    (merged.root / "data/raw/2013-01.parquet.dvc").unlink()

    files = propose._files(merged, release.read((merged.root / RELEASE).read_bytes()), _evaluation(merged), old)

    assert files["data/raw/2013-01.parquet.dvc"] is None
    assert set(files) == {"data/raw/2013-01.parquet.dvc", "releases/model-card.md", "releases/production.yaml"}


def _evaluation(project: Project) -> dict[str, object]:
    content: dict[str, object] = json.loads((project.root / "reports/evaluate.json").read_text())
    return content


def test_uncommitted_code_is_refused_by_name(registered: Project) -> None:
    """An edited file and a new lock file that the model was trained with: nobody else could rebuild it."""
    package = registered.policy.package
    for path in (f"src/{package}/train.py", "uv.lock"):
        with (registered.root / path).open("a") as file:
            file.write("# edited\n")

    with pytest.raises(ProjectError, match=rf"not committed: src/{package}/train\.py, uv\.lock"):
        propose.run(registered, FEBRUARY)

    assert proposed(registered) == ""


def test_code_that_is_not_mains_is_refused(registered: Project) -> None:
    """Committed here, not on origin's main; or main moved on: both are told with what to do. Other files do not matter."""
    (registered.root / "params.yaml").write_text("noise: 2.0 # the same\n")
    git.run("commit", "--quiet", "--message=local", "params.yaml", cwd=registered.root)

    with pytest.raises(ProjectError, match="not that of origin's main"):
        propose.run(registered, FEBRUARY)

    git.run("push", "--quiet", "origin", "HEAD:main", cwd=registered.root)
    git.run("reset", "--quiet", "--hard", "HEAD~1", cwd=registered.root)
    with pytest.raises(ProjectError, match="not that of origin's main"):
        propose.run(registered, FEBRUARY)


def test_what_does_not_fit_together_is_refused(registered: Project) -> None:
    """Reports missing or of another model, a verdict against it, no lock, no origin: nothing is pushed."""
    root = registered.root
    evaluation, entry = root / "reports/evaluate.json", root / "reports/register.json"
    judged, known = evaluation.read_text(), entry.read_text()

    evaluation.write_text(judged.replace('"verdict": "promote"', '"verdict": "keep"'))
    with pytest.raises(ProjectError, match="verdict is keep: there is nothing to propose"):
        propose.run(registered, FEBRUARY)
    evaluation.write_text(judged)
    mini_project.model(root, slope=9)
    with pytest.raises(ProjectError, match="changed since they were registered"):
        propose.run(registered, FEBRUARY)
    for path, text in ((entry, known), (evaluation, judged)):
        path.unlink()
        with pytest.raises(ProjectError, match=rf"{path.name} is missing") as caught:
            propose.run(registered, FEBRUARY)
        assert caught.value.exit_code == 2
        path.write_text(text)
    (root / "dvc.lock").unlink()
    with pytest.raises(ProjectError, match=r"dvc\.lock is missing"):
        propose.run(registered, FEBRUARY)
    git.run("remote", "set-url", "origin", str(root / "nowhere"), cwd=root)
    with pytest.raises(GitError, match="git fetch"):
        propose.run(registered, FEBRUARY)
    git.run("remote", "remove", "origin", cwd=root)
    with pytest.raises(UsageError, match="no remote `origin`"):
        propose.run(registered, FEBRUARY)


def test_at_low_risk_main_is_moved(registered: Project) -> None:
    """Fast-forward to the very commit that was proposed; the record says that the policy approved."""
    project = with_risk(registered, "negligible")

    outcome = propose.run(project, FEBRUARY)

    assert (outcome.outputs["merged"], outcome.outputs["commit"]) == ("true", main(project))
    record = release.read(git.show(project.root, outcome.outputs["commit"], RELEASE.as_posix()) or b"")
    assert (record.risk, record.approved_by) == ("low", "policy: risk low")


def test_a_protected_main_keeps_the_pull_request_open(registered: Project, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """At low risk too: it says so, and the record does not claim an approval that was not given."""
    project = with_risk(registered, "negligible")
    before = main(project)
    mini_project.protect(tmp_path / "origin.git")

    outcome = propose.run(project, FEBRUARY)

    assert (outcome.outputs["merged"], outcome.exit_code, main(project)) == ("false", 0, before)
    assert "main was not moved" in capfd.readouterr().err
    assert outcome.outputs["commit"] == proposed(project)
    assert release.read(git.show(project.root, proposed(project), RELEASE.as_posix()) or b"").approved_by is None


def test_a_protected_release_branch_is_an_error(registered: Project, tmp_path: Path) -> None:
    """Where not even the branch may be pushed, there is nothing to approve."""
    mini_project.protect(tmp_path / "origin.git", propose.BRANCH)

    with pytest.raises(PushRejectedError, match="refused the push"):
        propose.run(registered, FEBRUARY)


def test_a_forge_that_refuses_leaves_the_branch(
    registered: Project, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """GitHub's setting is off: the verb succeeds with the branch pushed, and an annotation names the setting."""

    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200, b"[]")

        def do_POST(self) -> None:
            self._answer(403, b'{"message": "GitHub Actions is not permitted to create or approve pull requests."}')

        def _answer(self, status: int, data: bytes) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    for name, value in {
        "GITHUB_ACTIONS": "true",
        "GITHUB_TOKEN": "t",
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_API_URL": f"http://127.0.0.1:{server.server_port}",
    }.items():
        monkeypatch.setenv(name, value)
    try:
        outcome = propose.run(registered, FEBRUARY)
    finally:
        server.shutdown()
        server.server_close()

    assert (outcome.exit_code, outcome.outputs["pull"]) == (0, "")
    assert outcome.outputs["commit"] == proposed(registered)
    assert "::error::POST /pulls was refused with 403" in (told := capfd.readouterr().out)
    assert "Allow GitHub Actions to create and approve pull requests" in told


def test_the_pull_request_holds_the_evidence(succeeded: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdict first, metrics beside the champion's, reasons, new data, code commit and a link to the run."""
    for name, value in {"SERVER_URL": "https://forge.example", "REPOSITORY": "o/r", "RUN_ID": "7"}.items():
        monkeypatch.setenv(f"GITHUB_{name}", value)
    record = release.read((succeeded.root / RELEASE).read_bytes())

    text = propose.body(record, _evaluation(succeeded), ["2013-03"], succeeded.policy.risk)

    assert text.startswith("**promote**: roc_auc ")
    assert f"| roc_auc | {record.evaluation.challenger:.4f} (" in text
    assert f" | {record.evaluation.champion:.4f} (" in text
    assert "New data: 2013-03." in text
    assert f"Trained from {record.code.commit[:12]} at logical date {MARCH:%Y-%m-%d}." in text
    assert "https://forge.example/o/r/actions/runs/7" in text
    assert "Risk level moderate: approval by 1 person. Merging approves" in text
