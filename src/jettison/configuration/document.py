"""A Distribution registry's configuration file as it is parsed, with the variables applied.

The file is YAML as Distribution's parser understands it. Variables ``REGISTRY_A_B`` override the
key ``a.b``, also one that the file does not have, their values parsed as YAML; ``REGISTRY_A_0`` is
the first entry of the list ``a``. No error quotes what may be a secret.
"""

import functools
import itertools
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jettison.errors import ConfigurationError
from jettison.storage.filesystem.folder import storage_errors

if TYPE_CHECKING:
    from ruamel.yaml import YAML

__all__ = [
    "PREFIX",
    "SECTIONS",
    "Document",
    "described",
    "is_override",
    "load_yaml",
    "read_document",
    "unknown_meaning",
]

PREFIX: Final = "REGISTRY_"
_NOT_OVERRIDES: Final = frozenset({"REGISTRY_CONFIGURATION_PATH", "REGISTRY_AUTH_FILE"})
"""The configuration's own path, and the containers tools' variable for their logins."""

_KUBERNETES: Final = re.compile(
    r"REGISTRY_(?:\w+_)??"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_KUBERNETES_PORT: Final = re.compile(r"REGISTRY_(?:\w+_)??PORT")
"""What a pod is given for each service whose name begins with ``registry`` (Kubernetes'
documentation of environment variables for services, and Docker's links before): addresses, and no
keys of a configuration."""

SECTIONS: Final = frozenset(
    {"version", "log", "loglevel", "storage", "auth", "middleware", "reporting", "http"}
    | {"notifications", "redis", "health", "proxy", "compatibility", "validation", "policy"}
    | {"catalog", "tags", "jettison"}
)
"""The top-level keys of Distribution 2.8 and 3.x, and ours."""

_FORKS: Final = frozenset({"database", "gc", "migration", "profiling", "rate_limiter"})
"""Top-level keys of GitLab's fork; ``database`` says who owns the tree, the others are harmless."""

_DRIVER_KEYS: Final = frozenset({"rootdirectory", "maxthreads"})

_QUOTING: Final = re.compile(
    r"""(for the tag|alias|anchor|tag handle|duplicate key "\w+"|timestamp) .*""", re.DOTALL
)
"""Up to where the parser's reasons are its own words; then they quote the file."""
_TRUE: Final = ("y", "Y", "yes", "Yes", "YES", "on", "On", "ON")
_FALSE: Final = ("n", "N", "no", "No", "NO", "off", "Off", "OFF")
_BOOLEANS: Final = frozenset({*_TRUE, *_FALSE})
"""What Go's YAML takes for true and false beside those words themselves."""
_BOOLEAN_TAG: Final = "tag:yaml.org,2002:bool"
_LONGEST: Final = 40
_TOO_LARGE: Final = 10**20
_MAX_INDEX_DIGITS: Final = 4

Level = dict[Any, Any] | list[Any]


class Document:
    """A parsed configuration file, with the variables applied.

    ``keys`` are its values; ``storage`` and ``auth`` given as a name alone are sections in it.
    """

    def __init__(self, path: Path, keys: dict[Any, Any], again: Callable[[], Any]) -> None:
        self.path = path
        self.keys = keys
        self._again = again

    @functools.cached_property
    def as_written(self) -> Any:  # noqa: ANN401 - as free as the keys
        """The same with every value as the text that stands there: ``0123`` is a password."""
        return self._again()


def read_document(
    path: Path,
    environment: Mapping[str, str],
    split: Callable[[str], list[str]] = lambda name: name.split("_"),
) -> Document:
    """Read a configuration file and apply the ``REGISTRY_…`` variables of ``environment``.

    ``split`` makes the keys from a variable's name, which it gets in lower case and without the
    prefix. Raises :class:`~jettison.errors.ConfigurationError` if there are no keys in it,
    :class:`~jettison.errors.StorageError` if it cannot be read.
    """
    with storage_errors("read", path):
        content = path.read_bytes()

    def load(*, as_written: bool) -> Any:  # noqa: ANN401 - YAML may be anything
        document = load_yaml(content, str(path), as_written=as_written)
        if not isinstance(document, dict):
            found = described(document)
            message = f"{path} is no registry configuration: it holds {found}, not keys"
            raise ConfigurationError(message, hint="It begins with: version: 0.1")
        _override(document, environment, split, as_written=as_written)
        for name in ("auth", "storage"):
            if isinstance(document.get(name), str):
                document[name] = {document[name]: {}}
        return document

    return Document(path, load(as_written=False), lambda: load(as_written=True))


def load_yaml(content: bytes | str, what: str, *, as_written: bool = False) -> Any:  # noqa: ANN401 - YAML may be anything
    """Parse one YAML document; raise ConfigurationError that says where in ``what`` it ends.

    ``as_written`` leaves every value the text that stands there: ``0123`` is a good password.
    """
    # Imported here: a collection of a folder reads no YAML, and is to start at once and stay small.
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415 - see above

    try:
        with warnings.catch_warnings():
            # That a name is given twice, with what stands there quoted.
            warnings.simplefilter("ignore")
            return _parser(as_written=as_written).load(content)
    except (YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        reason = getattr(error, "problem", None) or str(error).partition("\n")[0]
        # What is quoted may be a password.
        reason = _QUOTING.sub(r"\1", reason)
        raise ConfigurationError(f"{what} is not YAML{place}: {reason}") from None
    except RecursionError:
        raise ConfigurationError(f"{what} is nested too deep") from None
    except (ValueError, KeyError):
        reason = "a number, a date or a value with a tag cannot be read"
        raise ConfigurationError(f"{what} is not YAML: {reason}") from None


def _parser(*, as_written: bool) -> "YAML":
    from ruamel.yaml import YAML  # noqa: PLC0415 - as in load_yaml
    from ruamel.yaml.nodes import ScalarNode  # noqa: PLC0415 - same
    from ruamel.yaml.resolver import VersionedResolver  # noqa: PLC0415 - same
    from ruamel.yaml.tag import Tag  # noqa: PLC0415 - same

    class GoResolver(VersionedResolver):
        def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:  # noqa: ANN401 - ruamel's
            if kind is ScalarNode and implicit[0] and value in _BOOLEANS:
                return Tag(suffix=_BOOLEAN_TAG)
            return super().resolve(kind, value, implicit)

    if as_written:
        return YAML(typ="base", pure=True)
    parser = YAML(typ="safe", pure=True)
    parser.Resolver = GoResolver
    return parser


def is_override(variable: str, value: str = "") -> bool:
    """Whether a variable of the environment is meant for the registry's configuration."""
    if not variable.startswith(PREFIX) or variable in _NOT_OVERRIDES:
        return False
    if _KUBERNETES.fullmatch(variable):
        return False
    return not (_KUBERNETES_PORT.fullmatch(variable) and "://" in value)


def _names_section(variable: str) -> bool:
    """Whether a variable is about a key that may be one; a pipeline has REGISTRY_USER and such."""
    name = variable.removeprefix(PREFIX).lower()
    return name.partition("_")[0] in SECTIONS or name.startswith(tuple(_FORKS))


def unknown_meaning(keys: Mapping[Any, Any]) -> list[str]:
    """Return the keys that are not known and may change what the storage tree means.

    Those are sections at the top, and keys of the storage driver: a fork may keep its metadata
    elsewhere, and a misspelt ``rootdirectory`` names another tree. ``jettison.ignore`` lists what
    its owner knows to be harmless; so is what begins with ``x-`` or a dot, where YAML's anchors
    are kept.
    """
    ours = keys.get("jettison")
    ignored = ours.get("ignore") if isinstance(ours, dict) else None
    listed = ignored if isinstance(ignored, list) else [ignored]
    harmless = {name for name in listed if isinstance(name, str)}
    storage = keys.get("storage")
    driver = storage.get("filesystem") if isinstance(storage, dict) else None
    found = [str(key) for key in keys if key not in SECTIONS | _FORKS]
    if isinstance(driver, dict):
        found += [f"storage.filesystem.{key}" for key in driver if key not in _DRIVER_KEYS]
    return [key for key in found if key not in harmless and not key.startswith(("x-", "."))]


def _override(
    document: dict[Any, Any],
    environment: Mapping[str, str],
    split: Callable[[str], list[str]],
    *,
    as_written: bool,
) -> None:
    """Apply the variables in the order of their names, as Distribution does."""
    for variable in sorted(environment):
        if not is_override(variable, environment[variable]) or not _names_section(variable):
            continue
        what = f"the variable {variable}"
        value = load_yaml(environment[variable], what, as_written=as_written)
        parts = split(variable.removeprefix(PREFIX).lower())
        inner: Level = document
        try:
            for part, following in itertools.pairwise(parts):
                below = _get(inner, part)
                if isinstance(below, str) and inner is document:
                    below = {below: {}}  # storage: filesystem
                if not isinstance(below, dict | list):
                    below = _new(following)
                _put(inner, part, below)
                inner = below
            _put(inner, parts[-1], value)
        except IndexError:
            hint = "A list is counted from 0, and can only grow by one."
            raise ConfigurationError(f"{what} names no entry of its list", hint=hint) from None


def _new(following: str) -> Level:
    """What a variable makes where nothing is, for the next part of its name."""
    return [] if following == "0" else {}


def _get(inner: Level, part: str) -> object:
    if isinstance(inner, dict):
        return inner.get(_name_in(inner, part))
    index = _index_in(inner, part)
    return inner[index] if index < len(inner) else None


def _put(inner: Level, part: str, value: object) -> None:
    if isinstance(inner, dict):
        inner[_name_in(inner, part)] = value
        return
    index = _index_in(inner, part)
    inner[index : index + 1] = [value]


def _index_in(entries: list[Any], part: str) -> int:
    if not part.isascii() or not part.isdecimal() or len(part) > _MAX_INDEX_DIGITS:
        raise IndexError(part)
    if int(part) > len(entries):
        raise IndexError(part)
    return int(part)


def _name_in(mapping: dict[Any, Any], part: str) -> str:
    """Return the key that a part of a variable's name means, in the file's own spelling."""
    for key in mapping:
        if isinstance(key, str) and key.lower() == part:
            return key
    return part


def described(value: object) -> str:
    """Say what a value is, for an error, in a few words: ``a list``, ``the text 'yes'``, ``7``."""
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, str):
        return f"the text {value[:_LONGEST]!r}"
    if isinstance(value, int) and abs(value) >= _TOO_LARGE:
        return "a huge number"
    return repr(value) if isinstance(value, int | float) else f"a {type(value).__name__}"
