"""A YAML document as an object of typed structs, with every mistake in it and the line of each.

YAML turns ``1.10`` into the number 1.1 and ``on`` into true. Where a text is meant, such a value
is a mistake, which quotes mend: no value is read as another than stands there. A key that is not
known, one that is given twice and one without a value are mistakes too.
"""

import difflib
import re
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import inspect

from jettison.configuration.document import compose_yaml
from jettison.configuration.problems import key_name
from jettison.errors import JettisonError
from jettison.model.printable import printable

__all__ = ["Mistake", "TypedYaml", "line_of"]

Steps = tuple[str | int, ...]

_TAG: Final = "tag:yaml.org,2002:"
_READ_AS: Final = {
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "timestamp": "a date",
    "null": "nothing",
}
_TEXTS: Final = ("str", "int", "float")
_TRUE: Final = ("true", "yes", "y", "on")
_COUNT: Final = re.compile(r"0|[1-9]\d{0,17}")
_MOST_VALUES: Final = 100_000
_LONGEST: Final = 60
_WRONG: Final = object()


class Mistake(NamedTuple):
    """A key that cannot be used as it is, on its line (counted from 1); the message says why."""

    line: int
    key: str
    message: str


class TypedYaml:
    """A document, and its ``mistakes``.

    ``what`` names it in errors. Raises :class:`~jettison.errors.ConfigurationError` for what is
    not YAML.
    """

    def __init__(self, content: bytes | str, what: str) -> None:
        self.mistakes: list[Mistake] = []
        self._top = compose_yaml(content, what)
        self._left = _MOST_VALUES

    @property
    def holds_keys(self) -> bool:
        """Whether it is a mapping, and no list, value or nothing."""
        return self._top is not None and _tag_of(self._top) == "map"

    def read(self, kind: type[Any]) -> Any:  # noqa: ANN401 - of that kind
        """Return it as a struct, or None if anything of it is a mistake."""
        found = self._read(self._top, inspect.type_info(kind), ())
        return None if self.mistakes else found

    def add(self, steps: Steps, message: str) -> None:
        """Note a mistake at a key, or at what would hold it."""
        self.mistakes.append(Mistake(self._line(steps), key_name(steps), message))

    def _wrong(self, steps: Steps, message: str) -> object:
        self.add(steps, message)
        return _WRONG

    def _wrong_key(self, key: Any, steps: Steps, message: str) -> None:  # noqa: ANN401 - ruamel's
        self.mistakes.append(Mistake(key.start_mark.line + 1, key_name(steps), message))

    # The library's nodes have no types; each is read by the type that the struct has there.

    def _read(self, node: Any, kind: inspect.Type, steps: Steps) -> object:  # noqa: ANN401 - same
        # An alias is read each time that it stands: few bytes may be any number of values.
        self._left -= 1
        if self._left <= 0:
            if self._left == 0:
                self._wrong(steps, f"the document has more than {_MOST_VALUES:,} values")
            return _WRONG
        if _tag_of(node) == "null" and not node.value.strip("~"):
            return self._wrong(steps, "has no value; give it one, or leave the key out")
        if isinstance(kind, inspect.UnionType):
            kind = _chosen(kind, _tag_of(node))
        if isinstance(kind, inspect.StructType):
            return self._read_struct(node, kind, steps)
        if isinstance(kind, inspect.VarTupleType):
            return self._read_list(node, kind, steps)
        if _tag_of(node) in {"map", "seq"}:
            return self._wrong(steps, f"is {_said(node)}; {_allowed(kind)}")
        if isinstance(kind, inspect.IntType):
            return self._read_count(node, kind, steps)
        if isinstance(kind, inspect.BoolType):
            return self._read_flag(node, kind, steps)
        return self._read_text(node, kind, steps)

    def _read_struct(self, node: Any, kind: inspect.StructType, steps: Steps) -> object:  # noqa: ANN401 - same
        if _tag_of(node) != "map":
            known = ", ".join(field.name for field in kind.fields)
            return self._wrong(steps, f"is {_said(node)}; it has keys below it: {known}")
        fields = {field.name: field for field in kind.fields}
        values: dict[str, object] = {}
        for key, value in node.value:
            name = key.value if isinstance(key.value, str) else _said(key)
            below = (*steps, printable(name[:_LONGEST]))
            if name in values:
                self._wrong_key(key, below, "is given twice")
            elif name not in fields or _tag_of(key) != "str":
                self._wrong_key(key, below, f"there is no such key; {_meant(name, kind)}")
            else:
                values[name] = self._read(value, fields[name].type, below)
        return _WRONG if _WRONG in values.values() else kind.cls(**values)

    def _read_list(self, node: Any, kind: inspect.VarTupleType, steps: Steps) -> object:  # noqa: ANN401 - same
        if _tag_of(node) != "seq":
            return self._wrong(steps, f"is {_said(node)}; write a list, such as [a, b]")
        found = tuple(
            self._read(item, kind.item_type, (*steps, number))
            for number, item in enumerate(node.value)
        )
        return _WRONG if _WRONG in found else found

    def _read_count(self, node: Any, kind: inspect.IntType, steps: Steps) -> object:  # noqa: ANN401 - same
        least, most = kind.ge or 0, kind.le or 0
        if _tag_of(node) != "int":
            return self._wrong(steps, f"is {_said(node)}; {_allowed(kind)}")
        if _COUNT.fullmatch(node.value) is None or not least <= int(node.value) <= most:
            return self._wrong(steps, f"is {node.value[:_LONGEST]}; {_allowed(kind)}")
        return int(node.value)

    def _read_text(self, node: Any, kind: inspect.Type, steps: Steps) -> object:  # noqa: ANN401 - same
        tag, text = _tag_of(node), node.value
        if isinstance(kind, inspect.CustomType) and tag in _TEXTS:
            try:
                found = kind.cls(text)
            except JettisonError as error:
                hint = f" ({error.hint})" if error.hint else ""
                return self._wrong(steps, f"{error.message}{hint}")
            if tag == "str" or getattr(kind.cls, "takes_numbers", False):
                return found
        if tag == "str":
            if isinstance(kind, inspect.EnumType) and text in list(kind.cls):
                return kind.cls(text)
            if isinstance(kind, inspect.StrType) or text in getattr(kind, "values", ()):
                return text
        elif tag in _READ_AS and isinstance(kind, inspect.CustomType | inspect.StrType):
            quoted = msgspec.json.encode(text).decode()
            return self._wrong(steps, f"is {_said(node)}; write it in quotes: {quoted}")
        return self._wrong(steps, f"is {_said(node)}; {_allowed(kind)}")

    def _read_flag(self, node: Any, kind: inspect.Type, steps: Steps) -> object:  # noqa: ANN401 - same
        if _tag_of(node) != "bool":
            return self._wrong(steps, f"is {_said(node)}; {_allowed(kind)}")
        return node.value.lower() in _TRUE

    def _line(self, steps: Steps) -> int:
        return line_of(self._top, steps)


def line_of(top: Any, steps: Steps) -> int:  # noqa: ANN401 - the library's node
    """Return the line, from 1, of a key in a document, or of what would hold it."""
    node, line = top, 1
    for step in steps:
        if not isinstance(getattr(node, "value", None), list):
            break
        if isinstance(step, int):
            if step >= len(node.value):
                break
            node = node.value[step]
            line = node.start_mark.line + 1
            continue
        pair = next((pair for pair in node.value if pair[0].value == step), None)
        if pair is None:
            break
        line = pair[0].start_mark.line + 1
        node = pair[1]
    return line


def _tag_of(node: Any) -> str:  # noqa: ANN401 - the library's nodes
    tag = str(node.tag)
    return tag.removeprefix(_TAG) if tag.startswith(_TAG) else f"!{tag}"


def _said(node: Any) -> str:  # noqa: ANN401 - same
    """Say what a value is: ``1.10, which YAML reads as a number``."""
    tag = _tag_of(node)
    if tag in {"map", "seq"}:
        return "a list" if tag == "seq" else "a mapping of keys"
    if not isinstance(node.value, str):
        return f"a value with the tag {tag}"
    text = node.value if len(node.value) <= _LONGEST else f"{node.value[:_LONGEST]}…"
    if tag == "str":
        return f"the text {text!r}"
    if tag in _READ_AS:
        return f"{text!r}".strip("'") + f", which YAML reads as {_READ_AS[tag]}"
    return f"a value with the tag {tag}"


def _chosen(kind: inspect.UnionType, tag: str) -> inspect.Type:
    """Return which of several types is meant by a mapping, or by a value."""
    kinds = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
    structs = [one for one in kinds if isinstance(one, inspect.StructType)]
    values = [one for one in kinds if not isinstance(one, inspect.StructType)]
    first, second = (structs, values) if tag in {"map", "seq"} else (values, structs)
    return (first or second)[0]


def _allowed(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.IntType):
        return f"write a whole number, {kind.ge} to {kind.le:,}"
    if isinstance(kind, inspect.LiteralType):
        return f"write {' or '.join(map(str, kind.values))}, or keys below it"
    if isinstance(kind, inspect.EnumType):
        return f"write {', '.join(map(str, kind.cls))}"
    return "write true or false" if isinstance(kind, inspect.BoolType) else "write a text"


def _meant(name: str, kind: inspect.StructType) -> str:
    """Say which key is likely meant, and which there are."""
    known = [field.name for field in kind.fields]
    for field in kind.fields:
        inner = _struct_in(field.type)
        if inner is not None and name in inner.__struct_fields__:
            return f"{name} is written below {field.name}"
    near = difflib.get_close_matches(name, known, 1)
    meant = f"{near[0]} is perhaps meant; " if near else ""
    return f"{meant}known are {', '.join(known)}"


def _struct_in(kind: inspect.Type) -> Any:  # noqa: ANN401 - a class of structs, or None
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    found = next((one for one in kinds if isinstance(one, inspect.StructType)), None)
    return None if found is None else found.cls
