"""All that knows ``GITHUB_*`` files, ``::`` commands and the forge's REST API."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from modelyard.console import say
from modelyard.errors import ForgeError
from modelyard.outcome import Alert, Outcome
from modelyard.person import Approval, How, Person

_SUMMARY_LIMIT = 1_000_000  # GitHub drops a step summary of more than 1 MiB
_BODY_LIMIT = 60_000  # refuses longer texts of issues (65,536 with what is added)
_PULLS = 200  # closed pull requests that are looked through for the merged one
_ANNOTATIONS = 10  # and shows ten errors a step


def publish(outcome: Outcome) -> None:
    """Tell an outcome: the summary on stdout, and in a job also outputs, step summary and annotations."""
    print(outcome.summary, flush=True)
    write_outputs({"verdict": outcome.verdict, **outcome.outputs})
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        _append(path, outcome.summary.encode()[:_SUMMARY_LIMIT].decode(errors="ignore") + "\n\n")
    shown = outcome.problems[: _ANNOTATIONS - 1]
    for problem in shown:
        annotate("warning", problem)  # a negative verdict is no crash: where it must stop a run, the workflow's gate says so
    if hidden := len(outcome.problems) - len(shown):
        annotate("warning", f"{hidden} more problems stand in the summary.")
    if outcome.alert:
        _alert(outcome.alert, outcome.summary)


def write_outputs(outputs: dict[str, str]) -> None:
    """Append outputs of the running step; nothing happens outside a job."""
    if path := os.environ.get("GITHUB_OUTPUT"):
        import secrets

        for name, value in outputs.items():
            mark = f"end-{secrets.token_hex(8)}"  # random, so that a value cannot end itself early
            _append(path, f"{name}<<{mark}\n{value}\n{mark}\n")


def annotate(level: str, message: str) -> None:
    """Show an annotation (``error``, ``warning`` or ``notice``) in a job."""
    if os.environ.get("GITHUB_ACTIONS"):
        safe = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        print(f"::{level}::{safe}", flush=True)


@dataclass(frozen=True)
class Forge:
    """The REST API of GitHub, Enterprise Server, Gitea or Forgejo: the few calls that have the same shape on all of them.

    Parameters
    ----------
    api
        ``GITHUB_API_URL``.
    repository
        ``owner/name``.
    token
        The job's token, or an App's.
    """

    api: str
    repository: str
    token: str

    def open_or_update_pull(self, *, head: str, base: str, title: str, body: str) -> str:
        """The address of the one open pull request from ``head``; made, or brought up to date.

        Raises
        ------
        ForgeError
            The forge refused; where it is GitHub's setting, the message names it.
        """
        from urllib.parse import quote

        pulls = self._all(f"/pulls?state=open&base={quote(base)}")
        mine = next((pull for pull in pulls if pull["head"]["ref"] == head and self._is_ours(pull["head"])), None)
        if mine:
            done = self._call("PATCH", f"/pulls/{mine['number']}", {"title": title, "body": body})
        else:
            done = self._call("POST", "/pulls", {"title": title, "body": body, "head": head, "base": base})
        return _address(done)

    def approvals(self, *, head: str, base: str, commits: Collection[str]) -> list[Approval] | None:
        """Who approved, by login, and who merged, the pull request from ``head`` that brought one of ``commits`` to ``base``.

        A review counts where it is its author's last word on the commit that was merged, and not a stranger's. None where there is no such
        pull request: then it was pushed.
        """
        from urllib.parse import quote

        recent = itertools.islice(self._all(f"/pulls?state=closed&base={quote(base)}"), _PULLS)
        ours = (pull for pull in recent if pull["head"]["ref"] == head and pull.get("merged_at") and self._is_ours(pull["head"]))
        pull = next((pull for pull in ours if {pull.get("merge_commit_sha"), pull["head"]["sha"]} & set(commits)), None)
        if pull is None:
            return None
        path = f"/pulls/{pull['number']}"
        latest: dict[str, Approval | None] = {}
        for review in self._all(f"{path}/reviews?"):
            if review["state"] in ("COMMENTED", "COMMENT", "PENDING"):  # neither for nor against
                continue
            current = review.get("commit_id") == pull["head"]["sha"] and not (review.get("stale") or review.get("dismissed"))
            weighs = review.get("official", True) and not _is_a_stranger_s(review) and (review["user"] or {}).get("type") != "Bot"
            approves = review["state"] == "APPROVED" and current and weighs
            login = (review["user"] or {}).get("login", "")
            latest[login] = _approval(login, "review", review.get("submitted_at")) if approves else None
        merged = self._send("GET", path)[0]
        merger = _approval((merged.get("merged_by") or {}).get("login", ""), "merge", merged.get("merged_at"))
        return [each for each in (*latest.values(), merger) if each and each.person.id]

    def login(self, commit: str) -> str:
        """Login of a commit's author; empty where the forge knows no account of that address."""
        found = self._send("GET", f"/commits?sha={commit}&per_page=1&limit=1")[0]
        return str((found[0].get("author") or {}).get("login", "")) if found else ""

    def open_or_update_issue(self, *, key: str, title: str, body: str, state: str, news: str) -> str:
        """The address of the one open issue of that key; made, or brought up to date.

        Issues are told apart by a mark at their end that people don't see. A change of ``state`` also adds ``news`` as a comment: that is
        what calls people.
        """
        mark = _word(key, "-"), _word(state, " ")
        text = f"{body}\n\n<!-- modelyard:{mark[0]} {mark[1]} -->"
        mine = next(self._issues(key), None)
        if mine is None:
            return _address(self._call("POST", "/issues", {"title": title, "body": text}))
        if _mark(mine) != mark:  # the comment before the new mark: what fails between them is told twice, not never
            self._call("POST", f"/issues/{mine['number']}/comments", {"body": news})
        return _address(self._call("PATCH", f"/issues/{mine['number']}", {"title": title, "body": text}))

    def close_issues(self, *, key: str, news: str) -> list[str]:
        """Close the open issues of that key, with a last comment, and return their addresses."""
        closed = []
        for issue in list(self._issues(key)):  # the whole list first: closing shifts its pages
            self._call("POST", f"/issues/{issue['number']}/comments", {"body": news})
            closed.append(_address(self._call("PATCH", f"/issues/{issue['number']}", {"state": "closed"})))
        return closed

    def _issues(self, key: str) -> Iterator[dict[str, Any]]:
        """The open issues of that key."""
        for issue in self._all("/issues?state=open"):
            if not issue.get("pull_request") and not _is_a_stranger_s(issue) and _mark(issue)[0] == _word(key, "-"):
                yield issue

    def _is_ours(self, head: dict[str, Any]) -> bool:
        """Whether the branch is this repository's: a fork's may have the same name; one of a deleted fork has no repository."""
        return str((head["repo"] or {}).get("full_name")).lower() == self.repository.lower()

    def _all(self, path: str) -> Iterator[dict[str, Any]]:
        """The entries of a list, page by page, as long as the forge names a next one."""
        for page in itertools.count(1):
            entries, links = self._send("GET", f"{path}&per_page=50&limit=50&page={page}")
            yield from entries
            if 'rel="next"' not in links:
                return

    def _call(self, method: str, path: str, body: dict[str, str]) -> Any:
        return self._send(method, path, body)[0]

    def _send(self, method: str, path: str, body: dict[str, str] | None = None) -> tuple[Any, str]:
        """The answer, and its header ``Link``."""
        # Not above: each verb ends here, and http takes as long to import as a whole check of a small table.
        import http.client
        import urllib.error
        import urllib.request

        request = urllib.request.Request(
            f"{self.api}/repos/{self.repository}{path}",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"Bearer {self.token}", "Accept": "application/json", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.load(response), response.headers.get("Link", "")
        except urllib.error.HTTPError as error:
            words = error.read().decode(errors="replace")[:500]
            raise ForgeError(f"{method} {path.partition('?')[0]} was refused with {error.code}: {words}", _remedy(words)) from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise ForgeError(f"{method} {self.api} failed: {error}") from None


def _approval(login: str, how: How, when: str | None) -> Approval:
    return Approval(Person("", login), how, datetime.fromisoformat(when) if when else None)


def _address(entry: Any) -> str:
    try:
        return str(entry["html_url"])
    except (KeyError, TypeError):
        raise ForgeError(f"The forge's answer is not what its API promises: {str(entry)[:200]}") from None


def _mark(issue: dict[str, Any]) -> tuple[str, str]:
    """Key and state in the last mark of an issue's text; both empty where there is none."""
    found = re.findall(r"<!-- modelyard:(\S+) ?(.*?) -->", issue.get("body") or "")
    return found[-1] if found else ("", "")


def _word(text: str, space: str) -> str:
    """As it may stand in a mark, which it must not end."""
    return space.join(text.replace("<", "").replace(">", "").split())


def _is_a_stranger_s(issue: dict[str, Any]) -> bool:
    """Whether an outsider opened it: who writes our mark into an issue of his own could close it, and with it the alarm.

    GitHub says how an author belongs to the repository; of the job's own bot it says only that it is one. Others don't say.
    """
    outside = issue.get("author_association") in ("NONE", "FIRST_TIMER", "FIRST_TIME_CONTRIBUTOR", "CONTRIBUTOR", "MANNEQUIN")
    return outside and (issue.get("user") or {}).get("type") != "Bot"


def forge() -> Forge | None:
    """The forge of the running job; None where there is no token, and in local runs, which must not reach one."""
    token, api, repository = (os.environ.get(name, "") for name in ("GITHUB_TOKEN", "GITHUB_API_URL", "GITHUB_REPOSITORY"))
    if not (token and api and repository) or is_local():
        return None
    return Forge(api.rstrip("/"), repository, token)


def is_local() -> bool:
    """Whether the job runs under ``modelyard local`` or act."""
    return bool(os.environ.get("MODELYARD_LOCAL") or os.environ.get("ACT"))


def run_url() -> str:
    """The address of the running workflow; empty outside a forge."""
    server, repository, run = (os.environ.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID"))
    return f"{server}/{repository}/actions/runs/{run}" if server and repository and run and not is_local() else ""


def _alert(alert: Alert, summary: str) -> None:
    door = forge()
    if door is None:
        if not alert.over:
            say(f"No forge here: it would open the issue {alert.title!r}.")
        return
    body = "\n\n".join(filter(None, [(alert.body or summary)[:_BODY_LIMIT], run_url()]))
    news = "\n\n".join(filter(None, [(alert.news or alert.title)[:_BODY_LIMIT], run_url()]))
    try:
        if alert.over:
            for address in door.close_issues(key=alert.key, news=news):
                say(f"Over, so closed: {address}")
        else:
            say(f"Told people: {door.open_or_update_issue(key=alert.key, title=alert.title, body=body, state=alert.state, news=news)}")
    except ForgeError as error:  # the verdict stands, and the run shows it
        if alert.over:  # a job that may not write issues, such as ci's, has nothing to say of them
            say(f"Whether the issue {alert.title!r} is open was not seen, or it could not be closed. {error}")
        else:
            annotate("warning", f"The issue {alert.title!r} was not opened. {error}")


def _remedy(words: str) -> str:
    if "not permitted to create or approve pull requests" in words:
        return (
            'Switch on "Allow GitHub Actions to create and approve pull requests" (Settings > Actions > General > Workflow permissions), '
            "or store a token of your own as the secret MODELYARD_TOKEN. "
            "The release branch is pushed: you can open the pull request by hand."
        )
    return "Check the token's permissions: `contents: write`, `pull-requests: write`, `issues: write`."


def _append(path: str, text: str) -> None:
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(text)
