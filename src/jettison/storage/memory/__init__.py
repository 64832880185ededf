"""A storage in memory: for tests, and for users of the Python API who want a double.

It keeps every promise of :mod:`jettison.storage.protocol` but one: nothing outlives the process.
"""

from jettison.storage.memory.storage import MemoryStorage

__all__ = ["MemoryStorage"]
