"""What every verb returns, and how the world is told: terminal, step summary, outputs, exit code."""

from __future__ import annotations

from dataclasses import dataclass, field

from modelyard.errors import EXIT_DONE, EXIT_NEGATIVE


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
        Title of the issue that tells people, where there is a forge; empty for none.
    """

    verdict: str
    summary: str
    positive: bool = True
    outputs: dict[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    alert: str = ""

    @property
    def exit_code(self) -> int:
        """0, or 10 where the verdict is negative."""
        return EXIT_DONE if self.positive else EXIT_NEGATIVE
