"""Completion for bash, zsh and fish, without a start of the program at each Tab."""

import shlex
from collections.abc import Callable, Iterable
from typing import Final

from release.command_tree import Command, Option


def bash(commands: Iterable[Command]) -> str:
    """Return the completion for bash."""
    cases = [
        f"{_pattern(one)})\n            words={shlex.quote(' '.join(_words(one)))}\n"
        + "".join(
            f"            [[ $before == @({_either(option)}) ]] && values={_values(option)}\n"
            for option in one.options
            if option.value
        )
        + "            ;;"
        for one in commands
    ]
    return _BASH.replace("@PATHS@", _paths(commands)).replace("@CASES@", "\n        ".join(cases))


def zsh(commands: Iterable[Command]) -> str:
    """Return the completion for zsh."""
    cases = []
    for one in commands:
        below = [
            f"{other.name.rpartition(' ')[2]}:{_plain(other.summary)}"
            for other in commands
            if other.name.rpartition(" ")[0] == one.name
        ]
        options = [
            f"{name}:{_plain(option.help)}" for option in one.options for name in option.names
        ]
        values = "".join(
            f"        [[ $before == ({_either(option)}) ]] && values={_values(option)}\n"
            for option in one.options
            if option.value
        )
        cases.append(
            f"{_pattern(one)})\n        below=({shlex.join(below)})\n"
            f"        options=({shlex.join(options)})\n{values}        ;;"
        )
    return _ZSH.replace("@PATHS@", _paths(commands)).replace("@CASES@", "\n    ".join(cases))


def fish(commands: Iterable[Command]) -> str:
    """Return the completion for fish."""
    lines = [_FISH.replace("@PATHS@", " ".join(shlex.quote(one.name) for one in commands))]
    for one in commands:
        at = f"complete -c jettison -n {shlex.quote(f'__jettison_at {shlex.quote(one.name)}')}"
        lines += [
            f"{at} -f -a {other.name.rpartition(' ')[2]} -d {_quoted(other.summary)}"
            for other in commands
            if other.name.rpartition(" ")[0] == one.name
        ]
        for option in one.options:
            names = " ".join(
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                for name in option.names
            )
            choices = f" -f -a {shlex.quote(' '.join(option.choices))}" if option.choices else ""
            takes = " -r" if option.value else ""
            lines.append(f"{at} {names}{takes}{choices} -d {_quoted(option.help)}")
    return "\n".join(lines) + "\n"


SHELLS: Final[dict[str, tuple[str, Callable[[list[Command]], str]]]] = {
    "bash": ("usr/share/bash-completion/completions/jettison", bash),
    "zsh": ("usr/share/zsh/vendor-completions/_jettison", zsh),
    "fish": ("usr/share/fish/vendor_completions.d/jettison.fish", fish),
}
"""Where each shell looks for its file, and what writes it."""


def _words(command: Command) -> list[str]:
    return [*command.commands, *(name for option in command.options for name in option.names)]


def _either(option: Option) -> str:
    return "|".join(option.names)


def _values(option: Option) -> str:
    return shlex.quote(" ".join(option.choices) or "-")


def _paths(commands: Iterable[Command]) -> str:
    return "|".join(_pattern(one) for one in commands if " " in one.name)


def _pattern(command: Command) -> str:
    return f'"{command.name}"'


def _plain(text: str) -> str:
    return text.replace(":", "\\:")


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_BASH: Final = """\
# Completion of jettison for bash, made by `make dist`.
_jettison() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    local command=jettison words= values= at
    for ((at = 1; at < COMP_CWORD; at++)); do
        case "$command ${COMP_WORDS[at]}" in
        @PATHS@) command+=" ${COMP_WORDS[at]}" ;;
        esac
    done
    case $command in
        @CASES@
    esac
    [[ $values == - ]] && return
    COMPREPLY=($(compgen -W "${values:-$words}" -- "$current"))
}
complete -o default -F _jettison jettison
"""

_ZSH: Final = """\
#compdef jettison
# Completion of jettison for zsh, made by `make dist`.
local command=jettison before=$words[CURRENT-1] values at
local -a below options
for ((at = 2; at < CURRENT; at++)); do
    case "$command $words[at]" in
    (@PATHS@) command+=" $words[at]" ;;
    esac
done
case $command in
    @CASES@
esac
if [[ $values == - ]]; then
    _files
elif [[ -n $values ]]; then
    compadd -- ${=values}
elif [[ $PREFIX == -* ]]; then
    _describe -o option options
elif (( $#below )); then
    _describe command below
else
    _files
fi
"""

_FISH: Final = """\
# Completion of jettison for fish, made by `make dist`.
function __jettison_at
    set -l command jettison
    for word in (commandline -opc)[2..-1]
        if contains -- "$command $word" @PATHS@
            set command "$command $word"
        end
    end
    test "$command" = "$argv[1]"
end"""
