"""Write docs/json.md and docs/output.schema.json from the types of the documents: `make docs`."""

import ast
import enum
import inspect
import itertools
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, get_type_hints

import msgspec
from msgspec.inspect import multi_type_info

from jettison.cli import documents, output
from jettison.cli.documents import DOCUMENTS, ErrorDocument, Kind
from jettison.errors import JettisonError
from jettison.model.digest import Digest

__all__ = ["PAGE", "SCHEMA", "name_of", "render", "schema", "stale", "written"]

PAGE: Final = Path(__file__).parent / "json.md"
SCHEMA: Final = Path(__file__).parent / "output.schema.json"

HEAD: Final = """\
# JSON documents

`make docs` writes this page and [output.schema.json](output.schema.json) from the types of the
program; what commands print in the tests is checked against that schema. There a line of NDJSON is
named after its document: `TagsLine`.

`-o json` prints one document on standard output, `-o ndjson` a document on each line. Where there
are no items there are no lines, and what could not be read is told on standard error alone. Sizes
are in bytes, durations in seconds, times in RFC 3339. `null` says that something is not known, or
not there. `schema_version` of a document is {version}; a later release may add members, and changes
the number if it takes one away or gives it another meaning. So programs ignore members that they do
not know.

<!-- run: on distribution-2 + garbage -->
```console
$ jettison du /var/lib/registry -o json | jq .total.garbage
{{
  "count": 3,
  "bytes": 801465
}}
$ jettison ls localhost:5000/team/app -l -o ndjson | jq -r 'select(.size > 3700000) | .tag'
1.1
1.2
latest
$ jettison rm localhost:5000/team/app:1.0 -n -o json | jq .plan.estimate.freed_bytes
1201636
$ jettison rm localhost:5000/team/app:2.0 --yes -o json 2>&1 | tail -n 1 | jq -r .error.hint
Nearest tags: 1.0 (see `jettison ls localhost:5000/team/app`).
```

## By command

| command | prints | with `-o ndjson` |
|---|---|---|
{commands}

`snapshot` prints a document of its own, for `policy test --on`; [trying
policies](trying-policies.md) describes it. In the [Python library](python.md) plans, runs and
receipts have the same names.

## Errors

A command that ends with an error prints [ErrorDocument](#errordocument) as the last line of
standard error. An `rm` or a prune that an error ends prints its run so far, on standard output;
one that Ctrl-C ends prints nothing there, and `jettison runs` tells.

| `code` | exit code | is |
|---|---|---|
{errors}
"""


def name_of(kind: Kind) -> str:
    """Return what a document is called in the schema."""
    return kind.document.__name__


def schema() -> dict[str, Any]:
    """Return the JSON schema of every document; a line of NDJSON is named ``…Line``."""
    types = [*dict.fromkeys(kind.document for kind in DOCUMENTS), ErrorDocument]
    _, components = msgspec.json.schema_components(
        types, schema_hook=_scalar, ref_template="#/$defs/{name}"
    )
    classes = _classes(types)
    found = {name: _as_printed(one, classes[name]) for name, one in sorted(components.items())}
    version = {"schema_version": {"const": output.SCHEMA_VERSION}}
    for one in types:
        document = found[one.__name__]
        document["properties"] = version | document["properties"]
        document["required"] = ["schema_version", *document["required"]]
    for kind in DOCUMENTS:
        if kind.items is not None:
            found[f"{name_of(kind)}Line"] = _line(kind, found)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What jettison prints with -o json",
        "anyOf": [{"$ref": f"#/$defs/{one.__name__}"} for one in types],
        "$defs": dict(sorted(found.items())),
    }


def _classes(types: Sequence[type]) -> dict[str, type]:
    """Return each class that the documents consist of, by its name."""
    found: dict[str, type] = {}
    left: list[Any] = list(multi_type_info(types))
    while left:
        one = left.pop()
        if isinstance(one, list | tuple):
            left += one
        elif isinstance(one, msgspec.Struct):
            cls = getattr(one, "cls", None)
            if cls is not None and cls.__name__ in found:
                continue
            if cls is not None:
                found[cls.__name__] = cls
            left += [getattr(one, name) for name in one.__struct_fields__]
    return found


def _scalar(kind: type) -> dict[str, Any]:
    """Return the schema of a type that is a text with a name."""
    if kind is Digest:
        return {"type": "string", "pattern": "^[a-z0-9]+([+._-][a-z0-9]+)*:[0-9a-zA-Z=_-]+$"}
    return {"type": "string"}


def _as_printed(component: dict[str, Any], cls: type) -> dict[str, Any]:
    """Return the schema of a class with times in RFC 3339, without what only reading needs."""
    found = {key: value for key, value in component.items() if key != "title"}
    told = _description(cls)
    if told:
        found["description"] = told
    if "properties" not in found:
        return found
    # That a policy has nothing else is for files of policies; what is printed may have more later.
    found.pop("additionalProperties", None)
    members = found["properties"]
    required = [*found.get("required", []), *_always_there(cls)]
    if not hasattr(cls, "__struct_fields__"):
        members = {name: members[name] for name in get_type_hints(cls)}
    found["properties"] = {_printed(name): _member(name, one) for name, one in members.items()}
    found["required"] = [_printed(name) for name in members if name in required]
    return found


def _description(cls: type) -> str:
    """Return what a class says of itself, and what those say of which it has the members."""
    bases = [base for base in cls.__mro__[1:] if base not in {msgspec.Struct, object}]
    if not issubclass(cls, msgspec.Struct):
        bases = []
    more = [_plain(base.__doc__ or "").partition("\n\n")[2] for base in bases]
    told = [_plain(cls.__doc__ or ""), *more]
    text = "\n\n".join(dict.fromkeys(filter(None, told)))
    for name, printed in _renamed(cls):
        text = text.replace(f"`{name}`", f"`{printed}`")
    return text


def _renamed(cls: type) -> Iterator[tuple[str, str]]:
    """Yield the members of a struct that have another name where they are printed."""
    for field in msgspec.structs.fields(cls) if hasattr(cls, "__struct_fields__") else ():
        if _printed(field.encode_name) != field.name:
            yield field.name, _printed(field.encode_name)


def _always_there(cls: type) -> list[str]:
    """Return the members of a struct that are printed whether they have a default or not."""
    if not hasattr(cls, "__struct_config__") or cls.__struct_config__.omit_defaults:
        return []
    fields = msgspec.structs.fields(cls)
    return [field.encode_name for field in fields if field.default is not msgspec.UNSET]


_TIMES: Final = frozenset({"started", "finished"})
"""The members that are times in RFC 3339 also in the program, if they are texts."""


def _printed(name: str) -> str:
    return name.removesuffix(output.NANOSECONDS)


def _member(name: str, member: dict[str, Any]) -> dict[str, Any]:
    member = {key: value for key, value in member.items() if key != "default"}
    time = {"type": "string", "format": "date-time"}
    if name in _TIMES and member == {"type": "string"}:
        return time
    if name not in output.SECONDS and not name.endswith(output.NANOSECONDS):
        return member
    kinds = [one.get("type") for one in member.get("anyOf", [member])]
    if not {"number", "integer"} & set(kinds):
        return member
    return {"anyOf": [time, {"type": "null"}]} if "null" in kinds else time


def _line(kind: Kind, found: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a line: an item, and what each line repeats."""
    whole = found[name_of(kind)]
    item = found[_referred(whole["properties"][kind.items]["items"])]
    names = ["schema_version", *kind.repeated]
    properties = {name: whole["properties"][name] for name in names}
    line = {
        "description": item.get("description", ""),
        "type": "object",
        "properties": properties | item["properties"],
        "required": [*names, *(name for name in item["required"] if name not in names)],
    }
    if not kind.closing:
        return line
    rest = {key: value for key, value in whole["properties"].items() if key != kind.items}
    required = [name for name in whole["required"] if name != kind.items]
    closing = {"type": "object", "properties": rest, "required": required}
    return {"anyOf": [line, closing]}


def _referred(member: dict[str, Any]) -> str:
    return str(member["$ref"]).rpartition("/")[2]


# The page.


def render() -> str:
    """Return the page."""
    found = schema()["$defs"]
    classes = _classes([kind.document for kind in DOCUMENTS] + [ErrorDocument])
    shown = [*dict.fromkeys(name_of(kind) for kind in DOCUMENTS), "ErrorDocument"]
    rest = [name for name in found if name not in shown and not name.endswith("Line")]
    head = HEAD.format(
        version=output.SCHEMA_VERSION,
        commands="\n".join(map(_row, DOCUMENTS)),
        errors="\n".join(
            f"| `{code}` | {exit_code} | {is_} |" for code, exit_code, is_ in _errors()
        ),
    )
    sections = ["## Documents", *(_section(name, found[name], classes[name]) for name in shown)]
    sections += [
        "## What they consist of",
        *(_section(name, found[name], classes[name]) for name in rest),
    ]
    return "\n\n".join([head.rstrip("\n"), *sections]) + "\n"


def _row(kind: Kind) -> str:
    commands = ", ".join(f"`{name}`" for name in kind.commands)
    lines = "one line" if kind.items is None else f"a line for each of `{kind.items}`"
    if kind.repeated:
        lines += f", with {', '.join(f'`{name}`' for name in kind.repeated)}"
    if kind.closing:
        lines += f"; with `--repair` a last line without `{kind.items}`"
    return f"| {f'{commands} {kind.when}'.strip()} | {_link(name_of(kind))} | {lines} |"


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"


def _errors() -> Iterator[tuple[str, int, str]]:
    """Yield the code, the exit code and the meaning of every error, by exit code."""
    kinds = [JettisonError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    known = {output.code_of(kind): kind for kind in kinds if kind.__module__ == "jettison.errors"}
    for code, kind in sorted(known.items(), key=lambda item: (item[1].exit_code, item[0])):
        first = (kind.__doc__ or "").split("\n\n")[0]
        yield code, kind.exit_code, _plain(first).replace("\n", " ").rstrip(".").replace("|", "\\|")


def _section(name: str, one: dict[str, Any], cls: type) -> str:
    parts = [f"### {name}"]
    if one.get("description"):
        told = _NAME.sub(
            lambda match: _link(match[1]) if hasattr(documents, match[1]) else match[0],
            one["description"],
        )
        parts += [textwrap.fill(text, 100) for text in told.split("\n\n")]
    if "properties" in one:
        rows = ["| member | is |", "|---|---|"]
        for member, what in one["properties"].items():
            left_out = "" if member in one["required"] else ", or left out"
            rows.append(f"| `{member}` | {_is(what)}{left_out} |")
        parts.append("\n".join(rows))
    elif "enum" in one:
        parts.append(_values(cls))
    elif "prefixItems" in one:
        parts.append(_places(cls, one["prefixItems"]))
    return "\n\n".join(parts)


def _places(cls: type, items: Sequence[dict[str, Any]]) -> str:
    """Return what stands where in a list; a time is a number there."""
    names = zip(get_type_hints(cls), items, strict=True)
    rows = [f"{number}. `{name}`: {_is(one)}" for number, (name, one) in enumerate(names, 1)]
    return "\n".join(["A list of these; times in nanoseconds since the epoch:", "", *rows])


def _values(cls: type[enum.Enum]) -> str:
    """Return the values of an enumeration, with what each says as far as the class tells it."""
    says = {
        value: getattr(value, "meaning", None) or _comments(cls).get(value.name, "")
        for value in cls
    }
    if not any(says.values()):
        return "One of " + ", ".join(f"`{value.value}`" for value in cls) + "."
    rows = [f"| `{value.value}` | {_plain(text).rstrip('.')} |" for value, text in says.items()]
    return "\n".join(["| value | says |", "|---|---|", *rows])


def _comments(cls: type[enum.Enum]) -> dict[str, str]:
    """Return the texts that stand below the members of an enumeration."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(body, ast.ClassDef)  # noqa: S101 - its source was asked for
    found = {}
    for one, below in itertools.pairwise(body.body):
        match one, below:
            case (
                ast.Assign(targets=[ast.Name(id=name)]),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = " ".join(text.split())
    return found


_SEVERAL: Final = {"a text": "texts", "a whole number": "whole numbers"}


def _is(member: dict[str, Any]) -> str:
    """Return the type of a member in words."""
    if "$ref" in member:
        return _link(_referred(member))
    if "anyOf" in member:
        return " or ".join(dict.fromkeys(map(_is, member["anyOf"])))
    if "const" in member:
        return f"`{json.dumps(member['const'])}`"
    if "enum" in member:
        return " or ".join(f"`{json.dumps(value)}`" for value in member["enum"])
    if "prefixItems" in member:
        return "a list (" + ", ".join(map(_is, member["prefixItems"])) + ")"
    kind = member.get("type")
    if kind == "array":
        one = _is(member["items"]) if member.get("items") else "anything"
        return f"a list of {_SEVERAL.get(one, one)}"
    if kind == "object":
        values = member.get("additionalProperties")
        one = _is(values) if isinstance(values, dict) else "anything"
        return f"an object with {_SEVERAL.get(one, one)} by name"
    if member.get("format") == "date-time":
        return "a time"
    if member.get("contentEncoding"):
        return f"a text in {member['contentEncoding']}"
    return {
        "string": "a text",
        "integer": "a whole number",
        "number": "a number",
        "boolean": "`true` or `false`",
        "null": "`null`",
    }.get(str(kind), "anything")


_ROLE: Final = re.compile(r":\w+:`~?([^`]+)`")
_NAME: Final = re.compile(r"`([A-Z]\w+)`")
_LITERAL: Final = re.compile(r"``([^`]+)``")
_EPOCH: Final = re.compile(
    r" \((?:nano)?seconds(?: since the epoch)?\)| `\w+` is in seconds since the epoch\."
)
"""What is said of times that are numbers, as they are not printed."""
_WORDS: Final = {"None": "null", "True": "true", "False": "false"}


def _plain(text: str) -> str:
    """Return a docstring as the page and the schema have it."""
    text = _ROLE.sub(lambda match: f"`{match[1].rpartition('.')[2]}`", inspect.cleandoc(text))
    text = _LITERAL.sub(r"`\1`", text)
    text = "\n\n".join(" ".join(one.split()) for one in text.split("\n\n"))
    text = _EPOCH.sub("", text)
    return re.sub(r"\b(None|True|False)\b", lambda match: _WORDS[match[1]], text)


def written() -> dict[Path, str]:
    """Return what the page and the schema have to be."""
    return {PAGE: render(), SCHEMA: json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"}


def stale() -> list[str]:
    """Return the names of the files that are not what the types say."""
    return [path.name for path, text in written().items() if path.read_text("utf-8") != text]


if __name__ == "__main__":
    for path, text in written().items():
        path.write_text(text, "utf-8")
