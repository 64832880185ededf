"""What the C library does with the memory of bodies that came in.

It gives memory back to the system as soon as half a megabyte is free at the end, and the next piece
of a body gets it again, page by page and zeroed: a quarter of the time of a large upload. So it
keeps some, and gives it back once there is none that needs it.
"""

import ctypes
from typing import Any, Final

__all__ = ["give_memory_back", "keep_memory"]

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
"""Names of parameters, from malloc.h of the GNU C library; others have no ``mallopt``."""

_KEPT: Final = 32 * 1024 * 1024
_SINGLE: Final = 1024 * 1024
"""What is larger gets memory of its own, and gives it back at once."""


def keep_memory() -> None:
    """Let up to 32 MiB of free memory stay with the process."""
    _call("mallopt", _TRIM_THRESHOLD, _KEPT)
    _call("mallopt", _MMAP_THRESHOLD, _SINGLE)


def give_memory_back() -> None:
    """Give free memory back to the system; takes a millisecond or so."""
    _call("malloc_trim", 0)


def _call(name: str, *values: int) -> None:
    function: Any = getattr(_library, name, None)
    if function is not None:
        function(*values)


_library: Final = ctypes.CDLL(None)
