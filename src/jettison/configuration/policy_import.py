"""Reading the policy file of another system, and importing it.

JSON and YAML are both read, whatever the system; ``acr purge`` is also read as lines of a shell.
"""

import re
from typing import Any, Final

from jettison.configuration.document import compose_yaml, load_yaml
from jettison.configuration.policy_file import write_policy
from jettison.configuration.problems import key_name
from jettison.configuration.typed_yaml import line_of
from jettison.errors import ConfigurationError, InvalidDocument, InvalidPolicy
from jettison.model import strict_json
from jettison.model.retention.importing.draft import Imported
from jettison.model.retention.importing.expressions import Untranslatable
from jettison.model.retention.importing.reading import Malformed, Node
from jettison.model.retention.importing.systems import SYSTEMS

__all__ = ["import_policy", "write_imported"]

_AT: Final = re.compile(r" \(byte (\d+)\)")
_TASK: Final = re.compile(r"(?m)^\s*steps\s*:")
_HINT: Final = "See docs/importing-policies.md for what is read."


def import_policy(raw: bytes, what: str, system: str, attached_to: str | None = None) -> Imported:
    """Return the policy of ``system`` that is in ``raw``; ``what`` names the file in errors.

    Raises :class:`~jettison.errors.InvalidPolicy` with the line and the key of what is not as the
    system writes it.
    """
    found = SYSTEMS[system]
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise InvalidPolicy(f"{what} is not text in UTF-8", hint=_HINT) from None
    is_data = system != "acr" or text.lstrip()[:1] == "{" or _TASK.search(text) is not None
    document: Any = _parsed(text, what) if is_data else text
    try:
        return found.convert(Node(document), attached_to)
    except Untranslatable as error:
        raise InvalidPolicy(f"{what}: {error}", hint=_HINT) from None
    except Malformed as error:
        place = what
        if is_data and error.steps:
            place = f"{what}, line {_line(text, error.steps)}"
        key = key_name(error.steps)
        message = f"{place}: {f'{key}: ' if key else ''}{error.message}"
        raise InvalidPolicy(
            message, hint=f"{found.title[:1].upper()}{found.title[1:]} is read. {_HINT}"
        ) from None


def _parsed(text: str, what: str) -> Any:  # noqa: ANN401 - whatever JSON or YAML can say
    if text.lstrip()[:1] in {"{", "["}:
        try:
            return strict_json.decode(text.encode(), object)
        except InvalidDocument as error:
            message = f"{what} is not JSON{_place(text, error.message)}"
            raise InvalidPolicy(message, hint=_HINT) from None
    try:
        return load_yaml(text, what)
    except ConfigurationError as error:
        raise InvalidPolicy(error.message, hint=_HINT) from None


def _place(text: str, message: str) -> str:
    """Return where JSON is broken by the decoder's message, and its reason."""
    found = _AT.search(message)
    reason = _AT.sub("", message).removeprefix("JSON is malformed: ")
    if found is None:
        return f": {reason}"
    before = text.encode()[: int(found[1])].decode(errors="replace")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return f", line {line}, column {column}: {reason}"


def _line(text: str, steps: tuple[str | int, ...]) -> int:
    return line_of(compose_yaml(text.replace("\t", " "), "it"), steps)


def write_imported(imported: Imported, what: str) -> str:
    """Return an imported policy as YAML, with what is to be looked at before it runs."""
    told = len(imported.questions) + len(imported.untranslated)
    lines = [f"# {imported.policy.description}", f"# Made from {what}."]
    if told:
        lines.append(f"# Below, `questions` has {told} things to look at first.")
    return "\n".join(lines) + "\n" + write_policy(imported.policy)
