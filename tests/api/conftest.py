"""Files here are as old as their modification time says."""

from tests.support.arrival import arrived_when_written

__all__ = ["arrived_when_written"]
