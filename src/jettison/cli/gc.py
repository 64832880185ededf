"""``jettison gc``."""

import functools
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jettison.cli.collection import not_all
from jettison.cli.descriptor_cache import tell_after_collection, warn_before_removal
from jettison.cli.options import (
    AllowEmpty,
    AllowForeignOwner,
    AssumeQuiescent,
    DryRun,
    MaxRemoval,
    Output,
    Yes,
    confirm,
    one_of,
    optional_values,
    parse_duration,
)
from jettison.cli.output import Format, counted, dim, emit, note, size, write, yellow
from jettison.cli.progress import Log, reporting
from jettison.errors import Interrupted, JettisonError, UsageError

if TYPE_CHECKING:
    from jettison.cli import documents
    from jettison.collector.options import CollectOptions
    from jettison.collector.plan import CollectionPlan
    from jettison.jobs.collect import Collection, CollectionJob
    from jettison.model.plausibility import Consent

__all__ = ["COMMAND_CLASS", "EXAMPLE", "gc"]

COMMAND_CLASS = optional_values({"--untagged": "0s"})
"""``--untagged`` can be given without a value."""

EXAMPLE = (
    "Example: jettison gc /var/lib/registry -n · "
    "jettison gc /etc/docker/registry/config.yml --yes · "
    "jettison gc config.yml --untagged=30d · "
    "jettison gc config.yml --now --quiesce 'systemctl stop registry' "
    "--resume 'systemctl start registry'"
)


def gc(
    target: Annotated[
        str,
        typer.Argument(
            metavar="DIR|CONFIG", help="The storage's root directory, or the configuration file."
        ),
    ],
    dry_run: DryRun = False,
    yes: Yes = False,
    untagged: Annotated[
        float | None,
        typer.Option(
            "--untagged",
            parser=parse_duration,
            metavar="[=AGE]",
            help="Also remove manifests that no tag, index or subject holds and that "
            "were pushed longer ago than this; without an age, all idle ones.",
        ),
    ] = None,
    uploads: Annotated[
        float,
        typer.Option(
            "--uploads",
            parser=parse_duration,
            metavar="AGE",
            help="Remove uploads without progress for so long.",
        ),
    ] = "168h",  # type: ignore[assignment] # parsed by the option
    thorough: Annotated[
        bool,
        typer.Option(
            "--thorough",
            help="Also look for temporary files and empty folders among what stays; "
            "takes several times as long.",
        ),
    ] = False,
    grace: Annotated[
        float | None,
        typer.Option(
            "--grace",
            parser=parse_duration,
            metavar="DURATION",
            help="Leave what was created or touched within this time. Default: 1h; with --now 0s.",
        ),
    ] = None,
    now: Annotated[
        bool,
        typer.Option(
            "--now",
            help="Free everything that can be freed: end the undo windows first "
            "(removals cannot be undone then), and take young content too.",
        ),
    ] = False,
    allow_empty: AllowEmpty = False,
    allow_foreign_owner: AllowForeignOwner = False,
    max_removal: MaxRemoval = "50%",  # type: ignore[assignment] # parsed by the option
    assume_quiescent: AssumeQuiescent = False,
    served_by_jettison: Annotated[
        bool,
        typer.Option(
            "--served-by-jettison",
            help="For a bucket: no other program than jettison serve takes pushes into it. "
            "Known without this where one answers at the configuration's address.",
        ),
    ] = False,
    settle: Annotated[
        float | None,
        typer.Option(
            "--settle",
            parser=parse_duration,
            metavar="DURATION",
            help="Keep what goes out of the registry's sight for so long before it goes for good. "
            "Has to be longer than the registry takes for one manifest. "
            "Default: half a second on a disk, 5m in a bucket.",
        ),
    ] = None,
    quiesce: Annotated[
        str | None,
        typer.Option(metavar="CMD", help="Run this before: stop the registry, or its pushes."),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="CMD", help="Run this afterwards, whatever happened in between."),
    ] = None,
    log: Annotated[
        Log | None, typer.Option(help="Report each phase in a line of JSON on stderr.")
    ] = None,
    textfile: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Write figures for Prometheus' node_exporter to this file."
        ),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Free what no tag, no kept manifest and no undo window needs.

    Safe beside a running registry: takes only what was not touched within the grace period, and
    puts back what a push comes to need meanwhile. --grace 0s and --now require a registry that is
    stopped or read-only; so does a bucket if the registry remembers blobs (storage.cache).
    Exit code 3: something could not be read, and everything that it may need stays.
    """
    from jettison.collector.options import CollectOptions
    from jettison.model.plausibility import Consent

    one_of("--dry-run", given=dry_run, second="--textfile", also=textfile is not None)
    if target.startswith(("http://", "https://")):
        raise UsageError(
            f"{target}: collecting needs the storage, and no registry collects over its API yet",
            hint="Run this where the storage is: jettison gc DIR or jettison gc CONFIG.",
        )
    if grace is None:
        # What was pushed a minute ago goes too: nobody pushes, and the disk is full.
        grace = 0.0 if now else CollectOptions().grace
    options = CollectOptions(grace=grace, untagged=untagged, uploads=uploads, thorough=thorough)
    consent = Consent(empty=allow_empty, foreign_owner=allow_foreign_owner, most=max_removal)
    job = _Command(target, options, consent, log, output, end_undo=now, settle=settle)
    try:
        if dry_run:
            job.show()
        else:
            job.run(yes, assume_quiescent, quiesce, resume, heeded=served_by_jettison)
    except KeyboardInterrupt:
        if textfile is not None:
            job.write_textfile(textfile, Interrupted.exit_code)
        hint = "Nothing is out of sight and nothing kept is lost; the same command finishes it."
        raise Interrupted("interrupted", hint=hint) from None
    except JettisonError as error:
        if textfile is not None:
            job.write_textfile(textfile, error.exit_code)
        raise
    if textfile is not None:
        job.write_textfile(textfile, 0)


class _Command:
    """One call of the command; it remembers its progress for the figures."""

    def __init__(
        self,
        target: str,
        options: "CollectOptions",
        consent: "Consent",
        log: Log | None,
        form: Format,
        *,
        end_undo: bool,
        settle: float | None,
    ) -> None:
        self._settle = settle
        self._target = target
        self._options = options
        self._consent = consent
        self._end_undo = end_undo
        self._log = log
        self._form = form
        self._plan: CollectionPlan | None = None
        self._done: Collection | None = None
        self._storage = target

    def show(self) -> None:
        """Print the plan, and change nothing."""
        from jettison.jobs.quiescence import describe_beside

        plan = self._make_plan()
        self._print(plan)
        beside = describe_beside(self._job.storage, self._job.configuration)
        if beside is not None and not plan.empty:
            note(dim(f"{beside[0].upper()}{beside[1:]}."))
        if self._form is not Format.TABLE:
            from jettison.cli.collection import plan_document

            free = self._job.storage.free_bytes()
            told: documents.CollectionPlan = {"plan": plan_document(plan, free)}
            emit(self._form, told)
        self._job.require_plausible(plan)
        if plan.problems:
            raise not_all(len(plan.problems), 0, dry_run=True)

    def run(
        self,
        yes: bool,
        assume_quiescent: bool,
        quiesce: str | None,
        resume: str | None,
        *,
        heeded: bool,
    ) -> None:
        """Plan, ask, collect, and print the receipt."""
        from jettison.jobs.quiescence import quiesced

        warn_before_removal(self._job.configuration)
        if (quiesce or resume) and not yes:
            # Nobody wants the registry to be down while a question waits for its answer.
            plan = self._make_plan()
            self._job.require_plausible(plan)
            self._ask(plan, yes=False)
            yes = True
        with quiesced(quiesce, resume):
            self._job.require_quiescent(
                assumed=assume_quiescent,
                quiesced=quiesce is not None,
                heeded=heeded,
                beside=True,
            )
            self._job.recover()
            plan = self._make_plan()
            self._print(plan)
            if self._job.is_beside and not plan.empty:
                seconds = self._job.settle or 0.0
                note(
                    dim("A registry may be taking pushes: what goes is out of its sight for ")
                    + dim(f"{seconds:g} s before it goes for good.")
                )
            self._job.require_plausible(plan)
            self._ask(plan, yes=yes)
            self._done = self._collect(plan)
        self._tell(self._done, plan, resumed=resume is not None)

    @functools.cached_property
    def _job(self) -> "CollectionJob":
        from jettison import open_storage

        session = open_storage(self._target)
        self._storage = session.location
        return session.collection(
            self._options, end_undo=self._end_undo, consent=self._consent, settle=self._settle
        )

    def _make_plan(self) -> "CollectionPlan":
        job = self._job
        with reporting(log=self._log) as progress:
            self._plan = job.plan(progress=progress)
        return self._plan

    def _print(self, plan: "CollectionPlan") -> None:
        from jettison.cli.collection import print_collection_plan, print_problems

        if self._form is Format.TABLE:
            print_collection_plan(plan, self._job.storage.free_bytes())
        else:
            print_problems(plan)
        if plan.blobs and self._job.storage.keeps_removed():
            note(dim("The bucket keeps versions: what goes is hidden, and freed by a rule of it."))

    def _ask(self, plan: "CollectionPlan", *, yes: bool) -> None:
        if not plan.empty:
            gain = f"free {size(plan.bytes)} in {counted(len(plan.blobs), 'blob')}"
            confirm(f"Collect {plan.root}: {gain}, for good?", yes=yes)

    def _collect(self, plan: "CollectionPlan") -> "Collection":
        with reporting(log=self._log) as progress:
            return self._job.apply(plan, (self._target,), progress=progress)

    def _tell(self, done: "Collection", plan: "CollectionPlan", *, resumed: bool) -> None:
        if self._form is not Format.TABLE:
            told: documents.Collected = {"run": done.run, "collection": done.receipt}
            emit(self._form, told)
        elif not plan.empty or done.receipt.recovered:
            from jettison.cli.collection import print_collected
            from jettison.cli.receipt import print_receipt

            write("")
            print_collected(plan, done.receipt)
            print_receipt(done.run)
        job = self._job
        tell_after_collection(
            job.configuration, job.storage, done.run, job.addresses(), resumed=resumed
        )
        if done.receipt.ok:
            return
        known = set(plan.problems)
        for problem in done.receipt.problems:
            if problem not in known:
                note(yellow(f"warning: {problem.text}"))
        failures = done.receipt.failures
        raise not_all(0 if failures else len(done.receipt.problems), failures)

    def write_textfile(self, path: Path, exit_code: int) -> None:
        """Write the figures of the collection so far."""
        from jettison.jobs.textfile import write_textfile

        receipt = None if self._done is None else self._done.receipt
        write_textfile(path, self._storage, time.time(), exit_code, self._plan, receipt)
