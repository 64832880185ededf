"""Quantities of a policy as they are written: sizes and shares."""

import re
from typing import ClassVar, Final, Self

from jettison.errors import InvalidPolicy

__all__ = ["Share", "Size"]

_SIZE: Final = re.compile(r"(\d{1,15}(?:\.\d{1,3}(?=\s*[kKMGT]))?)\s*([kKMGT]i?)?B?")
_UNITS: Final = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY: Final = {"ki": 2**10, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_SHARE: Final = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)\s*%?")
_ALL: Final = 100


class Size(str):
    """A number of bytes: ``500MB``, ``2GiB``, ``1000``."""

    __slots__ = ()
    takes_numbers: ClassVar = True

    def __new__(cls, text: str | float) -> Self:
        """Check ``text``, or a number of bytes, and take it as it is."""
        text = str(text)
        if _SIZE.fullmatch(text) is None:
            raise InvalidPolicy(f"{text!r} is no size", hint="Write 500MB, 2GiB or 1000.")
        return super().__new__(cls, text)

    @property
    def bytes(self) -> int:
        """The number of bytes."""
        found = _SIZE.fullmatch(self)
        number, unit = found.groups() if found else ("0", "")
        return int(float(number) * {**_UNITS, **_BINARY}[unit or ""])


class Share(str):
    """A part of everything: ``30%``."""

    __slots__ = ()
    takes_numbers: ClassVar = True

    def __new__(cls, text: str | float) -> Self:
        """Check ``text``, or a percentage, and take it as it is."""
        text = str(text)
        found = _SHARE.fullmatch(text)
        if found is None or float(found[1]) > _ALL:
            raise InvalidPolicy(f"{text!r} is no share", hint="Write a percentage, such as 30%.")
        return super().__new__(cls, text)

    @property
    def value(self) -> float:
        """The share, from 0 to 1."""
        return float(self.rstrip("% ")) / _ALL
