"""How a storage in memory is."""

__all__ = ["MemoryMonitoring"]


class MemoryMonitoring:
    """Nothing can go wrong (:class:`~jettison.storage.protocol.Monitoring`)."""

    def check_health(self, *, write: bool) -> bool:  # noqa: ARG002 - there is no other way
        """Return True: it is there, and answers."""
        return True

    def capacity(self) -> None:
        """Return None: it is not known."""
