"""Typed access to the keys of a configuration.

What is there and does not fit is noted as a problem, and the default is returned, so that reading
goes on and the next mistake is found too.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from jettison.configuration.addresses import parse_address
from jettison.configuration.document import Document, described
from jettison.configuration.keys import NEEDS_KEYS, kind
from jettison.configuration.problems import Problems, Scope, key_name
from jettison.configuration.quantities import parse_duration, parse_size
from jettison.errors import ConfigurationError

__all__ = ["Section"]

Choice = TypeVar("Choice", bound=str)
Default = TypeVar("Default")

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_NANOSECOND: Final = 1e-9
_SHORTEST: Final = 1e-3
"""Below this many seconds, a duration without a unit was hardly meant."""
_LARGEST: Final = 2**31


class Section:
    """The keys below one key; one that is not there has none.

    ``steps`` lead to it from the top of the document. What is wrong with a key matters for
    ``scope`` alone.
    """

    def __init__(
        self,
        document: Document,
        problems: Problems,
        steps: tuple[str | int, ...] = (),
        scope: Scope = "any",
    ) -> None:
        self._document = document
        self._problems = problems
        self._steps = steps
        self._scope = scope
        value = _follow(document.keys, steps)
        self._values: dict[Any, Any] = value if isinstance(value, dict) else {}
        if value is not None and not isinstance(value, dict):
            problems.add(self.name(), f"is {kind(value)}", NEEDS_KEYS, scope)

    def __contains__(self, key: str) -> bool:
        return self._values.get(key) is not None

    def __iter__(self) -> Iterator[str]:
        """Yield the keys that are texts; no other is known."""
        return iter([key for key in self._values if isinstance(key, str)])

    def __len__(self) -> int:
        return len(self._values)

    def holds(self, key: str) -> bool:
        """Whether a key is there, also one without a value."""
        return key in self._values

    def names(self) -> list[str]:
        """Return the keys as texts, also those that are none."""
        return [str(key) for key in self._values]

    def quoted(self, key: str) -> str:
        """Return a key in quotes, and the variable that set it."""
        return self._problems.quoted(self.name(key))

    def value(self, key: str) -> object:
        """Return what YAML makes of a key."""
        return self._values.get(key)

    def name(self, key: str = "") -> str:
        """Return the full name of a key, as messages say it."""
        return key_name((*self._steps, key) if key else self._steps)

    def bad(self, key: str, found: str, allowed: str) -> None:
        """Note that a key cannot be used as it is."""
        self._problems.add(self.name(key), found, allowed, self._scope)

    def warn(self, key: str, found: str) -> None:
        """Note something about a key that keeps no server from starting."""
        self._problems.warn(f"{self._problems.subject(self.name(key))} {found}")

    def only(self, scope: Scope) -> "Section":
        """Return the same section, whose problems matter for one purpose alone."""
        return Section(self._document, self._problems, self._steps, scope)

    def section(self, *keys: str) -> "Section":
        """Return the section below, key by key."""
        first, *rest = keys
        below = Section(self._document, self._problems, (*self._steps, first), self._scope)
        return below.section(*rest) if rest else below

    def sections(self, key: str) -> list["Section"]:
        """Return the entries of a list of sections."""
        value = self._values.get(key)
        if not isinstance(value, list):
            return []
        below = (*self._steps, key)
        found = []
        for index, item in enumerate(value):
            if isinstance(item, dict):
                found.append(Section(self._document, self._problems, (*below, index), self._scope))
            elif item is None:
                self.bad(f"{key}[{index}]", "is nothing", "It needs keys below it.")
        return found

    def text(self, key: str, *, secret: bool = False) -> str | None:
        """Return a text; None if there is none, or an empty one. No ``secret`` is in an error."""
        value = self._values.get(key)
        if value is None:
            return None
        found = self._written(value, (key,))
        if found is None:
            self.bad(key, f"is {_shown(value, secret=secret)}", "It is a text.")
        return found or None

    def needed(self, key: str, *, secret: bool = False) -> str:
        """Return a text that must be there."""
        found = self.text(key, secret=secret)
        if found is None and self._values.get(key) in (None, ""):
            self.bad(key, "is missing", "It is a text.")
        return found or ""

    def path(self, key: str) -> Path | None:
        """Return the path of a file."""
        found = self.text(key)
        if found is not None and "\0" in found:
            self.bad(key, "holds a NUL character", "It is the path of a file.")
            return None
        return None if found is None else Path(found)

    def address(self, key: str, text: str) -> tuple[str, int] | None:
        """Return the host and the port of a text that stands at a key; None if it has none."""
        try:
            return parse_address(text)
        except ConfigurationError as error:
            self.bad(key, f"is {text[:80]!r}", error.hint or "")
            return None

    def choice(self, key: str, allowed: Sequence[Choice], default: Default) -> Choice | Default:
        """Return one of some words, in whichever case it is written."""
        found = self.text(key)
        if found is None:
            return default
        for word in allowed:
            if word == found.lower():
                return word
        self.bad(key, f"is {_shown(found)}", f"Allowed are {_listed(allowed)}.")
        return default

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self._values.get(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.bad(key, f"is {_shown(value)}", "It is true or false, without quotes.")
        return default

    def whole(self, key: str, default: int, least: int = 0, most: int = _LARGEST) -> int:
        """Return a whole number."""
        value = self._values.get(key)
        if value is None:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            allowed = f"It is a whole number, {least} to {most}."
            if most == _LARGEST:
                allowed = f"It is a whole number, {least} or more."
            self.bad(key, f"is {_shown(value)}", allowed)
            return default
        return value

    def size(self, key: str, default: int, least: int, most: int) -> int:
        """Return bytes: a number, or a text with a unit."""
        value = self._values.get(key)
        if value is None:
            return default
        found = parse_size(value) if isinstance(value, str) else value
        if isinstance(found, bool) or not isinstance(found, int) or not least <= found <= most:
            allowed = f"It is a size such as 64KiB or 4MiB, {least} to {most} bytes."
            self.bad(key, f"is {_shown(value)}", allowed)
            return default
        return found

    def seconds(self, key: str, default: float, *, unit: bool = False, zero: bool = True) -> float:
        """Return a duration; a number without a unit is nanoseconds, unless ``unit`` asks for one.

        A zero that is not allowed is an error with ``unit``, and otherwise the default.
        """
        value = self._values.get(key)
        if value is None:
            return default
        found = parse_duration(value) if isinstance(value, str) else None
        if isinstance(value, int) and not isinstance(value, bool) and not unit:
            found = value * _NANOSECOND if abs(value) < _LARGEST**2 else None
            if found is not None and 0 < found < _SHORTEST:
                self.warn(key, f"is {value} nanoseconds; {value}s would be seconds")
        if found is None or found < 0 or (unit and not zero and found == 0):
            allowed = "It is a duration such as 30s, 1m30s or 168h."
            self.bad(key, f"is {_shown(value)}", allowed)
            return default
        return found if found > 0 or zero else default

    def texts(self, key: str, *, secret: bool = False, needed: bool = False) -> tuple[str, ...]:
        """Return a list of texts, none of them empty; of at least one if it is ``needed``."""
        value = self._values.get(key)
        if needed and value in (None, []):
            self.bad(key, "is missing", "It is a list of texts, such as [a, b].")
        if value is None:
            return ()
        if not isinstance(value, list):
            found = f"is {_shown(value, secret=secret)}"
            self.bad(key, found, "It is a list of texts, such as [a, b].")
            return ()
        texts = []
        for index, item in enumerate(value):
            text = self._written(item, (key, index))
            if text:
                texts.append(text)
            else:
                found = f"is {_shown(item, secret=secret)}"
                self.bad(f"{key}[{index}]", found, "It is a text.")
        return tuple(texts)

    def paths(self, key: str) -> tuple[Path, ...]:
        """Return a list of paths."""
        paths = self.texts(key)
        if any("\0" in path for path in paths):
            self.bad(key, "holds a NUL character", "It is a list of paths.")
        return tuple(map(Path, paths))

    def headers(self, key: str) -> dict[str, tuple[str, ...]]:
        """Return headers, each a list of values; no value is in an error."""
        section = self.section(key)
        found = {}
        for name in section:
            if not _HEADER_NAME.fullmatch(name):
                self.bad(key, f"has the name {_shown(name)}", "A header's name has no such sign.")
                continue
            values = section.texts(name, secret=True)
            if all(_HEADER_VALUE.fullmatch(value) for value in values):
                found[name] = values
            else:
                section.bad(name, "holds a control sign", "A header's value is Latin-1, one line.")
        return found

    def _written(self, value: object, steps: tuple[str | int, ...]) -> str | None:
        """Return a text, also where YAML makes something else of it, as it is written."""
        if value is None or isinstance(value, str | dict | list):
            return value if isinstance(value, str) else None
        written: object = None
        with contextlib.suppress(ConfigurationError):
            written = _follow(self._document.as_written, (*self._steps, *steps))
        return written if isinstance(written, str) else None


def _follow(value: object, steps: Sequence[str | int]) -> object:
    for step in steps:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def _shown(value: object, *, secret: bool = False) -> str:
    if isinstance(value, str) and (secret or "@" in value):
        return "a text"
    return "something else" if secret else described(value)


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
