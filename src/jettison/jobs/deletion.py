"""Whether a registry allows deletion; if not, an error with a next step."""

from jettison.client.hints import deletion_hint
from jettison.errors import (
    AccessDenied,
    DeletionDisabled,
    JettisonError,
    LoginRefused,
    UnexpectedResponse,
)
from jettison.model.names import RepoName
from jettison.registry import Capabilities, Deletion

__all__ = ["deletion_problem"]


def deletion_problem(
    host: str, found: Capabilities, repository: RepoName | None
) -> JettisonError | None:
    """Return the error for a registry that does not allow deletion, or None.

    A registry that does not tell counts as one that does if it can remove a tag by itself; its
    answers will show. Without a repository to ask about, nothing is known yet.
    """
    said = f": it answers {found.said}" if found.said else ""
    words = f" ({found.said})" if found.said else ""
    where = f" in {repository}" if repository else ""
    match found.deletion:
        case Deletion.ENABLED:
            return None
        case Deletion.READ_ONLY:
            message = f"{host} is read-only{said}; nothing was changed"
            return DeletionDisabled(message, hint=deletion_hint(found.product, read_only=True))
        case Deletion.DISABLED:
            message = f"{host} has deletion disabled{said}; nothing was changed"
            return DeletionDisabled(message, hint=deletion_hint(found.product))
        case Deletion.BLOCKED:
            message = f"something in front of {host} does not let DELETE through{said}"
            hint = "Check the configuration of that proxy."
            return DeletionDisabled(f"{message}; nothing was changed", hint=hint)
        case Deletion.NEEDS_LOGIN:
            message = f"{host} needs a login to delete{where}; nothing was changed"
            return LoginRefused(message, hint=f"Run: jettison login {host}")
        case Deletion.DENIED:
            message = f"{host}: this login may not delete{where}{words}; nothing was changed"
            return AccessDenied(message, hint=f"Log in as someone who may: jettison login {host}")
        case Deletion.UNKNOWN:
            if repository is None or found.untag:
                return None
            message = f"{host} does not tell whether deletion is enabled{where}{words}"
            hint = "Ask the registry's operator: its log says why."
            return UnexpectedResponse(f"{message}; nothing was changed", hint=hint)
