"""Enabling deletion in a configuration file, without changing a byte besides.

YAML that is read and written again comes out with other indents, quotes and line breaks, however
careful the library. So the parser is only asked *where* things are; the text is patched there, and
the result is parsed again and must be the old content with that one key set, or nothing is written.
"""

import contextlib
import copy
import os
import re
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from jettison.configuration.document import load_yaml
from jettison.configuration.reading import read_configuration
from jettison.errors import ConfigurationError, storage_errors

__all__ = ["Change", "enable_deletion"]

KEY: Final = "storage.delete.enabled"
_VALUE: Final = re.compile(r""""[^"\n]*"|'[^'\n]*'|[^\s,}\]#"'&*!|>][^\s,}\]#]*""")


class Change(msgspec.Struct, frozen=True):
    """What was done to a configuration file; ``changed`` is False if it was so already."""

    path: Path
    key: str
    changed: bool


def enable_deletion(path: Path) -> Change:
    """Set ``storage.delete.enabled: true`` in the file; all else stays byte for byte.

    The file is replaced in one step and keeps its mode and owner; a symbolic link to it stays one.
    Variables of the environment are not looked at. The registry must be restarted to see it.
    Raises :class:`~jettison.errors.ConfigurationError` if it is no configuration, or is written so
    that the key cannot be set safely, and :class:`~jettison.errors.StorageError` if the file
    cannot be replaced.
    """
    if read_configuration(path, {}, "editing").storage.delete_enabled:
        return Change(path, KEY, changed=False)
    with storage_errors("read", path):
        target = path.resolve(strict=True)
        raw = target.read_bytes()
    text = raw.decode("utf-8-sig")
    bom = "\ufeff" if raw.startswith(b"\xef\xbb\xbf") else ""
    wanted = copy.deepcopy(load_yaml(text, str(path)))
    storage = wanted["storage"]
    if isinstance(storage, str):
        wanted["storage"] = storage = {storage: {}}
    storage["delete"] = {**(storage.get("delete") or {}), "enabled": True}
    try:
        candidates = _candidates(text)
    except (LookupError, TypeError):  # merged from elsewhere: the parser knows no place for it
        candidates = []
    for patched in candidates:
        with contextlib.suppress(ConfigurationError):
            if load_yaml(patched, str(path)) == wanted:
                break
    else:
        message = f"{path}: {KEY} cannot be set without touching more than that"
        raise ConfigurationError(message, hint=f"Set {KEY}: true with an editor.")
    _replace(target, (bom + patched).encode())
    if not read_configuration(path, {}, "editing").storage.delete_enabled:
        raise ConfigurationError(f"{path}: {KEY} was set and is not read back as true")
    return Change(path, KEY, changed=True)


def _candidates(text: str) -> list[str]:
    """Return the texts that may be the wanted one, the least invasive first."""
    document = YAML(typ="rt", pure=True).load(text)
    lines = text.splitlines(keepends=True)
    ending = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    storage = document["storage"]
    if not isinstance(storage, CommentedMap):
        # Only the driver's name stands there.
        line, column = document.lc.value("storage")
        return _set_value(lines, line, column, f"{{{storage}: {{}}, delete: {{enabled: true}}}}")
    if "delete" not in storage:
        return _insert(lines, ending, document, "storage", "delete", "enabled: true")
    delete = storage["delete"]
    if delete is None:
        line, column = storage.lc.key("delete")
        indent = " " * (column + _step(document, storage))
        block = _add_line(lines, ending, line, f"{indent}enabled: true")
        end = column + len("delete:")
        first = lines[line]
        return [block, _join(lines, line, f"{first[:end]} {{enabled: true}}{first[end:]}")]
    if isinstance(delete, CommentedMap) and "enabled" in delete:
        line, column = delete.lc.value("enabled")
        key_line, key_column = delete.lc.key("enabled")
        found = _set_value(lines, line, column, "true")
        end = key_column + len("enabled:")
        first = lines[key_line]
        return [*found, _join(lines, key_line, f"{first[:end]} true{first[end:]}")]
    return _insert(lines, ending, storage, "delete", "enabled", "true")


def _set_value(lines: list[str], line: int, column: int, value: str) -> list[str]:
    """Put ``value`` in place of the scalar at a position."""
    if line >= len(lines):
        return []
    match = _VALUE.match(lines[line], column)
    if match is None:
        return []
    old = lines[line]
    return [_join(lines, line, old[: match.start()] + value + old[match.end() :])]


def _insert(
    lines: list[str], ending: str, parent: CommentedMap, name: str, key: str, value: str
) -> list[str]:
    """Add ``key`` to the mapping ``parent[name]``, as its first."""
    mapping = parent[name]
    line, column = parent.lc.key(name)
    if not isinstance(mapping, CommentedMap):
        return []
    nested = ":" in value
    if mapping.fa.flow_style() or not mapping:
        flow = f"{key}: {{{value}}}" if nested else f"{key}: {value}"
        opened = lines[line].find("{", column)
        if opened < 0:
            return []
        separator = ", " if len(mapping) else ""
        first = lines[line]
        return [_join(lines, line, f"{first[: opened + 1]}{flow}{separator}{first[opened + 1 :]}")]
    inner = _column(mapping)
    indent = " " * inner
    step = " " * max(inner - column, 1)
    added = f"{indent}{key}:{ending}{indent}{step}{value}" if nested else f"{indent}{key}: {value}"
    return [_add_line(lines, ending, line, added)]


def _step(document: CommentedMap, storage: CommentedMap) -> int:
    """Return by how many columns the file indents."""
    return max(_column(storage) - int(document.lc.key("storage")[1]), 1)


def _column(mapping: CommentedMap) -> int:
    keys: list[Any] = list(mapping)
    return int(mapping.lc.key(keys[0])[1])


def _add_line(lines: list[str], ending: str, after: int, added: str) -> str:
    before = "".join(lines[: after + 1])
    if not before.endswith(("\n", "\r")):
        before += ending
    rest = "".join(lines[after + 1 :])
    return before + added + (ending if rest or lines[-1].endswith("\n") else "") + rest


def _join(lines: list[str], line: int, replacement: str) -> str:
    return "".join([*lines[:line], replacement, *lines[line + 1 :]])


def _replace(target: Path, content: bytes) -> None:
    """Replace a file in one step, keeping its mode and, where that is allowed, its owner."""
    with storage_errors("replace", target):
        status = target.stat()
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        draft = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), status.st_mode & 0o7777)
                if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(file.fileno(), status.st_uid, status.st_gid)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
