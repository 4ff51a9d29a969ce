"""People as git, the forge and files name them. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

from modelyard.git import NOBODY


@dataclass(frozen=True)
class Person:
    """Somebody: a name, and the mail address or login that tells people apart; one of them may be empty."""

    name: str
    id: str

    @classmethod
    def parse(cls, text: str) -> Person:
        """Read ``Name <mail>``, a name, or a mail address or login alone."""
        found = re.fullmatch(r"\s*(.*?)\s*<\s*([^<>]+?)\s*>\s*", text)
        if found:
            return cls(found[1], found[2])
        return cls("", text.strip()) if "@" in text else cls(text.strip(), "")

    def __str__(self) -> str:
        return self.name or self.id

    def is_same(self, other: Person) -> bool:
        """Whether both may be one person: same address or login, or same name."""
        return bool(self._words() & other._words())

    @property
    def is_bot(self) -> bool:
        """Whether no human is behind the name: a forge's bot, or who jobs commit as."""
        return self.name.endswith("[bot]") or self.id.endswith("[bot]") or "[bot]@" in self.id or self.id == NOBODY

    def _words(self) -> set[str]:
        return {" ".join(word.casefold().split()) for word in (self.name, self.id) if word.strip()}
