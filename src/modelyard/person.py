"""People as git, the forge and files name them, and how they approved a release. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, cast, get_args

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


#: How an approval is known. review, merge: who approved, or merged, the release pull request on the forge; commit: the author of the commit
#: by which the record came to main; trailer: ``Approved-by`` in git; policy: the level asks for nobody; noted: the registry has the name.
How = Literal["review", "merge", "commit", "trailer", "policy", "noted"]


@dataclass(frozen=True)
class Approval:
    """Who approved a release, how that is known, when it was given where that is known, and the roles that the person had."""

    person: Person
    how: How
    when: datetime | None = None
    roles: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As the registry notes it, for :func:`noted` to read: ``Ann <ann@example.org> (trailer 2013-06-01T10:02:00+00:00; risk)``."""
        name, address = self.person.name, self.person.id
        return self._told(f"{name} <{address}>" if name and address else name or address, "%Y-%m-%dT%H:%M:%S+00:00")

    @property
    def brief(self) -> str:
        """Without address and hour: ``Ann (trailer 2013-06-01; risk)``."""
        return self._told(str(self.person), "%Y-%m-%d")

    def _told(self, who: str, time: str) -> str:
        when = f" {self.when.astimezone(UTC):{time}}" if self.when else ""
        roles = f"; {', '.join(map(_bare, self.roles))}" if self.roles else ""
        return f"{_bare(who)} ({self.how}{when}{roles})"


def _bare(text: str) -> str:
    """Without what parts approvals, so that a name cannot add one."""
    return " ".join(re.sub(r"[();,]", " ", text).split()) or "?"


_NOTED = re.compile(rf"([^()]+) \(({'|'.join(get_args(How))})(?: (\d[^\s;()]*))?(?:; ([^()]+))?\)(?:, |$)")


def noted(text: str) -> list[Approval]:
    """Read approvals with commas between; of what has another form, as older notes have, each part is a name."""
    found = [each.groups() for each in _NOTED.finditer(text)]
    try:
        if found and not _NOTED.sub("", text):
            return [_noted(*each) for each in found]
    except ValueError:  # no date
        pass
    return [Approval(Person.parse(name), "noted") for name in text.split(", ") if name.strip()]


def _noted(who: str, how: str, when: str | None, roles: str | None) -> Approval:
    person = Person("", who) if how in ("review", "merge") else Person.parse(who)
    return Approval(person, cast("How", how), datetime.fromisoformat(when) if when else None, tuple(roles.split(", ")) if roles else ())


def once(approvals: Iterable[Approval], holders: Mapping[str, Sequence[str]]) -> list[Approval]:
    """Those by people, the first of each, with the roles that they have by who holds which."""
    kept: list[Approval] = []
    for each in approvals:
        if not each.person.is_bot and not any(each.person.is_same(other.person) for other in kept):
            roles = (role for role, words in holders.items() if any(each.person.is_same(Person.parse(word)) for word in words))
            kept.append(replace(each, roles=tuple(roles)))
    return kept
