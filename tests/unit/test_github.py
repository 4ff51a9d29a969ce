"""What a job is told, and the forge's REST API against a stand-in on the loopback."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from modelyard import github
from modelyard.errors import ForgeError
from modelyard.outcome import Alert, Outcome

REPOSITORY = "Owner/flights"
TOKEN = "t0-ken"
REFUSAL = {"message": "GitHub Actions is not permitted to create or approve pull requests."}


@dataclass
class Forge:
    """The pull requests and issues of one repository; it answers as GitHub does, and keeps what it was asked."""

    pulls: list[dict[str, Any]] = field(default_factory=list)
    issues: list[dict[str, Any]] = field(default_factory=list)
    calls: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    refuse: tuple[int, Any] | None = None
    address: str = ""

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: dict[str, str]) -> tuple[int, Any, str]:
        if self.refuse and method != "GET":
            return *self.refuse, ""
        self.calls += [(method, path, body)] if method != "GET" else []
        page, size = int(query.get("page", ["1"])[0]), min(int(query.get("per_page", ["30"])[0]), 50)
        match method, *path.split("/"):
            case "GET", ("pulls" | "issues") as kind:
                assert query["state"] == ["open"]
                entries = self.pulls if kind == "pulls" else self.issues
                link = '<next>; rel="next"' if page * size < len(entries) else '<first>; rel="first"'
                return 200, entries[(page - 1) * size : page * size], link
            case "POST", "pulls":
                assert set(body) == {"title", "body", "head", "base"}
                self.pulls.append(pull(len(self.pulls) + 1, body["head"]))
                return 201, self.pulls[-1], ""
            case "PATCH", "pulls", number:
                return 200, next(p for p in self.pulls if p["number"] == int(number)), ""
            case "POST", "issues":
                assert set(body) == {"title", "body"}
                number = 1 + max((issue["number"] for issue in self.issues), default=0)
                self.issues.append(issue(number, body["body"], title=body["title"], user={"type": "Bot"}))
                return 201, self.issues[-1], ""
            case "POST", "issues", _, "comments":
                return 201, {}, ""
            case "PATCH", "issues", number:
                assert set(body) <= {"title", "body", "state"}
                (mine,) = [issue for issue in self.issues if issue["number"] == int(number)]
                mine |= body
                self.issues = [issue for issue in self.issues if issue["state"] == "open"]  # the others are not listed
                return 201, mine, ""
        return 404, {"message": "Not Found"}, ""


def pull(number: int, head: str, owner: str | None = REPOSITORY) -> dict[str, Any]:
    source = {"full_name": owner} if owner else None
    return {"number": number, "html_url": f"pull/{number}", "head": {"ref": head, "repo": source}}


def issue(number: int, body: str | None, **more: Any) -> dict[str, Any]:
    """One that the job's own bot opened: GitHub calls it an outsider, and a bot."""
    return {"number": number, "html_url": f"issue/{number}", "body": body, "state": "open", "author_association": "NONE", **more}


@pytest.fixture
def forge(monkeypatch: pytest.MonkeyPatch) -> Iterator[Forge]:
    """Serve a forge, and let the environment be that of a job on it."""
    state = Forge()

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            url = urlsplit(self.path)
            prefix = f"/api/repos/{REPOSITORY}/"
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not url.path.startswith(prefix) or self.headers["Authorization"] != f"Bearer {TOKEN}":
                status, content, link = 401, {"message": "Bad credentials"}, ""
            else:
                status, content, link = state.answer(
                    self.command, url.path.removeprefix(prefix), parse_qs(url.query), json.loads(sent or b"{}")
                )
            data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            if link:
                self.send_header("Link", link)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = _handle  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.address = f"http://127.0.0.1:{server.server_port}/api"
    for name, value in {"API_URL": state.address, "REPOSITORY": REPOSITORY, "TOKEN": TOKEN}.items():
        monkeypatch.setenv(f"GITHUB_{name}", value)
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def open_pull() -> str:
    door = github.forge()
    assert door
    return door.open_or_update_pull(head="modelyard/release", base="main", title="Release 2", body="why")


def test_the_pull_request_is_opened_once_and_then_updated(forge: Forge) -> None:
    """The first release posts, the next one patches the same number."""
    first, second = open_pull(), open_pull()

    assert first == second == "pull/1"
    assert forge.calls == [
        ("POST", "pulls", {"title": "Release 2", "body": "why", "head": "modelyard/release", "base": "main"}),
        ("PATCH", "pulls/1", {"title": "Release 2", "body": "why"}),
    ]


def test_pull_requests_of_others_are_left_alone(forge: Forge) -> None:
    """Neither another branch's, nor one of a fork or of a deleted fork whose branch has the same name, is changed."""
    forge.pulls = [
        pull(1, "feature"),
        pull(2, "modelyard/release", "stranger/flights"),
        pull(3, "modelyard/release", None),
    ]

    assert open_pull() == "pull/4"
    assert [call[:2] for call in forge.calls] == [("POST", "pulls")]


def test_our_pull_request_is_found_behind_many_others(forge: Forge) -> None:
    """All pages are read, and the repository's name is compared without regard to case, as forges do."""
    forge.pulls = [*(pull(number, f"feature-{number}") for number in range(1, 121)), pull(121, "modelyard/release", REPOSITORY.lower())]

    assert open_pull() == "pull/121"
    assert forge.calls[0][:2] == ("PATCH", "pulls/121")


def alert(state: str = "alert: volume", **more: Any) -> Outcome:
    given: dict[str, Any] = {"key": "monitor:flights", "title": "flights needs a look", "state": state, "news": f"news: {state}", **more}
    return Outcome(verdict="alert", summary=f"summary: {state}", alert=Alert(**given))


def publish(*outcomes: Outcome) -> None:
    for outcome in outcomes:
        github.publish(outcome)


def test_an_issue_lives_as_long_as_its_alarm(forge: Forge) -> None:
    """Opened once; its text is that of the latest check, a comment comes where the state changed; closed when it is over, and then anew."""
    publish(alert(), alert(), alert("alert: volume age"), alert(over=True, news="Over."), alert(over=True), alert())

    def text(state: str) -> dict[str, str]:
        return {"title": "flights needs a look", "body": f"summary: {state}\n\n<!-- modelyard:monitor:flights {state} -->"}

    assert forge.calls == [
        ("POST", "issues", text("alert: volume")),
        ("PATCH", "issues/1", text("alert: volume")),
        ("POST", "issues/1/comments", {"body": "news: alert: volume age"}),
        ("PATCH", "issues/1", text("alert: volume age")),
        ("POST", "issues/1/comments", {"body": "Over."}),
        ("PATCH", "issues/1", {"state": "closed"}),
        ("POST", "issues", text("alert: volume")),
    ]


def test_other_issues_are_left_alone(forge: Forge) -> None:
    """Neither one of another key, nor one that quotes our mark before its own, nor a pull request, nor text without a mark is ours."""
    mark = "<!-- modelyard:monitor:flights alert: volume -->"
    forge.issues = [
        issue(1, "<!-- modelyard:monitor:flights-2 alert: volume -->", user={"type": "Bot"}),
        issue(2, f"{mark} <!-- modelyard:validate:flights 2013-05 -->", user={"type": "Bot"}),
        issue(3, mark, pull_request={"url": "pull/3"}),
        issue(4, None),
        issue(5, "monitor:flights"),
    ]

    publish(alert(over=True), alert())

    assert [call[:2] for call in forge.calls] == [("POST", "issues")]


def test_a_stranger_cannot_take_the_issue_s_place(forge: Forge) -> None:
    """On GitHub, an outsider's issue with our mark is passed over; the repository's people may open it anew, and other forges don't say."""
    mark = "<!-- modelyard:monitor:flights alert: volume -->"
    forge.issues = [issue(1, mark, user={"type": "User"}), issue(2, mark, author_association="OWNER", user={"type": "User"})]
    publish(alert())
    forge.issues = [
        {"number": 7, "html_url": "issue/7", "body": mark, "state": "open", "user": {"login": "gitea-actions"}, "pull_request": None}
    ]
    publish(alert())

    assert [call[:2] for call in forge.calls] == [("PATCH", "issues/2"), ("PATCH", "issues/7")]


def test_our_issue_is_found_behind_many_others_and_all_of_it_are_closed(forge: Forge) -> None:
    """All pages are read, also where closing makes them shorter; somebody had opened an old one again."""
    mark = "text\r\n\r\n<!-- modelyard:monitor:flights alert: volume -->\r\n"
    forge.issues = [issue(number, mark if number in (60, 121) else "feature", user={"type": "Bot"}) for number in range(1, 122)]

    publish(alert(), alert(over=True))

    patched = [(path, body.get("state")) for method, path, body in forge.calls if method == "PATCH"]
    assert patched == [("issues/60", None), ("issues/60", "closed"), ("issues/121", "closed")]


@pytest.mark.parametrize(("key", "state"), [("a table.profile", ""), ("monitor:x", "a --> <!-- b\n\nc"), ("monitor:x", "é < ü")])
def test_a_mark_is_found_again_whatever_it_holds(forge: Forge, key: str, state: str) -> None:
    """Spaces, nothing, and what would end the mark: the same state is no news."""
    publish(alert(state, key=key, body="text"), alert(state, key=key, body="text"))

    assert [call[:2] for call in forge.calls] == [("POST", "issues"), ("PATCH", "issues/1")]


def test_a_comment_that_is_refused_comes_with_the_next_check(forge: Forge, capfd: pytest.CaptureFixture[str]) -> None:
    """News are not lost: the mark changes after the comment."""
    publish(alert())
    forge.refuse = (403, {"message": "no"})
    publish(alert("alert: age"))
    forge.refuse = None
    publish(alert("alert: age"))

    assert [call[:2] for call in forge.calls] == [("POST", "issues"), ("POST", "issues/1/comments"), ("PATCH", "issues/1")]


def test_a_job_that_may_not_write_issues_does_not_warn_that_all_is_well(
    forge: Forge, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As ci's, which validates too: what it cannot close is said in its log, and is no annotation."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    publish(alert())
    forge.refuse = (403, {"message": "Resource not accessible by integration"})
    capfd.readouterr()
    publish(alert(over=True))

    told = capfd.readouterr()
    assert "::warning" not in told.out
    assert "could not be closed" in told.err


@pytest.mark.parametrize(
    ("status", "answer", "said", "fix"),
    [
        (403, REFUSAL, "refused with 403", "Allow GitHub Actions to create and approve pull requests"),
        (403, {"message": "Resource not accessible by integration"}, "not accessible", "pull-requests: write"),
        (200, "<html>a proxy</html>", "failed", ""),
        (200, [1, 2], "is not what", ""),
    ],
)
def test_a_refusal_says_what_to_change(forge: Forge, status: int, answer: Any, said: str, fix: str) -> None:
    """GitHub's setting and missing permissions are told with their remedy, an answer of another shape as such."""
    forge.refuse = (status, answer)

    with pytest.raises(ForgeError) as caught:
        open_pull()

    assert said in caught.value.what
    assert fix in caught.value.fix
    assert TOKEN not in str(caught.value)


def test_a_forge_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network is an error of the forge, not a crash."""
    for name, value in {"API_URL": "http://127.0.0.1:9", "REPOSITORY": REPOSITORY, "TOKEN": TOKEN}.items():
        monkeypatch.setenv(f"GITHUB_{name}", value)

    with pytest.raises(ForgeError, match="failed"):
        open_pull()


@pytest.mark.parametrize("name", ["ACT", "MODELYARD_LOCAL"])
def test_a_local_run_reaches_no_forge(forge: Forge, monkeypatch: pytest.MonkeyPatch, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Under act, what would open an issue says so and calls nobody, although token and address are there."""
    monkeypatch.setenv(name, "true")

    assert github.forge() is None
    publish(alert(title="Look at it"), alert(title="All is well", over=True))

    assert forge.calls == []
    told = capfd.readouterr().err
    assert "would open the issue 'Look at it'" in told
    assert "All is well" not in told


def test_an_alert_opens_an_issue_with_a_link_to_the_run(
    forge: Forge, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A text that the forge would refuse for its length is cut; a refusal leaves the verdict and becomes a warning."""
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://forge.example")
    monkeypatch.setenv("GITHUB_RUN_ID", "7")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    publish(alert(body="x" * 100_000), alert("more", body="x", news="y" * 100_000))
    forge.refuse = (403, {"message": "no"})
    publish(alert(title="Look again"))

    for call in forge.calls[:2]:
        assert f"\n\nhttps://forge.example/{REPOSITORY}/actions/runs/7" in call[2]["body"]
        assert len(call[2]["body"]) < 65_536
    body = forge.calls[0][2]["body"]
    assert len(body) < 65_536
    assert "::warning::The issue 'Look again' was not opened." in capfd.readouterr().out


def parse_outputs(text: str) -> dict[str, str]:
    """Read a GITHUB_OUTPUT file as the runner does."""
    found, lines = {}, iter(text.splitlines())
    for line in lines:
        name, _, mark = line.partition("<<")
        value = []
        while (line := next(lines)) != mark:
            value.append(line)
        found[name] = "\n".join(value)
    return found


def test_outputs_hold_any_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Several lines, and a value that tries to end itself and set another output, come out as they went in."""
    hostile = "first\nend-0\nverdict<<x\npromote\nx\n=end"
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    (tmp_path / "output").write_text("earlier<<m\n1\nm\n")

    github.publish(Outcome(verdict="keep", summary="", outputs={"reason": hostile, "empty": ""}))

    assert parse_outputs((tmp_path / "output").read_text()) == {"earlier": "1", "verdict": "keep", "reason": hostile, "empty": ""}


def test_nothing_is_told_outside_a_job(capfd: pytest.CaptureFixture[str]) -> None:
    """On a laptop, stdout is the summary and no more."""
    github.publish(Outcome(verdict="keep", summary="**keep**", problems=("p",), positive=False))

    assert capfd.readouterr().out == "**keep**\n"


def test_annotations_are_escaped_and_limited(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """GitHub shows ten a step: the tenth says how many more there are, and no message can begin a command of its own."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    problems = ("100 %\r\n::set-output name=verdict::promote", *(f"problem {n}" for n in range(2, 31)))

    github.publish(Outcome(verdict="block", summary="", positive=False, problems=problems))

    commands = [line for line in capfd.readouterr().out.splitlines() if line.startswith("::")]
    assert commands[0] == "::warning::100 %25%0D%0A::set-output name=verdict::promote"
    assert [command[:7] for command in commands] == ["::warni"] * 10
    assert re.search("21 more problems", commands[-1])


def test_a_step_summary_is_appended_and_cut(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a former step wrote stays; more than 1 MiB, which GitHub would drop as a whole, is cut between characters."""
    path = tmp_path / "summary"
    path.write_text("earlier\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))

    github.publish(Outcome(verdict="", summary="€" * 500_000))

    assert path.read_text(encoding="utf-8").startswith("earlier\n€")
    assert path.stat().st_size < 1024**2
