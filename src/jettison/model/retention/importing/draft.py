"""What an import makes: a policy, what it asks, and what it could not translate."""

import re
from collections.abc import Iterable
from typing import Any, Final, Literal, TypeVar

import msgspec

from jettison.model.digest import Digest
from jettison.model.retention.patterns import Pattern
from jettison.model.retention.period import Period
from jettison.model.retention.policy import Keep, Policy, Protect, Remove, Rule

__all__ = ["Draft", "Imported"]

_SAID: Final = re.compile(
    r"(?<![\w.])(\d{1,6})[ -]*(days?|weeks?|d|w|images?|versions?|tags?)\b", re.IGNORECASE
)
_DAYS: Final = {"d": 1, "w": 7}


class Imported(msgspec.Struct, frozen=True):
    """An imported policy, whose ``questions`` are both of the others.

    ``questions`` are for a person to answer, ``untranslated`` is what keeps since it has no
    equivalent.
    """

    policy: Policy
    questions: tuple[str, ...]
    untranslated: tuple[str, ...]


class Draft:
    """An import while it is made."""

    def __init__(self, title: str, repositories: Iterable[Pattern] = ()) -> None:
        self._title = title
        self._repositories = tuple(repositories)
        self._rules: list[Rule] = []
        self._protected: list[Pattern] = []
        self._digests: list[Digest] = []
        self._questions: list[str] = []
        self._untranslated: list[str] = []

    def add(
        self,
        name: str,
        *,
        keep: Keep | None = None,
        remove: Remove | Literal["rest", "all"] | None = None,
        **settings: Any,  # noqa: ANN401 - each of Rule's own type
    ) -> None:
        """Add a rule about the repositories of the draft, unless ``settings`` name others.

        One that would do nothing is left out.
        """
        if keep is not None:
            keep = _without_zero(keep, "within", "pulled_within")
        if isinstance(remove, Remove):
            remove = _without_zero(remove, "older_than", "not_pulled_within")
        if keep == Keep():
            keep = None
        if keep is None and remove is None:
            return
        if self._repositories:
            settings.setdefault("repositories", self._repositories)
        taken = {rule.name for rule in self._rules}
        unique, number = name, 2
        while unique in taken:
            unique, number = f"{name} ({number})", number + 1
        self._rules.append(Rule(name=unique, keep=keep, remove=remove, **settings))

    def protect(self, patterns: Iterable[Pattern] = (), digests: Iterable[Digest] = ()) -> None:
        """Add tags and digests that nothing removes."""
        self._protected += [one for one in patterns if one not in self._protected]
        self._digests += [one for one in digests if one not in self._digests]

    def ask(self, question: str) -> None:
        """Note a question, once."""
        if question not in self._questions:
            self._questions.append(question)

    def compare(self, name: str, text: str, *, days: float = 0, images: int = 0) -> None:
        """Ask if a text beside a rule tells only of other ``days`` or ``images`` than the rule."""
        meant = days or images
        said = {
            float(found[1]) * (_DAYS[unit] if days else 1)
            for found in _SAID.finditer(text)
            if ((unit := found[2][0].lower()) in _DAYS) == bool(days)
        }
        if said and meant not in said:
            told = f"{meant:g} {'day' if days else 'image'}{'' if meant == 1 else 's'}"
            self.ask(f"{name} says {told}, and its text {text.strip()!r}. Which is meant?")

    def keep(self, what: str) -> None:
        """Note what is not translated, and so keeps."""
        if what not in self._untranslated:
            self._untranslated.append(what)

    def imported(self) -> Imported:
        """Return what was made."""
        untranslated = [f"Not translated: {what}" for what in self._untranslated]
        policy = Policy(
            rules=tuple(self._rules),
            protect=Protect(tags=tuple(self._protected), digests=tuple(self._digests)),
            description=f"Imported from {self._title}; read the questions before it runs.",
            questions=(*self._questions, *untranslated),
        )
        return Imported(policy, tuple(self._questions), tuple(self._untranslated))


_Part = TypeVar("_Part", Keep, Remove)
_SHORTEST: Final = Period("1s")


def _without_zero(part: _Part, *periods: str) -> _Part:
    """Return it with the shortest time in place of none: it keeps a little more."""
    zero = {name: _SHORTEST for name in periods if (found := getattr(part, name)) and found.is_zero}
    return msgspec.structs.replace(part, **zero)
