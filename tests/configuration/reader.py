"""Reading of small configurations."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from jettison.configuration import Configuration, read_configuration
from jettison.errors import ConfigurationError

MINIMAL = "version: 0.1\nstorage:\n  filesystem: {rootdirectory: /data}\n"


class Reader:
    """Reads what is added to the smallest configuration."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(
        self, text: str = "", environment: Mapping[str, str] | None = None
    ) -> Configuration:
        self.path.write_text(MINIMAL + text, encoding="utf-8")
        return read_configuration(self.path, environment or {}, "serving")

    def error(self, text: str, environment: Mapping[str, str] | None = None) -> str:
        with pytest.raises(ConfigurationError) as caught:
            self(text, environment)
        assert caught.value.message.startswith(f"{self.path}: ")
        said = f"{caught.value.message}. {caught.value.hint or ''}"
        return said.removeprefix(f"{self.path}: ")
