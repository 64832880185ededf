"""The rules of ``jettison.access``: users, repositories, and what they may do there. Pure.

An action that no rule allows is denied; rules add up. Globs are those of the command line: ``*``
matches ``/`` too. Two words in ``users`` are not names:

- ``*`` is everyone who was admitted. With a login configured, that takes a login.
- ``anonymous`` is everyone, with a login or without. It opens a registry with logins to the public;
  users with a login may do the same.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import translate
from typing import Final

from jettison.configuration.settings import AccessRule
from jettison.server.access.grant import AccessAction

__all__ = ["ANONYMOUS", "Permissions", "Rules"]

ANONYMOUS: Final = "anonymous"
EVERYBODY: Final = "*"
EVERYTHING: Final = "*"
_REMEMBERED: Final = 1024

_Match = Callable[[str], object]


class Permissions:
    """The rights of one user by the rules."""

    __slots__ = ("_everywhere", "_matches", "_somewhere")

    def __init__(self, rules: Iterable[AccessRule]) -> None:
        patterns: dict[AccessAction, set[str]] = {action: set() for action in AccessAction}
        for rule in rules:
            for name in rule.actions:
                patterns[AccessAction(name)].update(rule.repositories)
        self._everywhere = frozenset(a for a, found in patterns.items() if EVERYTHING in found)
        self._matches: dict[AccessAction, tuple[_Match, ...]] = {
            action: tuple(re.compile(translate(pattern)).match for pattern in sorted(found))
            for action, found in patterns.items()
        }
        self._somewhere = any(
            patterns[action] for action in (AccessAction.PULL, AccessAction.ADMIN)
        )

    def __repr__(self) -> str:
        counts = {str(action): len(found) for action, found in self._matches.items() if found}
        return f"Permissions({counts})"

    def allow(self, repository: str | None, action: AccessAction) -> bool:
        """Whether a rule allows ``action``; None is the registry itself.

        For the registry, ``PULL`` is allowed to users who may see anything in the catalog; all
        other actions need a rule for all repositories (``*``).
        """
        if action in self._everywhere:
            return True
        if repository is None:
            return action is AccessAction.PULL and self._somewhere
        return any(match(repository) for match in self._matches[action])

    def show(self, repository: str) -> bool:
        """Whether a rule lets the user pull ``repository``, or see it in the catalog."""
        return self.allow(repository, AccessAction.PULL) or self.allow(
            repository, AccessAction.ADMIN
        )


class Rules:
    """All rules of a configuration, by user; the latest users are remembered."""

    def __init__(self, rules: Sequence[AccessRule]) -> None:
        self._rules = tuple(rules)
        self.anonymous = Permissions(rule for rule in rules if ANONYMOUS in rule.users)
        """The rights without a login, where one is configured."""
        self._known: dict[str, Permissions] = {}

    def of(self, user: str) -> Permissions:
        """Return the rights of an admitted ``user``; "" is a user without a name."""
        found = self._known.get(user)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[user] = Permissions(r for r in self._rules if _meant(r, user))
        return found


def _meant(rule: AccessRule, user: str) -> bool:
    """Whether ``user`` is among those of ``rule``; only ``*`` matches the empty name."""
    return any(
        pattern in {EVERYBODY, ANONYMOUS} or (user and re.match(translate(pattern), user))
        for pattern in rule.users
    )
