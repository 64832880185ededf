"""Patterns of a policy: globs, regular expressions, ranges of versions.

``v1*`` is a glob of the whole name, ``re:v[0-9]+`` a regular expression that has to match the whole
name (RE2: it takes linear time, whoever wrote it), ``semver:>=1.2 <2`` a range of semantic versions
as npm writes it. A list of patterns means any of them.
"""

import fnmatch
import functools
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, Self

import re2

from jettison.errors import InvalidPolicy
from jettison.model.retention.versions import parse_range, version_of

__all__ = ["Grouping", "Matcher", "Pattern", "is_expression", "is_range", "matcher"]

_HINT: Final = "Write a glob of the whole name, re:EXPRESSION, or semver:RANGE."

_SETS: Final = "Write [a-z] for one of these signs, and [!a-z] for any other sign."

Matcher = Callable[[str], bool]

_EXPRESSION: Final = "re:"
_VERSIONS: Final = "semver:"
_LONGEST: Final = 1000
_SET: Final = re.compile(r"\[(!?)(\]?[^\]]*)\]")
_SPAN: Final = re.compile(r"([^-])-([^-])")


class Pattern(str):
    """A pattern of names; raises :class:`InvalidPolicy` for what is none."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check ``text`` and take it as it is."""
        _compiled(text)
        return super().__new__(cls, text)


class Grouping(str):
    """An expression (``re:…``) whose captured part is the group that a tag belongs to."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check ``text`` and take it as it is."""
        if not text.startswith(_EXPRESSION):
            message = f"{text!r} captures nothing"
            raise InvalidPolicy(message, hint="Write re:(?P<branch>.+)-[0-9a-f]{7}")
        if _expression(text).groups == 0:
            message = f"{text!r} has no group"
            raise InvalidPolicy(message, hint="Put what divides the tags in parentheses: (…)")
        return super().__new__(cls, text)

    def of(self, name: str) -> str | None:
        """Return the group of a name, or None if the expression does not match it.

        It is what the named groups capture, joined by ``/``; without any, the first group.
        """
        match = _expression(self).fullmatch(name)
        if match is None:
            return None
        parts = match.groupdict().values() if match.groupdict() else match.groups()[:1]
        return "/".join(part or "" for part in parts)


def is_expression(pattern: str) -> bool:
    """Whether a pattern is a regular expression."""
    return pattern.startswith(_EXPRESSION)


def is_range(pattern: str) -> bool:
    """Whether a pattern is a range of versions."""
    return pattern.startswith(_VERSIONS)


def matcher(patterns: Iterable[str]) -> Matcher:
    """Return a function that tells whether a name matches any of the patterns."""
    compiled = [_compiled(text) for text in patterns]
    if len(compiled) == 1:
        return compiled[0]
    return lambda name: any(one(name) for one in compiled)


@functools.lru_cache(1024)
def _compiled(text: str) -> Matcher:
    if not text:
        raise InvalidPolicy("an empty pattern matches nothing", hint=_HINT)
    if len(text) > _LONGEST:
        raise InvalidPolicy(f"a pattern has more than {_LONGEST} characters")
    if text.startswith(_EXPRESSION):
        if text == _EXPRESSION:
            raise InvalidPolicy("an empty expression matches nothing", hint=_HINT)
        expression = _expression(text)
        return lambda name: expression.fullmatch(name) is not None
    if text.startswith(_VERSIONS):
        return _versions(text.removeprefix(_VERSIONS).strip())
    if text in {"*", "**"}:
        return lambda _: True
    _check_sets(text)
    glob = re.compile(fnmatch.translate(text))
    return lambda name: glob.match(name) is not None


def _check_sets(glob: str) -> None:
    """Raise for a set of signs that other programs read otherwise, or that no sign is in.

    ``[^v]`` is any sign but v to shells, Go and Java, and ``^`` or v to Python and POSIX.
    """
    rest = _SET.sub("", glob)
    if "[" in rest or "]" in rest:
        raise InvalidPolicy(f"{glob!r} has a [ without ], or a ] without [", hint=_SETS)
    for negated, signs in _SET.findall(glob):
        if not signs:
            raise InvalidPolicy(f"{glob!r} has a set of nothing", hint=_SETS)
        if signs.startswith("^") and not negated:
            raise InvalidPolicy(f"{glob!r} has [^, which is not the same everywhere", hint=_SETS)
        for first, last in _SPAN.findall(signs):
            if first > last:
                raise InvalidPolicy(f"{glob!r} has {first}-{last}, which is nothing", hint=_SETS)


@functools.lru_cache(1024)
def _expression(text: str) -> Any:  # noqa: ANN401 - the library has no types
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text.removeprefix(_EXPRESSION), options)
    except re2.error as error:
        reason = error.args[0] if error.args else "unknown"
        if isinstance(reason, bytes):
            reason = reason.decode(errors="replace")
        message = f"{text!r} is no RE2 expression: {reason}"
        raise InvalidPolicy(message, hint="See https://github.com/google/re2/wiki/Syntax") from None


def _versions(text: str) -> Matcher:
    is_in_range = parse_range(text)
    if is_in_range is None:
        message = f"{text!r} is no range of versions"
        raise InvalidPolicy(message, hint="Write >=1.2 <2, ^1.4 or 1.x.")

    def matches(name: str) -> bool:
        version = version_of(name)
        return version is not None and is_in_range(version)

    return matches
