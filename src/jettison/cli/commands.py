"""The table of commands; a command is loaded when it runs, or when its own help is asked for.

So `jettison --help` loads none: what it says of each stands here, and a test compares it
with the command's own help.
"""

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from inspect import cleandoc
from types import ModuleType
from typing import Annotated, Any, Final, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from jettison import __version__
from jettison.cli.output import write
from jettison.errors import UsageError

__all__ = ["app"]

_LOOK, _REMOVE, _KEEP, _MORE = "Look", "Remove and free", "Prove and take back", "More"


class _Row(NamedTuple):
    """A command in the list: where its help stands, and the first sentence of it."""

    panel: str
    summary: str
    module: str = ""
    """The module below ``jettison.cli``; "" for the one that is named like the command."""
    aliases: tuple[str, ...] = ()
    """Other names of the very same command."""


_TABLE: Final = {
    "check": _Row(
        _LOOK, "Check whether images can be deleted and space freed, and what to change."
    ),
    "doctor": _Row(
        _LOOK,
        "Tell all that `check` knows, where the space is, what can be freed, and what to do next.",
    ),
    "ls": _Row(_LOOK, "List repositories, or the tags of one.", aliases=("list", "tags")),
    "du": _Row(
        _LOOK,
        "Show how much space each repository takes, what it shares, and what of it is garbage.",
    ),
    "inspect": _Row(
        _LOOK, "Show what an image is, which images share its layers, and what removing it frees."
    ),
    "explain": _Row(
        _LOOK,
        "Show why an image stays or goes by a policy, what each rule says, and when it would go.",
    ),
    "snapshot": _Row(
        _LOOK, "Print what a registry has, and when it came there, for `jettison policy test`."
    ),
    "fsck": _Row(
        _LOOK, "Read the whole storage, and report damage and the tags that cannot be pulled."
    ),
    "rm": _Row(_REMOVE, "Remove tags, and the manifests that nothing needs.", aliases=("delete",)),
    "prune": _Row(
        _REMOVE,
        "Remove images by a retention policy, each with the reason, and undo it as one run.",
    ),
    "apply": _Row(
        _REMOVE,
        "Apply a plan that `jettison prune --out` made, if the registry is still what it saw.",
    ),
    "gc": _Row(_REMOVE, "Free what no tag, no kept manifest and no undo window needs."),
    "garbage-collect": _Row(
        _REMOVE, "Collect garbage with the flags and the output of Distribution's own command."
    ),
    "verify": _Row(
        _KEEP, "Check again, in the API and on the disk, that what a run removed is gone."
    ),
    "undo": _Row(
        _KEEP, "Put back what a run removed: the same bytes, the same digests, the same tags."
    ),
    "runs": _Row(
        _KEEP,
        "List the runs, newest first, or show one with its steps and its receipt.",
    ),
    "policy": _Row(
        _MORE, "Work on policies of retention: import those of other systems, try them, the schema."
    ),
    "serve": _Row(
        _MORE,
        "Be a registry: in place of `registry serve`, on the same configuration and storage.",
    ),
    "listen": _Row(
        _MORE, "Receive a registry's notifications, and keep a book of what is pulled and pushed."
    ),
    "login": _Row(
        _MORE, "Check a login, and keep it where Docker keeps its own, or in --authfile."
    ),
    "logout": _Row(
        _MORE, "Forget the login for a registry in every file and helper that has it.", "login"
    ),
    "demo": _Row(
        _MORE, "Show the whole story on sample images, without a network, and leave nothing behind."
    ),
    "help": _Row(_MORE, "Show what there is, or the help of a command: the same as --help."),
    "version": _Row(_MORE, "Print the version: the same as --version.", "help"),
}

_ALIASES: Final = {alias: name for name, row in _TABLE.items() for alias in row.aliases}

_SYNONYMS: Final = {
    "collect": "gc",
    "history": "runs",
    "purge": "prune",
    "retention": "prune",
    "remove": "rm",
    "show": "inspect",
}
"""What is typed for a command and is no name of it: that one is suggested."""


class _Commands(Mapping[str, Any]):
    """Every command by its name, loaded when it is asked for."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - the parser's classes are typer's own
        if name not in self._loaded:
            self._loaded[name] = _load(name, _TABLE[name])
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in _TABLE

    def __iter__(self) -> Iterator[str]:
        return iter(_TABLE)

    def __len__(self) -> int:
        return len(_TABLE)


def _load(name: str, row: _Row) -> Any:  # noqa: ANN401 - same
    """Import a command, or a group of commands: a module with ``COMMANDS``, by their names."""
    function = name.replace("-", "_")
    module = import_module(f"jettison.cli.{row.module or function}")
    made = typer.Typer(
        name=name,
        help=row.summary,
        add_completion=False,
        rich_markup_mode="rich",
    )
    commands: Mapping[str, Callable[..., None]] | None = getattr(module, "COMMANDS", None)
    if commands is None:
        _add(made, name, module, getattr(module, function), row)
        return get_command(made)
    for inner, command in commands.items():
        _add(made, inner, module, command)
    made.callback()(lambda: None)
    group: Any = get_command(made)
    group.rich_help_panel = row.panel
    return group


def _add(
    to: typer.Typer,
    name: str,
    module: ModuleType,
    command: Callable[..., None],
    row: _Row | None = None,
) -> None:
    """Add a command; its paragraphs flow, whatever the terminal's width, and so do examples."""
    example: str | None = getattr(module, f"{name.upper().replace('-', '_')}_EXAMPLE", None)
    paragraphs = cleandoc(command.__doc__ or "").split("\n\n")
    if row is not None and row.aliases:
        *names, last = (f"`jettison {one}`" for one in (name, *row.aliases))
        paragraphs.append(f"{', '.join(names)} and {last} are the same command.")
    to.command(
        name,
        cls=getattr(module, "COMMAND_CLASS", None),
        rich_help_panel=None if row is None else row.panel,
        help="\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs),
        epilog="\n\n".join(
            ["Example:", *(example or module.EXAMPLE).removeprefix("Example: ").split(" · ")]
        ),
    )(command)


class _Group(TyperGroup):
    """The group of all commands; it suggests the nearest one for an unknown name."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - typer's own
        super().__init__(**settings)
        self.commands: Any = _Commands()

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - same
        return list(self.commands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002 - same
        """Return as much of a command as a list shows."""
        row = _TABLE.get(_ALIASES.get(cmd_name, cmd_name))
        if row is None:
            return None
        return TyperCommand(cmd_name, help=row.summary, rich_help_panel=row.panel)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - same
        name = args[0]
        meant = _ALIASES.get(name, name)
        if meant in self.commands:
            return name, self.commands[meant], args[1:]
        if name.startswith("-"):
            return super().resolve_command(ctx, args)
        near = _nearest(name)
        hint = "" if near is None else f"Did you mean `jettison {near}`? "
        raise UsageError(f"there is no command {name!r}", hint=f"{hint}See `jettison --help`.")

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:  # noqa: ANN401 - same
        """Complete other names too, and what is mistyped to the nearest name."""
        found = super().shell_complete(ctx, incomplete)
        if not incomplete or incomplete.startswith("-"):
            return found
        also = [alias for alias in _ALIASES if alias.startswith(incomplete)]
        if not found and not also:
            also = [near for near in [_nearest(incomplete)] if near is not None]
        for name in also:
            meant = _ALIASES.get(name, name)
            known = super().shell_complete(ctx, meant)
            found += [type(one)(name, help=one.help) for one in known if one.value == meant]
        return found


def _nearest(typed: str) -> str | None:
    """Return the name of the command that may have been meant, if one is near."""
    known = {**{name: name for name in (*_TABLE, *_ALIASES)}, **_SYNONYMS}
    near = get_close_matches(typed.lower(), known, n=1)
    return known[near[0]] if near else None


app = typer.Typer(
    name="jettison",
    cls=_Group,
    help=(
        "Delete images from container registries, get the disk space back, prove it, undo it.\n\n"
        "Deleting can be undone, collecting is final: `rm` removes references and "
        "writes a journal, `gc` frees what nothing needs.\n\n"
        "Other names: "
        + ", ".join(f"`{alias}` for `{name}`" for alias, name in _ALIASES.items())
        + "."
    ),
    epilog="Example:\n\njettison rm localhost:5000/app:1.0 --reclaim --storage /srv/registry",
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        write(f"jettison {__version__}")
        raise typer.Exit


@app.callback()
def _global(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass
