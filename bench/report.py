"""Figures as rows, rows as a table for the terminal and as a block of RESULTS.md."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench.agreement import Difference
from bench.chart import Bar

__all__ = [
    "Block",
    "Row",
    "Series",
    "Target",
    "bars",
    "difference_lines",
    "digits",
    "growth_row",
    "limit_row",
    "markdown",
    "memory_row",
    "rate_row",
    "replaced",
    "share_row",
    "speed_row",
    "text_table",
    "unjudged",
    "write_block",
]

COLUMNS: Final = ("measure", "docker-registry", "Jettison", "ratio", "target", "met?")
MB: Final = 1e6
UNIT_MB: Final = " MB"


class Series(NamedTuple):
    """What several runs measured: wall times in seconds, or figures in another unit."""

    times: tuple[float, ...]
    unit: str = "s"

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.times)

    def __str__(self) -> str:
        shown = f"{digits(self.median)} {self.unit}"
        if len(self.times) > 1:
            shown += f" ({digits(min(self.times))}–{digits(max(self.times))})"
        return shown


class Target(NamedTuple):
    """What a figure should be ``least`` or at ``most``."""

    least: float | None = None
    most: float | None = None
    unit: str = "×"

    def met(self, figure: float) -> bool:
        """Whether it is."""
        return (self.least is None or figure >= self.least) and (
            self.most is None or figure <= self.most
        )

    def __str__(self) -> str:
        if self.least is not None:
            return f"≥ {self.least:g}{self.unit}"
        return f"≤ {self.most:g}{self.unit}"


class Row(NamedTuple):
    """One line: both figures, the ratio of them, and what was aimed at.

    ``judged`` is the figure that the target is about. ``speed``: how many times as fast, for the
    chart, with ``note`` below its label.
    """

    measure: str
    theirs: str
    ours: str
    ratio: str = ""
    judged: float | None = None
    target: Target | None = None
    speed: float | None = None
    note: str = ""

    @property
    def met(self) -> str:
        """``yes``, ``no``, or nothing where nothing was aimed at."""
        if self.target is None or self.judged is None:
            return ""
        return "yes" if self.target.met(self.judged) else "no"

    @property
    def cells(self) -> tuple[str, ...]:
        """The table's cells."""
        target = "" if self.target is None else str(self.target)
        return (self.measure, self.theirs, self.ours, self.ratio, target, self.met)


def digits(value: float) -> str:
    """Return a figure with three digits: ``0.362``, ``6.31``, ``140``, ``1,240``."""
    for limit, places in ((0.9995, 3), (9.995, 2), (99.95, 1)):
        if value < limit:
            return f"{value:.{places}f}"
    return f"{value:,.0f}"


def speed_row(measure: str, theirs: Series, ours: Series, target: Target | None) -> Row:
    """Return the row of a race: how many times as fast Jettison is."""
    ratio = theirs.median / ours.median
    return _race(measure, theirs, ours, ratio, target)


def rate_row(measure: str, theirs: Series, ours: Series, target: Target | None) -> Row:
    """Return the row of a race in which more is better: how many times as fast Jettison is."""
    return _race(measure, theirs, ours, ours.median / theirs.median, target)


def share_row(measure: str, theirs: Series, ours: Series, target: Target | None) -> Row:
    """Return the row of a cost: how much of docker-registry's it is."""
    ratio = ours.median / theirs.median
    return Row(measure, str(theirs), str(ours), f"{digits(ratio)}×", ratio, target)


def limit_row(measure: str, theirs: Series, ours: Series, target: Target | None) -> Row:
    """Return the row of a figure whose target is about Jettison alone."""
    return share_row(measure, theirs, ours, target)._replace(judged=ours.median)


def _race(measure: str, theirs: Series, ours: Series, ratio: float, target: Target | None) -> Row:
    note = f"{digits(theirs.median)} {theirs.unit} → {digits(ours.median)} {ours.unit}"
    return Row(measure, str(theirs), str(ours), f"{digits(ratio)}×", ratio, target, ratio, note)


def memory_row(measure: str, theirs: int, ours: int, target: Target | None) -> Row:
    """Return the row of two sizes in bytes; the target is about their ratio, or about MB."""
    ratio = ours / theirs
    judged = ours / MB if target is not None and target.unit == UNIT_MB else ratio
    return Row(measure, _mb(theirs), _mb(ours), f"{digits(ratio)}×", judged, target)


def growth_row(measure: str, theirs: float, ours: float, target: Target | None) -> Row:
    """Return the row of two ratios."""
    return Row(measure, f"{digits(theirs)}×", f"{digits(ours)}×", "", ours, target)


def _mb(size: int) -> str:
    return f"{digits(size / MB)} MB"


def unjudged(rows: Iterable[Row]) -> list[Row]:
    """Return the rows without their targets: those are about other trees than these."""
    return [row._replace(target=None) for row in rows]


def bars(rows: Iterable[Row]) -> list[Bar]:
    """Return the chart's bars: the races."""
    return [_bar(row, row.speed) for row in rows if row.speed is not None]


def _bar(row: Row, speed: float) -> Bar:
    label, _, where = row.measure.partition(", ")
    note = " · ".join(filter(None, (where, row.note)))
    return Bar(label, speed, row.ratio, note, row.target.least if row.target else None)


def text_table(rows: Sequence[Row], beside: str = COLUMNS[1]) -> str:
    """Return the table for a terminal; ``beside`` is whom Jettison was measured beside."""
    grid = [(COLUMNS[0], beside, *COLUMNS[2:]), *(row.cells for row in rows)]
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    lines = [
        "  ".join(
            # The first column is text, the others are figures.
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in grid
    ]
    return "\n".join([lines[0], "-" * sum([*widths, 2 * len(widths) - 2]), *lines[1:]])


def difference_lines(where: str, agreed: int, found: Sequence[Difference]) -> list[str]:
    """Return a sentence about each difference, or one that there is none.

    ``agreed``: how many blobs both programs delete.
    """
    if not found:
        return [f"{where}: both delete the same {_blobs(agreed)}."]
    return [f"{where}: both delete {_blobs(agreed)}; {_told(one)}" for one in found]


def _blobs(number: int) -> str:
    return f"{number:,} {'blob' if number == 1 else 'blobs'}"


def _told(one: Difference) -> str:
    count = _blobs(len(one.blobs))
    if one.reason is None:
        some = ", ".join(sorted(one.blobs)[:5])
        return f"only {one.program} deletes {count}, and nobody knows why: {some}"
    return f"only {one.program} deletes {count} {one.reason}."


class Block(NamedTuple):
    """What stands around a table in RESULTS.md: Markdown."""

    title: str
    picture: str
    """A file beside it."""
    method: str
    findings: tuple[str, ...] = ()
    """More lines below the method."""


def markdown(
    rows: Sequence[Row],
    block: Block,
    facts: Mapping[str, str],
    date: str,
    command: str,
    remark: str = "",
) -> str:
    """Return the block for RESULTS.md; ``remark`` stands out above all."""
    header = [column.capitalize() if column[0] != "d" else column for column in COLUMNS]
    lines = [
        f"## {block.title}",
        "",
        *([f"**{remark}**", ""] if remark else []),
        f"![How many times as fast as docker-registry, on a log scale]({block.picture})",
        "",
        "| " + " | ".join(header) + " |",
        "|---|" + "--:|" * (len(header) - 1),
        *("| " + " | ".join(row.cells) + " |" for row in rows),
        "",
        block.method,
        "",
        *([*block.findings, ""] if block.findings else []),
        f"Measured {date} by `{command}` on:",
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
    ]
    return "\n".join(lines)


def replaced(text: str, name: str, block: str) -> str:
    """Return a text with the block between its markers; it is added where there is none yet."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    whole = f"{begin}\n{block}\n{end}"
    before, found, rest = text.partition(begin)
    if not found:
        return f"{text.rstrip()}\n\n{whole}\n"
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{begin} without {end}")
    return f"{before}{whole}{after}"


def write_block(file: Path, name: str, block: str) -> None:
    """Put the block into the file, which is made if it is not there."""
    text = file.read_text(encoding="utf-8") if file.exists() else "# Benchmarks\n"
    file.write_text(replaced(text, name, block), encoding="utf-8")
