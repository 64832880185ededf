"""What commands print with `-o json`, held against the schema that is published.

The published one lets programs meet members that they do not know; here there are none such.
"""

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from docs.render_json import name_of, schema
from jettison.cli import commands
from jettison.cli.documents import DOCUMENTS, Kind

__all__ = ["check_error", "check_printed"]

MOST = 300_000
"""Characters: a check takes long, and what is longer is the same several times over."""

FORMATS = {"json", "ndjson"}
TIMES = FormatChecker()


def is_time(value: object) -> bool:
    return re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", str(value)) is not None


TIMES.checks("date-time")(is_time)


def check_printed(arguments: Sequence[str], stdout: str, stderr: str) -> None:
    """Fail if what a command printed as JSON is no document of it, or an error is none."""
    form = format_of(arguments)
    if form is None:
        return
    if stderr.endswith("}\n"):
        check_error(stderr.splitlines()[-1])
    kinds = list(kinds_of(arguments))
    assert kinds or not stdout, f"no document is known of {arguments}"
    if len(stdout) > MOST:
        return
    names = [name_of(kind) for kind in kinds]
    if form == "ndjson":
        names = [name_of(one) + ("" if one.items is None else "Line") for one in kinds]
        for line in stdout.splitlines():
            require(names, json.loads(line))
    elif stdout:
        require(names, json.loads(stdout))


def check_error(line: str) -> None:
    """Fail if a line is no document of an error."""
    require(["ErrorDocument"], json.loads(line))


def format_of(arguments: Sequence[str]) -> str | None:
    """Return the format that a command line asks for, None if it is the table."""
    for at, word in enumerate(arguments):
        name, sign, value = word.partition("=")
        if name in {"-o", "--output"}:
            value = value if sign else arguments[at + 1] if at + 1 < len(arguments) else ""
            return value if value in FORMATS else None
    return None


def kinds_of(arguments: Sequence[str]) -> Iterator[Kind]:
    """Yield the documents that a command may print."""
    words = [word for word in arguments if not word.startswith("-")]
    first = commands._ALIASES.get(words[0], words[0]) if words else ""
    names = {first, " ".join([first, *words[1:2]])}
    yield from (kind for kind in DOCUMENTS if names & set(kind.commands))


def require(names: Sequence[str], document: Any) -> None:
    """Fail unless a document is one of those named; says what is wrong with the nearest."""
    mistakes = [list(validator(name).iter_errors(document)) for name in names]
    if all(mistakes):
        name, found = min(zip(names, mistakes, strict=True), key=lambda item: len(item[1]))
        told = [f"{'/'.join(map(str, one.absolute_path))}: {one.message[:500]}" for one in found]
        raise AssertionError("\n".join([f"this is no {name}:", *told]))


@cache
def validator(name: str) -> Draft202012Validator:
    known = closed()["$defs"]
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": known}, format_checker=TIMES)


@cache
def closed() -> Any:
    """Return the schema with no members but those that it names."""

    def close(value: Any) -> Any:
        if isinstance(value, list):
            return [close(one) for one in value]
        if not isinstance(value, dict):
            return value
        found = {key: close(one) for key, one in value.items()}
        if value.get("type") == "object" and "properties" in value:
            found.setdefault("additionalProperties", False)
        return found

    return close(schema())
