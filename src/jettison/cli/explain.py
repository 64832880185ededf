"""``jettison explain``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from jettison.cli.in_use import InUse, InUseMayBeEmpty, read_held
from jettison.cli.options import Connection, Output, Storage, run, with_connection
from jettison.cli.output import (
    Format,
    bold,
    dim,
    emit,
    green,
    note,
    red,
    table,
    tag_name,
    timestamp,
    write,
    yellow,
)
from jettison.cli.policy_options import find_target
from jettison.cli.progress import reporting
from jettison.cli.prune_options import PullsFile, TrustTimes, read_pulls
from jettison.errors import InvalidReference, JettisonError, UsageError

if TYPE_CHECKING:
    from jettison.cli import documents
    from jettison.jobs.explain import ExplainedImage
    from jettison.model.names import Reference
    from jettison.model.retention.decide import Held
    from jettison.model.retention.explain import Explanation
    from jettison.model.retention.policy import Policy

__all__ = ["EXAMPLE", "explain"]

EXAMPLE = (
    "Example: jettison explain localhost:5000/team/app:1.0 --policy retention.yml · "
    "jettison explain team/app:1.0 --storage /var/lib/registry --policy retention.yml"
)

_NO_HOST = "storage.invalid"
_KINDS = ("pushed", "created", "pulled")
_SAYS = {"kept": "keeps it", "removed": "removes it", "passed": "not yet", "not-in-set": "-"}


@with_connection
def explain(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="[HOST/]REPO:TAG|@DIGEST",
            help="The image. Without a host: in --storage, or in the registry that the policy "
            "names.",
        ),
    ],
    policy: Annotated[
        Path, typer.Option("--policy", metavar="FILE", help="A policy, see docs/retention.md.")
    ],
    storage: Storage = None,
    in_use: InUse = None,
    in_use_may_be_empty: InUseMayBeEmpty = False,
    pulls: PullsFile = None,
    trust_times: TrustTimes = False,
    output: Output = Format.TABLE,
    *,
    connection: Connection,
) -> None:
    """Show why an image stays or goes by a policy, what each rule says, and when it would go.

    Nothing is changed. The moment is that at which time alone makes it go: if until then nothing
    is pushed, pulled or removed.
    """
    from jettison.configuration.policy_file import read_policy

    rules = read_policy(policy)
    held = read_held(in_use, may_be_empty=in_use_may_be_empty)
    image = _find(reference, storage, rules.registry)
    found = run(_explain(image, rules, held, connection, pulls, trust=trust_times))
    if output is Format.TABLE:
        _print(found)
    else:
        told: documents.ExplainedImage = {"image": _plain(found)}
        emit(output, told)


class _Found(NamedTuple):
    """An image, and where it is: ``host`` or ``storage`` may be None."""

    host: str | None
    storage: str | None
    reference: "Reference"


def _find(text: str, storage: str | None, registry: str) -> _Found:
    from jettison.model.names import Reference

    first = text.removeprefix("docker://").removeprefix("oci://").partition("/")[0]
    if (any(sign in first for sign in ".:") and "/" in text) or first.lower() == "localhost":
        parsed = Reference.parse(text)
        return _Found(parsed.host, storage, parsed)
    if storage is None and not registry:
        Reference.parse(text)  # which says that there is no host
        raise UsageError("no registry is named", hint="Name its host, or give --storage.")
    target = find_target(registry, storage) if registry and storage is None else None
    host = None if target is None else target.host
    place = storage if target is None else target.storage
    try:
        return _Found(host, place, Reference.parse(f"{host or _NO_HOST}/{text}"))
    except InvalidReference as error:
        message = error.message.partition("\n")[0]
        hint = "Without a host, references are REPO:TAG or REPO@DIGEST."
        raise InvalidReference(f"{text}: {message}", hint=hint) from None


async def _explain(
    image: _Found,
    policy: "Policy",
    held: "Held",
    connection: Connection,
    pulls: Path | None,
    *,
    trust: bool,
) -> "ExplainedImage":
    from jettison import connect
    from jettison.jobs.explain import explain_image

    async with connect(image.host, storage=image.storage, connection=connection) as session:
        with reporting() as progress:
            place = session.workspace.reporting_to(progress)
            try:
                return await explain_image(
                    place.trusting_times() if trust else place,
                    image.reference,
                    policy,
                    held=held,
                    pulls=None if pulls is None else read_pulls(pulls),
                    cache=session.cache,
                )
            except JettisonError as error:
                error.message = error.message.replace(f"{_NO_HOST}/", "")
                raise


def _plain(found: "ExplainedImage") -> "documents.Explanation":
    """Return the explanation for programs, with times in RFC 3339."""
    from jettison.cli.prune_document import decisions_of

    told, fate = found.explanation, found.explanation.fate
    return {
        "explained": timestamp(found.now),
        "what": found.what,
        "name": told.name,
        "digest": told.digest,
        "tags": told.tags,
        "belongs_to": told.belongs_to,
        "times": [
            {"of": one.of, "kind": one.kind, "time": timestamp(one.seconds), "source": one.source}
            for one in told.times
        ],
        "rules": told.rules,
        "decisions": decisions_of(told.decisions),
        "fate": {
            "now": fate.now,
            "at": None if fate.at is None else timestamp(fate.at),
            "sentence": fate.sentence,
        },
        "notes": told.notes,
    }


def _print(found: "ExplainedImage") -> None:
    explanation = found.explanation
    fate = explanation.fate
    shown = (red if fate.now else yellow if fate.at is not None else green)(fate.sentence)
    fields = [
        ("is", found.what),
        ("digest", str(explanation.digest)),
        ("tags", ", ".join(map(tag_name, explanation.tags)) or "none"),
        ("follows", ", ".join(explanation.belongs_to)),
        ("goes", shown),
    ]
    write(bold(explanation.name), *(f"  {name:<8} {text}" for name, text in fields if text), "")
    _print_times(explanation)
    several = len({said.name for said in explanation.rules}) > 1
    rows = [
        (said.rule, *([said.name] if several else []), _SAYS[said.outcome], said.sentence)
        for said in explanation.rules
    ]
    table(["RULE", *(["OF"] if several else []), "SAYS", "BECAUSE"], rows)
    if len(explanation.decisions) > 1:
        write("")
        table(
            ["", "OF", "BECAUSE"],
            [
                (red("goes") if one.removed else green("stays"), one.name, one.sentence)
                for one in explanation.decisions
            ],
        )
    note(*(yellow(f"note: {sentence}") for sentence in explanation.notes))


def _print_times(explanation: "Explanation") -> None:
    rows = [(one.kind, timestamp(one.seconds), one.of, one.source) for one in explanation.times]
    if rows:
        table(["TIME", "", "OF", "TOLD BY"], rows)
    known = {one.kind for one in explanation.times}
    unknown = [kind for kind in _KINDS if kind not in known]
    if unknown:
        write(dim(f"Not known: when it was {', '.join(unknown)}."))
    write("")
