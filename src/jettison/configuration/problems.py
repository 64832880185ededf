"""What is wrong with a configuration, collected so that all of it is said at once."""

from pathlib import Path

from jettison.errors import ConfigurationError

__all__ = ["Problems"]


class Problems:
    """Errors and warnings about one file; no secret is given to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._errors: list[tuple[str, str]] = []
        self._warnings: list[str] = []

    def add(self, key: str, found: str, allowed: str) -> None:
        """Note that a key cannot be used as it is: "``key`` ``found``", and what it should be."""
        self._note(f"{key} {found}", allowed)

    def include(self, error: ConfigurationError) -> None:
        """Note an error that somebody else raised about the same file."""
        self._note(error.message.removeprefix(f"{self._path}: "), error.hint or "")

    def warn(self, sentence: str) -> None:
        """Note something that does not keep the server from starting."""
        if sentence not in self._warnings:
            self._warnings.append(sentence)

    def settle(self) -> tuple[str, ...]:
        """Return the warnings; raise one ConfigurationError if there are errors."""
        if not self._errors:
            return tuple(self._warnings)
        if len(self._errors) == 1:
            [(message, hint)] = self._errors
            raise ConfigurationError(f"{self._path}: {message}", hint=hint or None)
        lines = [f"  {message}. {hint}".rstrip() for message, hint in self._errors]
        heading = f"{self._path}: {len(lines)} keys cannot be used:"
        raise ConfigurationError("\n".join([heading, *lines]))

    def _note(self, message: str, hint: str) -> None:
        if (message, hint) not in self._errors:
            self._errors.append((message, hint))
