"""A Distribution registry's configuration file as it is parsed, with the variables applied.

The file is YAML as Distribution's parser understands it. Variables ``REGISTRY_A_B`` override the
key ``a.b``, also one that the file does not have, their values parsed as YAML; ``REGISTRY_A_0`` is
the first entry of the list ``a``. No error quotes what may be a secret.
"""

import contextlib
import functools
import io
import itertools
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jettison.configuration.problems import Problems, key_name
from jettison.errors import ConfigurationError, storage_errors

if TYPE_CHECKING:
    from ruamel.yaml import YAML
    from ruamel.yaml.nodes import Node

__all__ = ["Document", "compose_yaml", "described", "dump_yaml", "load_yaml", "read_document"]

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
_WIDTH: Final = 100
_TOO_LARGE: Final = 10**20
_MAX_INDEX_DIGITS: Final = 4

Level = dict[Any, Any] | list[Any]


class Document:
    """A parsed configuration file, with the variables applied.

    ``keys`` are its values; ``storage`` and ``auth`` given as a name alone are sections in it.
    """

    def __init__(self, keys: dict[Any, Any], again: Callable[[], Any]) -> None:
        self.keys = keys
        self._again = again

    @functools.cached_property
    def as_written(self) -> Any:  # noqa: ANN401 - as free as the keys
        """The same with every value as the text that stands there: ``0123`` is a password."""
        return self._again()


def read_document(
    path: Path, variables: Mapping[str, tuple[list[str], str]], problems: Problems
) -> Document:
    """Read a configuration file and apply ``variables``, each a key's parts and its value.

    Raises :class:`~jettison.errors.ConfigurationError` if there are no keys in it,
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
        for variable, (parts, text) in variables.items():
            what = f"the variable {variable}"
            try:
                value = load_yaml(text, what, as_written=as_written)
                problems.variables[key_name(_override(document, parts, value))] = variable
            except ConfigurationError as error:
                problems.add(what, error.message.removeprefix(f"{what} "), "")
            except IndexError:
                allowed = "A list is counted from 0, and can only grow by one."
                problems.add(what, "names no entry of its list", allowed)
        for name in ("auth", "storage"):
            if isinstance(document.get(name), str):
                document[name] = {document[name]: {}}
        return document

    return Document(load(as_written=False), lambda: load(as_written=True))


def load_yaml(content: bytes | str, what: str, *, as_written: bool = False) -> Any:  # noqa: ANN401 - YAML may be anything
    """Parse one YAML document; raise ConfigurationError that says where in ``what`` it ends.

    ``as_written`` leaves every value the text that stands there: ``0123`` is a good password.
    """
    with _yaml_errors(content, what):
        return _parser(as_written=as_written).load(content)


def compose_yaml(content: bytes | str, what: str) -> "Node | None":
    """Return the nodes of one YAML document: each value as it is written, with its type and line.

    Raises as :func:`load_yaml` does; a key that is given twice is no error here.
    """
    with _yaml_errors(content, what):
        found: Node | None = _parser(as_written=False).compose(content)
        return found


def dump_yaml(value: object) -> str:
    """Return plain values as the YAML that :func:`load_yaml` reads as the same."""
    out = io.StringIO()
    writer = _parser(as_written=False)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment] # as it takes it
    writer.allow_unicode = False
    writer.width = _WIDTH
    writer.dump(value, out)
    return out.getvalue()


@contextlib.contextmanager
def _yaml_errors(content: bytes | str, what: str) -> Iterator[None]:
    # Imported here: a collection of a folder reads no YAML, and is to start at once and stay small.
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415 - see above
    from ruamel.yaml.reader import ReaderError  # noqa: PLC0415 - same

    try:
        with warnings.catch_warnings():
            # That a name is given twice, with what stands there quoted.
            warnings.simplefilter("ignore")
            yield
    except ReaderError as error:
        line = 1 + (content[: error.position].count(b"\n" if isinstance(content, bytes) else "\n"))  # type: ignore[arg-type]
        reason = str(error).partition("\n")[0]
        raise ConfigurationError(f"{what} is not YAML, line {line}: {reason}") from None
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


def _override(document: Level, parts: list[str], value: object) -> list[str | int]:
    """Put a value where the parts of a variable's name lead, and return the steps there."""
    inner: Level = document
    steps: list[str | int] = []
    for part, following in itertools.pairwise(parts):
        step = _step(inner, part)
        below = _get(inner, step)
        if isinstance(below, str) and inner is document:
            below = {below: {}}  # storage: filesystem
        if not isinstance(below, dict | list):
            below = _new(following)
        _put(inner, step, below)
        inner = below
        steps.append(step)
    step = _step(inner, parts[-1])
    _put(inner, step, value)
    return [*steps, step]


def _new(following: str) -> Level:
    """What a variable makes where nothing is, for the next part of its name."""
    return [] if following == "0" else {}


def _step(inner: Level, part: str) -> str | int:
    """Return the key that a part of a variable's name means, in the file's own spelling.

    Raises IndexError for what is no place in a list, or one beyond its end.
    """
    if isinstance(inner, dict):
        same = (key for key in inner if isinstance(key, str) and key.lower() == part)
        return next(same, part)
    if not part.isascii() or not part.isdecimal() or len(part) > _MAX_INDEX_DIGITS:
        raise IndexError(part)
    if int(part) > len(inner):
        raise IndexError(part)
    return int(part)


def _get(inner: Any, step: Any) -> object:  # noqa: ANN401 - a dict or a list, with its step
    if isinstance(inner, list):
        return inner[step] if step < len(inner) else None
    return inner.get(step)


def _put(inner: Any, step: Any, value: object) -> None:  # noqa: ANN401 - same
    if isinstance(inner, list):
        inner[step : step + 1] = [value]
    else:
        inner[step] = value


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
