"""Who approved a release: by the forge's reviews, else by git; and whether that is enough."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.conftest import set_champion

from modelyard import approval, git, history, promote, registry, release, serving, state
from modelyard.person import Approval, How, Person, noted
from modelyard.project import RELEASE, Project
from modelyard.risk import Demand, Risk

ANN, BOB, EVE = Person("Ann", "ann@example.org"), Person("Bob", "bob@example.org"), Person("Eve", "eve@example.org")
BOT = Person("github-actions[bot]", "1+github-actions[bot]@users.noreply.github.com")


def risk(level: str, **more: Any) -> Risk:
    probability, impact = {"low": ("rare", "minor"), "moderate": ("possible", "minor"), "high": ("possible", "major")}.get(
        level, ("likely", "severe")
    )
    return Risk.model_validate({"probability": probability, "impact": impact, **more})


@pytest.mark.parametrize(
    ("level", "people", "counted", "lacking"),
    [
        ("low", [], [], ""),
        ("moderate", [ANN], [ANN], ""),
        ("moderate", [BOT], [], "asks for 1 person; it is approved by nobody."),
        ("moderate", [Person("modelyard", git.NOBODY)], [], "approved by nobody"),
        ("high", [ANN, BOB], [ANN, BOB], ""),
        ("high", [ANN], [ANN], "asks for 2 people who did not write the training code; it is approved by Ann."),
        ("high", [ANN, ANN, Person("ann", "other@example.org"), Person("A.", "ANN@example.org")], [ANN], "approved by Ann."),
        ("high", [ANN, EVE], [ANN], "approved by Ann; Eve wrote the training code."),
        ("moderate", [EVE], [EVE], ""),
        ("critical", [ANN, BOB], [ANN, BOB], ""),
        (
            "critical",
            [ANN, Person("Cid", "c@example.org")],
            [ANN, Person("Cid", "c@example.org")],
            "asks for the role 'risk' (risk.roles: bob@",
        ),
    ],
)
def test_who_counts_and_what_is_lacking(level: str, people: list[Person], counted: list[Person], lacking: str) -> None:
    """Nobody, one, two, one of them with a role; each once, no bots, and from high on not who wrote the code."""
    given = [Approval(person, "commit") for person in people]
    found, said = approval.judge(risk(level, roles={"risk": ["bob@example.org"]}), given, [EVE])

    assert found == [Approval(person, "commit", roles=("risk",) if person == BOB else ()) for person in counted]
    assert (lacking in said) if lacking else said == ""


def test_a_role_that_nobody_has_cannot_be_met() -> None:
    """The message says where to name somebody."""
    _, said = approval.judge(risk("critical"), [Approval(ANN, "commit"), Approval(BOB, "trailer")])

    assert said == (
        "Risk level critical asks for the role 'risk' (risk.roles: nobody: name somebody in modelyard.yaml); it is approved by Ann, Bob."
    )


@pytest.mark.parametrize(
    ("text", "person"),
    [
        ("Ann Lee <ann@example.org>", Person("Ann Lee", "ann@example.org")),
        (" ann@example.org ", Person("", "ann@example.org")),
        ("Ann", Person("Ann", "")),
        ("<ann@example.org>", Person("", "ann@example.org")),
    ],
)
def test_how_people_are_written(text: str, person: Person) -> None:
    """Name and mail, or one of them."""
    assert Person.parse(text) == person


def asking(project: Project, approvers: int, **more: Any) -> Project:
    """Let the project's level ask for so many."""
    demand = Demand(checks=[], inconclusive="pass", approvers=approvers, **more)
    changed = project.policy.risk.model_copy(update={"demands": {**project.policy.risk.demands, "moderate": demand}})
    return replace(project, policy=project.policy.model_copy(update={"risk": changed}))


def check(project: Project) -> tuple[list[str], str]:
    record = release.read((project.root / RELEASE).read_bytes())
    found, lacking = approval.check(project, git.head(project.root), record)
    return [str(each.person) for each in found], lacking


def sign(project: Project, trailer: str, *files: str) -> None:
    for file in files:
        (project.root / file).write_text("changed")
        git.run("add", file, cwd=project.root)
    git.run("commit", "--quiet", "--allow-empty", "-m", f"Sign\n\nApproved-by: {trailer}", cwd=project.root)


def test_who_merges_approves(merged: Project) -> None:
    """At moderate one person is enough, and it may have written the code."""
    assert check(merged) == (["Test"], "")


def test_others_approve_by_commits_without_changes(merged: Project) -> None:
    """What is lacking is said with what to do; the trailer of somebody else, once, is enough."""
    project = asking(merged, 2)
    assert check(project)[1].startswith(
        "Risk level moderate asks for 2 people; it is approved by Test. Let them push a commit to main, git commit"
    )

    sign(project, "Tess <test@example.com>")  # the merger's own address
    assert "approved by Test." in check(project)[1]
    sign(project, "not an address")
    assert "approved by Test." in check(project)[1]
    sign(project, "Ann <ann@example.org>")
    assert check(project) == (["Test", "Ann"], "")


def test_a_commit_that_changes_something_is_signed_for_that(merged: Project) -> None:
    """Whoever reviewed other work on main has not approved the release."""
    sign(merged, "Ann <ann@example.org>", "README.md")

    assert "approved by Test." in check(asking(merged, 2))[1]


def _merge_again(project: Project, message: str, *args: str) -> None:
    git.run("reset", "--quiet", "--hard", "HEAD~1", cwd=project.root)
    git.run("merge", "--quiet", *(args or ("--no-ff", "-m", message)), "origin/modelyard/release", cwd=project.root)


def test_trailers_of_the_merge_and_of_the_release_branch_count(merged: Project) -> None:
    """Approved before the merge, and by it."""
    _merge_again(merged, "Merge\n\nApproved-by: Ann <ann@example.org>\nApproved-by: Bob <bob@example.org>")
    assert check(asking(merged, 3)) == (["Test", "Ann", "Bob"], "")

    git.run("reset", "--quiet", "--hard", "origin/modelyard/release", cwd=merged.root)
    sign(merged, "Eve <eve@example.org>")
    git.run("branch", "signed", cwd=merged.root)
    git.run("reset", "--quiet", "--hard", "HEAD~2", cwd=merged.root)
    git.run("merge", "--quiet", "--no-ff", "-m", "Merge", "signed", cwd=merged.root)
    assert check(asking(merged, 2)) == (["Test", "Eve"], "")


def test_what_a_bot_brought_to_main_nobody_approved(merged: Project) -> None:
    """A fast-forward to a commit that a job made names no person."""
    _merge_again(merged, "", "--ff-only")
    git.run("commit", "--quiet", "--amend", "--no-edit", "--author", f"modelyard <{git.NOBODY}>", cwd=merged.root)

    assert "approved by nobody." in check(merged)[1]


def test_who_wrote_the_code_does_not_count_where_the_level_says_so(merged: Project) -> None:
    """The merger wrote it: two others are needed."""
    project = asking(merged, 2, independent=True)
    sign(project, "Ann <ann@example.org>")
    assert "it is approved by Ann; Test wrote the training code." in check(project)[1]

    sign(project, "Bob <bob@example.org>")
    assert check(project) == (["Ann", "Bob"], "")


def test_only_those_who_wrote_what_is_new_are_left_out(succeeded: Project) -> None:
    """Since the release before, Eve changed the code; what Test wrote earlier was approved with that release."""
    code = git.head(succeeded.root, "HEAD~1")
    base = git.run(
        "commit-tree",
        f"{code}^{{tree}}",
        "-p",
        f"{code}~1",
        "-m",
        "Eve's",
        cwd=succeeded.root,
        env={"GIT_AUTHOR_EMAIL": "eve@x.y", "GIT_AUTHOR_NAME": "Eve"},
    )
    record = release.read((succeeded.root / RELEASE).read_bytes())
    record = record.model_copy(update={"code": record.code.model_copy(update={"commit": base})})
    project = asking(succeeded, 2, independent=True)
    sign(project, "Eve <eve@x.y>")
    sign(project, "Ann <ann@example.org>")

    found, lacking = approval.check(project, git.head(project.root), record)

    assert ([str(each.person) for each in found], lacking) == (["Test", "Ann"], "")


def test_a_job_s_shallow_checkout_sees_who_merged(merged: Project, tmp_path: Path) -> None:
    """Its one commit is a later one by somebody else: the history of main is fetched, and nothing else."""
    (merged.root / "README.md").write_text("docs")
    git.run("add", "README.md", cwd=merged.root)
    git.run("commit", "--quiet", "-m", "Docs", "--author", "Zoe <zoe@example.org>", cwd=merged.root)
    git.run("push", "--quiet", "origin", "HEAD:main", cwd=merged.root)
    clone = tmp_path / "clone"
    git.run("clone", "--quiet", "--depth=1", "--branch=main", f"file://{tmp_path}/origin.git", str(clone), cwd=tmp_path)

    assert check(replace(merged, root=clone)) == (["Test"], "")
    assert git.run("rev-parse", "--is-shallow-repository", cwd=clone) == "false"
    assert git.attempt("rev-parse", "--verify", "--quiet", "origin/modelyard-state", cwd=clone).returncode != 0


def test_promote_refuses_what_too_few_approved(merged: Project) -> None:
    """The check is named, and the champion is as it was; what was live before may come back."""
    outcome = promote.run(asking(merged, 2))
    assert (outcome.verdict, outcome.exit_code, outcome.outputs["check"]) == ("refused", 10, "approvals")

    set_champion(merged, "1")
    verified = promote.verify(asking(merged, 2), git.head(merged.root))
    assert (verified.is_live, verified.approved_by) == (True, "")


def test_promote_refuses_what_was_judged_for_less_risk(merged: Project) -> None:
    """The impact was raised while the release waited: its evaluation did not ask for what is asked now."""
    risky = merged.policy.risk.model_copy(update={"impact": "severe"})
    outcome = promote.run(replace(merged, policy=merged.policy.model_copy(update={"risk": risky})))

    assert outcome.outputs["check"] == "approvals"
    assert outcome.outputs["reason"] == "The release was judged at risk level moderate, and modelyard.yaml says high now. Run train."


def test_the_registry_notes_who_approved(merged: Project) -> None:
    """As a tag of the version, which the history reads: who, how it was known, when, and with which role."""
    project = asking(merged, 2)
    sign(project, "Ann Lee <ann@example.org>")
    risk = project.policy.risk.model_copy(update={"roles": {"risk": ["ann@example.org"], "owner": ["Nobody else"]}})
    project = replace(project, policy=project.policy.model_copy(update={"risk": risk}))

    verified = promote.verify(project, git.head(project.root))
    promote.make_live(project, verified.champion.release, serving.Bento("mini:1", project.root), verified.approved_by)

    version = registry.get_version(registry.connect(merged.root / state.FOLDER), "mini", "1")
    assert version
    merge, signature = (git.run("log", "-1", "--format=%cI", rev, cwd=merged.root) for rev in ("HEAD~1", "HEAD"))
    told = [
        Approval(Person("Test", "test@example.com"), "commit", datetime.fromisoformat(merge)),
        Approval(Person("Ann Lee", "ann@example.org"), "trailer", datetime.fromisoformat(signature), ("risk",)),
    ]
    assert noted(version.tags[promote.APPROVED]) == told
    (entry,) = history.approved(merged)  # whose policy names no role: it is as it was at the time
    assert list(entry.approvals) == told


def by_commit(name: str) -> Approval:
    return Approval(Person(name, ""), "commit")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Test, Ann Lee", [Approval(Person("Test", ""), "noted"), Approval(Person("Ann Lee", ""), "noted")]),
        ("ann@example.org", [Approval(Person("", "ann@example.org"), "noted")]),
        ("bob (merge)", [Approval(Person("", "bob"), "merge")]),
        ("bob (review; risk, owner), Ann (commit)", [Approval(Person("", "bob"), "review", None, ("risk", "owner")), by_commit("Ann")]),
        ("Ann (trailer 2013-13-01)", [Approval(Person("Ann (trailer 2013-13-01)", ""), "noted")]),
        ("Ann (some way)", [Approval(Person("Ann (some way)", ""), "noted")]),
        ("", []),
    ],
)
def test_what_the_registry_notes_can_be_read(text: str, found: list[Approval]) -> None:
    """Names alone, as once; and what has no known form is shown as it is."""
    assert noted(text) == found


_TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=12)
_WHEN = st.none() | st.datetimes(datetime(2013, 1, 1), datetime(2014, 1, 1), timezones=st.just(UTC)).map(
    lambda when: when.replace(microsecond=0)
)


@given(st.lists(st.tuples(_TEXT, _TEXT, st.sampled_from(get_args(How)), _WHEN, st.lists(_TEXT, max_size=2)), min_size=1, max_size=4))
def test_a_name_cannot_add_an_approver(given: list[tuple[str, str, How, datetime | None, list[str]]]) -> None:
    """Whatever people are called: as many approvals come out as went in, each known in the same way and since then."""
    approvals = [Approval(Person(name, address), how, when, tuple(roles)) for name, address, how, when, roles in given]

    found = noted(", ".join(map(str, approvals)))

    assert [(each.how, each.when, len(each.roles)) for each in found] == [(each.how, each.when, len(each.roles)) for each in approvals]


@dataclass
class Forge:
    """One merged pull request, as GitHub's API tells it."""

    pulls: list[dict[str, Any]] = field(default_factory=list)
    reviews: list[dict[str, Any]] = field(default_factory=list)
    author: str | None = "test"
    refuse: int = 0

    def answer(self, path: str) -> tuple[int, Any]:
        if self.refuse:
            return self.refuse, {"message": "Resource not accessible by integration"}
        match path.removeprefix("/repos/o/r/").split("/"):
            case ["pulls"]:
                return 200, [{key: value for key, value in pull.items() if key != "merged_by"} for pull in self.pulls]
            case ["pulls", number]:
                return 200, next(pull for pull in self.pulls if pull["number"] == int(number))
            case ["pulls", _, "reviews"]:
                return 200, self.reviews
            case ["commits"]:
                return 200, [{"author": {"login": self.author} if self.author else None}]
        return 404, {}

    def merge(self, project: Project, by: str = "ann") -> None:
        root = project.root
        self.head = git.head(root, "HEAD^2")
        other = {
            "number": 6,
            "head": {"ref": "feature", "sha": "1" * 40, "repo": {"full_name": "o/r"}},
            "merged_at": "t",
            "merge_commit_sha": "2",
        }
        head = {"ref": "modelyard/release", "sha": self.head, "repo": {"full_name": "o/r"}}
        mine = {
            "number": 7,
            "head": head,
            "merged_at": "2013-03-02T08:00:00Z",
            "merge_commit_sha": git.head(root),
            "merged_by": {"login": by},
        }
        self.pulls = [other, {**mine, "number": 5, "merged_at": None}, mine]

    def review(self, login: str, state: str = "APPROVED", **more: Any) -> None:
        review = {"user": {"login": login, "type": "User"}, "state": state, "commit_id": self.head, "author_association": "MEMBER"}
        self.reviews.append({**review, "submitted_at": "2013-03-01T09:00:00Z", **more})


@pytest.fixture
def forge(monkeypatch: pytest.MonkeyPatch) -> Iterator[Forge]:
    found = Forge()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content = found.answer(self.path.partition("?")[0])
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    for name, value in {"TOKEN": "t", "REPOSITORY": "o/r", "API_URL": f"http://127.0.0.1:{server.server_port}"}.items():
        monkeypatch.setenv(f"GITHUB_{name}", value)
    yield found
    server.shutdown()
    server.server_close()


def test_reviews_and_who_merged_approve(merged: Project, forge: Forge) -> None:
    """Of the merged commit, by their author's last word, by people who belong to the repository; what git says beside it does not count."""
    forge.merge(merged)
    forge.review("bob")
    forge.review("bob", "COMMENTED")
    forge.review("carl")
    forge.review("carl", "CHANGES_REQUESTED")
    forge.review("dora", commit_id="0" * 40)
    forge.review("stranger", author_association="NONE")
    forge.review("robot[bot]", user={"login": "robot[bot]", "type": "Bot"})
    forge.review("gita", official=False)
    forge.review("ghost", user=None)
    sign(merged, "Fay <fay@example.org>")

    assert check(merged) == (["bob", "ann"], "")
    found, _ = approval.check(merged, git.head(merged.root), release.read((merged.root / RELEASE).read_bytes()))
    assert ", ".join(map(str, found)) == "bob (review 2013-03-01T09:00:00+00:00), ann (merge 2013-03-02T08:00:00+00:00)"
    assert check(asking(merged, 3))[1].endswith("approved by bob, ann. Let them approve the pull request, then run promote again.")


def test_a_role_may_be_a_name_on_the_forge(merged: Project, forge: Forge) -> None:
    """Who has it is compared by login."""
    forge.merge(merged)
    project = asking(merged, 1, role="risk")
    roles = project.policy.risk.model_copy(update={"roles": {"risk": ["Ann"]}})

    assert check(replace(project, policy=project.policy.model_copy(update={"risk": roles}))) == (["ann"], "")
    assert "asks for the role 'risk'" in check(project)[1]


@pytest.mark.parametrize(("author", "counted"), [("test", ["bob", "ann"]), ("ann", ["bob"]), (None, ["bob", "ann"])])
def test_the_code_s_author_is_known_by_login(merged: Project, forge: Forge, author: str | None, counted: list[str]) -> None:
    """Who merged wrote the code: one more is needed."""
    forge.merge(merged)
    forge.review("bob")
    forge.author = author

    people, lacking = check(asking(merged, 2, independent=True))

    assert people == counted
    assert ("ann wrote the training code" in lacking) is (author == "ann")


def test_a_push_without_a_pull_request_is_told_by_git(merged: Project, forge: Forge) -> None:
    """The forge answers, and knows no such pull request."""
    assert check(merged) == (["Test"], "")
    assert forge.pulls == []


def test_a_forge_that_does_not_say_is_no_approval_of_two(merged: Project, forge: Forge, capfd: pytest.CaptureFixture[str]) -> None:
    """At one person git says who merged, and the log why; where two are asked for, reviews that are there are not replaced by trailers."""
    forge.refuse = 403
    sign(merged, "Ann <ann@example.org>")

    assert check(merged) == (["Test", "Ann"], "")
    assert "The forge does not say who approved, so git does. GET /pulls was refused with 403" in capfd.readouterr().err
    people, lacking = check(asking(merged, 2))
    assert people == []
    assert "the forge does not say who approved: GET /pulls was refused with 403" in lacking
