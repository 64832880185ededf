"""The problems of a configuration, collected so that one error reports all of them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from jettison.errors import ConfigurationError

__all__ = ["Problem", "Problems", "Purpose", "Scope", "key_name", "refusal"]

Purpose = Literal["serving", "storage", "editing"]
"""What a configuration is read for: to serve as it says, to work on its storage, to edit it."""

Scope = Literal["any", "opening", "serving", "storage"]
"""What a problem prevents. ``opening`` is opening the storage, for serving or for work on it."""

_MATTERS: Final[dict[Purpose, frozenset[Scope]]] = {
    "serving": frozenset({"any", "opening", "serving"}),
    "storage": frozenset({"any", "opening", "storage"}),
    "editing": frozenset({"any"}),
}


class Problem(msgspec.Struct, frozen=True):
    """A key that cannot be used as it is; ``found`` says why, ``allowed`` what it may be.

    ``variable`` is that of the environment which set the key, None if the file did.
    """

    key: str
    found: str
    allowed: str
    scope: Scope = "any"
    variable: str | None = None

    @property
    def message(self) -> str:
        """``http.addr (set by REGISTRY_HTTP_ADDR) is 'x'``."""
        return f"{self.key}{_set_by(self.variable)} {self.found}"


class Problems:
    """Errors and warnings about one configuration; no secret is given to it."""

    def __init__(self) -> None:
        self.variables: dict[str, str] = {}
        """The variables that set a key, by its name."""
        self._errors: dict[tuple[str, str, str], Scope] = {}
        self._warnings: dict[str, None] = {}

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The keys that cannot be used."""
        return tuple(
            Problem(key, found, allowed, scope, self._variable(key))
            for (key, found, allowed), scope in self._errors.items()
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about what does not keep the server from starting."""
        return tuple(self._warnings)

    def add(self, key: str, found: str, allowed: str, scope: Scope = "any") -> None:
        """Note that a key cannot be used as it is: "``key`` ``found``", and what it should be."""
        before = self._errors.setdefault((key, found, allowed), scope)
        if before != scope:
            self._errors[key, found, allowed] = "any"

    def warn(self, sentence: str) -> None:
        """Note a sentence about something that keeps no server from starting."""
        self._warnings[sentence] = None

    def subject(self, key: str) -> str:
        """Return a key, and the variable that set it."""
        return f"{key}{_set_by(self._variable(key))}"

    def quoted(self, key: str) -> str:
        """Return the last part of a key in quotes, and a variable that set it or a key below."""
        name = repr(key.rpartition(".")[2][:40])
        below = [
            variable for set_, variable in self.variables.items() if set_.startswith(f"{key}.")
        ]
        return f"{name}{_set_by(self._variable(key) or next(iter(below), None))}"

    def _variable(self, key: str) -> str | None:
        found = [name for name in self.variables if f"{key}.".startswith((f"{name}.", f"{name}["))]
        return self.variables[max(found, key=len)] if found else None


def refusal(
    path: Path | None, problems: Iterable[Problem], purpose: Purpose
) -> ConfigurationError | None:
    """Return one error that reports the problems that prevent ``purpose``; None without any."""
    grave = [problem for problem in problems if problem.scope in _MATTERS[purpose]]
    if not grave:
        return None
    if len(grave) == 1:
        return ConfigurationError(f"{path}: {grave[0].message}", hint=grave[0].allowed or None)
    lines = [f"  {problem.message}. {problem.allowed}".rstrip() for problem in grave]
    message = "\n".join([f"{path}: {len(lines)} keys cannot be used:", *lines])
    return ConfigurationError(message, hint=f"Mend them, and look again: jettison check {path}")


def key_name(steps: Sequence[str | int]) -> str:
    """Return the full name of a key, as messages say it: ``health.http[0].uri``."""
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _set_by(variable: str | None) -> str:
    return "" if variable is None else f" (set by {variable})"
