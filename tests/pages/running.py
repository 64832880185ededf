"""Run the blocks of a page in order, and say where it claims what is not so."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.pages.reading import Block, Command, blocks
from tests.pages.shell import Shell
from tests.pages.stages import on_stage
from tests.pages.tolerance import differences

__all__ = ["faults", "record"]


def faults(page: Path, folder: Path, warm: Path) -> list[str]:
    """Run a page; return what is not as it says, a text for each command."""
    return [fault for _, _, _, fault in _run(page, folder, warm) if fault]


def record(page: Path, folder: Path, warm: Path) -> None:
    """Write into a page what its commands print, where it says something else."""
    text = page.read_text("utf-8")
    changed = dict[tuple[int, int], list[str]]()
    for block, command, printed, fault in _run(page, folder, warm):
        lines = changed.setdefault(block.span, [])
        if block.language == "sh":
            lines.append(command.text)
            continue
        lines += [f"$ {command.text}", *(printed if fault else command.shown)]
        if fault and fault.startswith(f"{block.name}: exit"):
            raise AssertionError(fault)
        while lines[-1] == "":
            lines.pop()
    for (begin, end), lines in sorted(changed.items(), reverse=True):
        block = next(one for one in blocks(page) if one.span == (begin, end))
        if block.language == "console":
            body = "".join(
                f"{block.indent}{line}".rstrip() + "\n" for line in "\n".join(lines).split("\n")
            )
            text = text[:begin] + body + text[end:]
    page.write_text(text, "utf-8")


def _run(page: Path, folder: Path, warm: Path) -> Iterator[tuple[Block, Command, list[str], str]]:
    """Yield each command that was run, what it printed, and what is wrong with that."""
    text = page.read_text("utf-8")
    stage: ExitStack | None = None
    shell: Shell | None = None
    number = 0
    try:
        for block in blocks(page):
            if block.reason is not None:
                continue
            if block.stage is not None:
                if stage is not None:
                    stage.close()
                stage, number = ExitStack(), number + 1
                below = folder / f"stage-{number}"
                shell = stage.enter_context(on_stage(block.stage, below, warm, text))
            if shell is None:
                raise ValueError(f"{block.name}: runs on no stage")
            yield from _run_block(block, shell)
    finally:
        if stage is not None:
            stage.close()


def _run_block(block: Block, shell: Shell) -> Iterator[tuple[Block, Command, list[str], str]]:
    shell.pass_time(block.later)
    for hidden in block.first:
        done = shell.run(hidden)
        if done.code:
            raise ValueError(f"{block.name}: {hidden} ends with {done.code}: {done.lines}")
    code = 0
    commands = block.commands
    for at, command in enumerate(commands):
        is_last, code_before = at == len(commands) - 1, code
        printed, code = shell.run(command.text, code_before)
        wanted = block.exit if is_last else 0
        is_shown = not is_last and commands[at + 1].text == "echo $?"
        found = differences(command.shown, printed) if block.language == "console" else []
        fault = "\n".join([f"{block.name}: {command.text}", *found]) if found else ""
        if code != wanted and not is_shown:
            said = "\n".join(printed)
            fault = f"{block.name}: exit {code}, not {wanted}: {command.text}\n{said}"
        yield block, command, printed, fault
