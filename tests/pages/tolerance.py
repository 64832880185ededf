"""What a page may say otherwise than the program: the one place where that is written down.

A digest, an identity or a moment may be another of its kind. A size may be off by a tenth, as
compression is another with another zlib; what is nothing has to be nothing. Columns may be wider,
and adjacent lines that begin with the same word may stand in another order, which digests decide. A
line of `…` in a page stands for any lines, and a `…` that ends a line for its rest.
"""

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Final

__all__ = ["agrees", "differences"]

_ANY: Final = (
    (r"\1DIGEST", re.compile(r"\b(sha256[:-]|sha512[:-])[0-9a-f]{6,128}(?:…|\b)")),
    ("SHORT", re.compile(r"\b(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{12}\b")),
    ("RUN", re.compile(r"\b\d{8}T?-?\d{6}Z?(?:-[0-9a-z]+)+\b")),
    (
        "MOMENT",
        re.compile(
            r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?"
        ),
    ),
    ("DATE", re.compile(r"\b\d{4}-\d\d-\d\d\b")),
    ("DURATION", re.compile(r"\b\d+(?:\.\d+)? (?:ms|s)\b")),
    ("FREE", re.compile(r"\b\d[\d.,]* (?:[kMGT]?B|bytes) free\b")),
    ("FREE", re.compile(r"\bdisk free +\d[\d.,]* [kMGT]?B → \d[\d.,]* [kMGT]?B")),
)
_SIZE: Final = re.compile(r"(\d[\d,]*(?:\.\d+)?) (bytes?|B|kB|KB|MB|GB|TB)\b")
_UNITS: Final = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_OFF: Final = 0.1


def differences(said: Sequence[str], printed: Sequence[str]) -> list[str]:
    """What a page says and a program printed, where they do not agree; empty if they do."""
    if _lines_agree(_sorted(_trimmed(said)), _sorted(_trimmed(printed))):
        return []
    return ["the page:", *said, "the program:", *printed]


def agrees(said: str, printed: str) -> bool:
    """Whether a line of a page is what was printed."""
    plain_said, sizes_said = _plain(said)
    plain_printed, sizes_printed = _plain(printed)
    if plain_said.endswith("…"):
        begun = plain_said.removesuffix("…")
        return bool(begun) and plain_printed.startswith(begun.rstrip())
    near = all(_near(one, other) for one, other in zip(sizes_said, sizes_printed, strict=False))
    return plain_said == plain_printed and near


def _lines_agree(said: Sequence[str], printed: Sequence[str]) -> bool:
    if not said:
        return not printed
    if said[0].strip() == "…":
        return any(_lines_agree(said[1:], printed[at:]) for at in range(len(printed) + 1))
    return bool(printed) and agrees(said[0], printed[0]) and _lines_agree(said[1:], printed[1:])


def _plain(line: str) -> tuple[str, list[float]]:
    sizes = list[float]()

    def noted(match: re.Match[str]) -> str:
        sizes.append(float(match[1].replace(",", "")) * _UNITS.get(match[2][0], 1))
        return "SIZE"

    for name, pattern in _ANY:
        line = pattern.sub(name, line)
    return " ".join(_SIZE.sub(noted, line).split()), sizes


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= _OFF * max(one, other)


def _trimmed(lines: Sequence[str]) -> list[str]:
    text = "\n".join(line.rstrip() for line in lines).strip("\n")
    return text.split("\n") if text else []


def _sorted(lines: Sequence[str]) -> list[str]:
    """Sort adjacent lines that begin with the same word."""
    groups = groupby(lines, key=lambda line: (_plain(line)[0].split() or [""])[0])
    return [line for _, group in groups for line in sorted(group, key=_plain)]
