"""What every verb returns, and how the world is told: terminal, step summary, outputs, exit code."""

from __future__ import annotations

from dataclasses import dataclass, field

from modelyard.errors import EXIT_DONE, EXIT_NEGATIVE


@dataclass(frozen=True, kw_only=True)
class Alert:
    """What an issue tells people: opened once, kept up to date, closed when it is over.

    Parameters
    ----------
    key
        Who alerts of what, ``monitor:flights``: one issue of it is open at most.
    title
        Of the issue.
    body
        Markdown on how things stand now; empty for the outcome's summary.
    state
        What would be news in it: people are called again, by a comment, only where it has changed.
    news
        That comment, also where it is over.
    over
        Nothing alerts any more: the issue is closed, where one is open.
    """

    key: str
    title: str
    body: str = ""
    state: str = ""
    news: str = ""
    over: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of one verb.

    Parameters
    ----------
    verdict
        One word (``"promote"``, ``"invalid"``, ...), or empty where the verb judges nothing.
    summary
        Markdown for people; the verdict stands in its first line.
    positive
        ``False`` ends the command with exit code 10.
    outputs
        Outputs of the action, beside ``verdict``.
    problems
        One sentence each; become annotations on GitHub.
    alert
        The issue that tells people, where there is a forge; None where no issue is concerned.
    """

    verdict: str
    summary: str
    positive: bool = True
    outputs: dict[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    alert: Alert | None = None

    @property
    def exit_code(self) -> int:
        """0, or 10 where the verdict is negative."""
        return EXIT_DONE if self.positive else EXIT_NEGATIVE
