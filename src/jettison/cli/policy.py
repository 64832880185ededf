"""``jettison policy``: work on policies of retention, without a registry."""

import enum
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from jettison.cli.options import Output
from jettison.cli.output import Format, emit, note, write
from jettison.cli.policy_trial import TEST_EXAMPLE, try_policy_file
from jettison.errors import storage_errors
from jettison.model.printable import ascii_json

if TYPE_CHECKING:
    from jettison.cli import documents

__all__ = [
    "COMMANDS",
    "IMPORT_EXAMPLE",
    "SCHEMA_EXAMPLE",
    "TEST_EXAMPLE",
    "OtherSystem",
    "import_",
    "schema",
]

SCHEMA_EXAMPLE = "Example: jettison policy schema > retention.schema.json"
IMPORT_EXAMPLE = (
    "Example: jettison policy import --from ecr lifecycle.json --attached-to team/app > policy.yml"
    " · kubectl get configmap zot -o jsonpath={.data.config} | jettison policy import --from zot -"
)

_MOST_BYTES: Final = 4 << 20


class OtherSystem(enum.StrEnum):
    """A system whose policies can be imported."""

    ECR = "ecr"
    GAR = "gar"
    ACR = "acr"
    ZOT = "zot"
    HARBOR = "harbor"
    GITLAB = "gitlab"
    QUAY = "quay"
    GITEA = "gitea"


def schema() -> None:
    """Print the JSON schema of a policy file, for editors and for checks before a commit."""
    from jettison.configuration.policy_file import policy_schema

    write(*ascii_json(policy_schema(), indent=2).split("\n"))


def import_(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="The policy; - is standard input."),
    ],
    system: Annotated[
        OtherSystem,
        typer.Option(
            "--from",
            metavar="SYSTEM",
            help="Whose policy it is: ecr, gar, acr, zot, harbor, gitlab, quay or gitea.",
        ),
    ],
    attached_to: Annotated[
        str | None,
        typer.Option(
            "--attached-to",
            metavar="NAME",
            help="What it applies to there, where the file does not say so: the repository (ecr, "
            "quay), PROJECT/REPOSITORY (gar), the project (harbor, gitlab), the owner (gitea).",
        ),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Print another system's policy as one of Jettison, which never removes more.

    What has no equivalent keeps, and is named. What the system does and its author may not have
    meant is asked. Both are printed on standard error, and stand in `questions` of the policy.
    """
    from jettison.configuration.policy_import import import_policy, write_imported

    what = "standard input" if file == "-" else file
    imported = import_policy(_content(file), what, system, attached_to)
    if output is not Format.TABLE:
        told: documents.ImportedPolicy = {
            "policy": imported.policy,
            "questions": imported.questions,
            "untranslated": imported.untranslated,
        }
        emit(output, told)
    else:
        write(*write_imported(imported, what).rstrip("\n").split("\n"))
    for question in imported.questions:
        note(f"question: {question}")
    for left in imported.untranslated:
        note(f"not translated, so it keeps: {left}")


def _content(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read(_MOST_BYTES)
    with storage_errors("read", file), Path(file).open("rb") as opened:
        return opened.read(_MOST_BYTES)


COMMANDS: Final[Mapping[str, Callable[..., None]]] = {
    "test": try_policy_file,
    "import": import_,
    "schema": schema,
}
