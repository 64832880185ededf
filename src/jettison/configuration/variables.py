"""The ``REGISTRY_…`` variables of the environment, and the keys that they mean."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from jettison.configuration.keys import KEYS, ROOT, shown
from jettison.configuration.problems import Problems

__all__ = ["find_variables", "split_variable"]

_PREFIX: Final = "REGISTRY_"
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

_FREE: Final = frozenset({"auth", "storage"})
"""Sections in which Distribution takes a variable of any name: it may add a driver or a login, and
2.8.2 and 3.1.1 do not start then."""

_OURS: Final = frozenset(part for name in KEYS for part in name.split(".") if "_" in part)


def find_variables(
    environment: Mapping[str, str], problems: Problems
) -> dict[str, tuple[list[str], str]]:
    """Return the variables that override keys, each with its key's parts and its value.

    They are in the order of their names, as Distribution applies them. One that names no key is
    warned of and left out, for a pipeline has its own ``REGISTRY_USER``.
    """
    found = {}
    known = [f"{_PREFIX}{_variable(name)}" for name in KEYS if "*" not in name]
    for variable, value in sorted(environment.items()):
        if not _is_override(variable, value):
            continue
        parts = split_variable(variable.removeprefix(_PREFIX).lower())
        if _names_key(parts) or (parts[0] in _FREE and len(parts) > 1):
            found[variable] = parts, value
            continue
        near = get_close_matches(variable, known, n=1, cutoff=0.85)
        meant = f"; did you mean {near[0]}?" if near else ""
        problems.warn(f"the variable {shown(variable)} is not known and has no effect{meant}")
    return found


def split_variable(name: str) -> list[str]:
    """Return the keys that a variable's name means, given in lower case and without the prefix.

    An underscore parts two keys, but where it belongs to a key below ``jettison``.
    """
    first, *rest = name.split("_")
    if first != "jettison":
        return [first, *rest]
    parts = [first]
    while rest:
        taken = next((n for n in range(len(rest), 1, -1) if "_".join(rest[:n]) in _OURS), 1)
        parts.append("_".join(rest[:taken]))
        rest = rest[taken:]
    return parts


def _is_override(variable: str, value: str) -> bool:
    """Whether a variable of the environment is meant for the registry's configuration."""
    if not variable.startswith(_PREFIX) or variable in _NOT_OVERRIDES:
        return False
    if _KUBERNETES.fullmatch(variable):
        return False
    return not (_KUBERNETES_PORT.fullmatch(variable) and "://" in value)


def _variable(name: str) -> str:
    return name.upper().replace(".", "_").replace("[]", "_0")


def _names_key(parts: list[str]) -> bool:
    node = ROOT
    for part in parts:
        if node.ends:
            return True
        child = node.below(part)
        if child is None and part.isdecimal():
            child = node.children.get("[]", None if node.children else node)
        if child is None:
            return False
        node = child
    return True
