"""Durations as Go writes them, and sizes."""

import re
from typing import Final

__all__ = ["parse_duration", "parse_size"]

_UNITS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_SIZES: Final = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}
_SIZE: Final = re.compile(r"([0-9]{1,18}) ?([kmg]i?b|b|)", re.IGNORECASE | re.ASCII)
_LONGEST: Final = 64
_MAX_SECONDS: Final = 2**63 / 1e9


def parse_duration(text: str) -> float | None:
    """Return the seconds of ``168h`` or ``1m30s``; None if it is no duration that Go can hold.

    As in Go there is no ``d``, and only zero stands without a unit.
    """
    sign, digits = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    if digits == "0":
        return 0.0
    parts = _PART.findall(digits) if len(digits) <= _LONGEST else []
    if not parts or "".join(number + unit for number, unit in parts) != digits:
        return None
    seconds = sign * sum(float(number) * _UNITS[unit] for number, unit in parts)
    return seconds if abs(seconds) < _MAX_SECONDS else None


def parse_size(text: str) -> int | None:
    """Return the bytes of ``4MiB``, ``4 MB`` or ``4096``; None if it is no size."""
    found = _SIZE.fullmatch(text.strip())
    return int(found[1]) * _SIZES[found[2].lower()] if found else None
