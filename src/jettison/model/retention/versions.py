"""Semantic versions of tags, and ranges of them as npm reads them.

https://github.com/npm/node-semver#ranges is the grammar: ``>=1.2 <2``, ``^1.4``, ``~1.2.3``,
``1.x``, ``1.2 - 2.3``, ``||`` between alternatives. A pre-release is in a range only if a bound of
that alternative is a pre-release of the same three numbers.
"""

import functools
import re
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

__all__ = ["Range", "Version", "parse_range", "version_of"]

_NUMBER: Final = r"(?:0|[1-9][0-9]{0,17})"
_MARKS: Final = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_TAG: Final = re.compile(
    rf"[vV]?({_NUMBER})(?:\.({_NUMBER})(?:\.({_NUMBER})(?:\.[0-9]{{1,18}})?)?)?"
    rf"(?:-({_MARKS}))?(?:_[0-9A-Za-z.-]+)?"
)
_ANY: Final = rf"(?:{_NUMBER}|[xX*])"
_PARTIAL: Final = rf"[vV=]?\s*({_ANY})(?:\.({_ANY})(?:\.({_ANY})(?:-({_MARKS}))?)?)?(?:\+{_MARKS})?"
_BOUND: Final = re.compile(rf"(>=|<=|>|<|=|\^|~|)\s*{_PARTIAL}(?=\s|$)")
_MINOR: Final = 2
_WHOLE: Final = 3
_BETWEEN: Final = re.compile(rf"\s*{_PARTIAL}\s+-\s+{_PARTIAL}\s*")

Mark: TypeAlias = tuple[int, int, str]


class Version(NamedTuple):
    """A version that sorts as semantic versions do.

    ``marks`` are those of a pre-release; a release is later than all of its pre-releases.
    """

    major: int
    minor: int
    patch: int
    is_release: bool = True
    marks: tuple[Mark, ...] = ()

    @property
    def numbers(self) -> tuple[int, int, int]:
        """The three numbers."""
        return self[:3]


class _Bound(NamedTuple):
    """One comparison that a version has to hold against another."""

    holds: Callable[[Version, Version], bool]
    version: Version


_LOWEST: Final = Version(0, 0, 0, is_release=False, marks=((0, 0, ""),))
_NOTHING: Final = _Bound(Version.__lt__, _LOWEST)

_SIGNS: Final[dict[str, Callable[[Version, Version], bool]]] = {
    "": Version.__eq__,
    "=": Version.__eq__,
    "<": Version.__lt__,
    "<=": Version.__le__,
    ">": Version.__gt__,
    ">=": Version.__ge__,
}

Range = Callable[[Version], bool]
"""Whether a version is in a range."""


@functools.lru_cache(65536)
def version_of(tag: str) -> Version | None:
    """Return the semantic version that a tag is, or None.

    A ``v`` may come first, and the last numbers may be missing: ``v1.2`` is 1.2.0. A fourth number
    is not compared: ``1.2.3.4`` is 1.2.3. Nor is build metadata, which follows an underscore, since
    a tag has no ``+``.
    """
    found = _TAG.fullmatch(tag)
    if found is None:
        return None
    major, minor, patch, marks = found.groups()
    return _version(int(major), int(minor or 0), int(patch or 0), marks)


def parse_range(text: str) -> Range | None:
    """Return the range that a text is, or None if it is none."""
    alternatives = [_alternative(part) for part in text.split("||")]
    bounds = [found for found in alternatives if found is not None]
    if len(bounds) < len(alternatives):
        return None
    return lambda version: any(_holds(some, version) for some in bounds)


def _version(major: int, minor: int, patch: int, marks: str | None = None) -> Version:
    if marks is None:
        return Version(major, minor, patch)
    # Numbers are compared as such, and come before words.
    parts = tuple(
        (0, int(mark), "") if mark.isdigit() else (1, 0, mark) for mark in marks.split(".")
    )
    return Version(major, minor, patch, is_release=False, marks=parts)


def _holds(bounds: list[_Bound], version: Version) -> bool:
    if not all(bound.holds(version, bound.version) for bound in bounds):
        return False
    return version.is_release or any(
        not bound.version.is_release and bound.version.numbers == version.numbers
        for bound in bounds
    )


def _alternative(text: str) -> list[_Bound] | None:
    """Return the bounds that have to hold together, or None if the text is wrong."""
    between = _BETWEEN.fullmatch(text)
    if between is not None:
        first, last = between.groups()[:4], between.groups()[4:]
        return [*_bounds(">=", *first), *_bounds("<=", *last)]
    found: list[_Bound] = []
    rest = text.strip()
    if not rest:
        return None
    while rest:
        match = _BOUND.match(rest)
        if match is None:
            return None
        found += _bounds(*match.groups())
        rest = rest[match.end() :].lstrip()
    return found


def _bounds(
    sign: str, first: str, second: str | None, third: str | None, marks: str | None
) -> list[_Bound]:
    """Return the bounds that a sign and a version, perhaps in part, stand for."""
    numbers: list[int] = []
    for text in (first, second, third):
        if text is None or text in "xX*":
            break
        numbers.append(int(text))
    whole = len(numbers) == _WHOLE
    low = _version(*_filled(numbers), marks if whole else None)
    if not numbers:
        return [_NOTHING] if sign in {"<", ">"} else []
    if whole and sign in _SIGNS:
        return [_Bound(_SIGNS[sign], low)]
    if sign == ">=":
        return [_Bound(Version.__ge__, low)]
    if sign == "<":
        return [_Bound(Version.__lt__, _first_of(low))]
    if sign == "^":
        place = next((place for place, number in enumerate(numbers, 1) if number), len(numbers))
    else:
        place = min(len(numbers), _MINOR)
    after = _version(*_filled([*numbers[: place - 1], numbers[place - 1] + 1]))
    if sign == ">":
        return [_Bound(Version.__ge__, after)]
    before = _Bound(Version.__lt__, _first_of(after))
    return [before] if sign == "<=" else [_Bound(Version.__ge__, low), before]


def _filled(numbers: list[int]) -> tuple[int, int, int]:
    major, minor, patch = (*numbers, 0, 0, 0)[:_WHOLE]
    return major, minor, patch


def _first_of(version: Version) -> Version:
    """Return the first pre-release of a version."""
    return version._replace(is_release=False, marks=_LOWEST.marks)
