"""Draw docs/architecture.svg: the rooms of `src/jettison`, and who imports whom. `make docs`.

The rooms stand on a stair, each layer below those that may import it. A line leaves a room to the
right, and has a dot above each room that it imports. The layers come from `tests/layers.py`, sizes
and imports from the code itself.
"""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

from tests.layers import LAYERS, PACKAGE, SOURCE, Layer, dotted, imported, room_of

__all__ = ["TARGET", "Room", "draw", "lines_shown", "rooms", "stale"]

TARGET: Final = Path(__file__).with_suffix(".svg")

LEFT: Final = 146
TOP: Final = 96
BOX: Final = 222
TALL: Final = 44
STEP: Final = 54
STAIR: Final = 43
"""How much further to the right each room begins than the one above."""
INSET: Final = 21
"""How far from a box's right edge the line into it comes down: right of all boxes above."""

TITLE: Final = "The rooms of src/jettison, and what imports what"
HOW: Final = (
    "A room's line leaves it to the right. Each dot on it is an import: follow it down.",
    "A line leads up only between rooms of one layer. Figures are lines of code.",
)

# The picture brings its own background, so it can be read on a page of either kind.
STYLE: Final = """\
text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", Helvetica, sans-serif; }
.card { fill: #ffffff; stroke: #d0d7de; }
.band { fill: #f6f8fa; }
.title { fill: #1f2328; font-size: 17px; font-weight: 600; }
.layer, .note { fill: #59636e; font-size: 12px; }
.layer { font-weight: 600; }
.room { fill: #ddf4ff; stroke: #1f6feb; }
.name { fill: #1f2328; font-size: 14px; font-weight: 600; }
.lines { fill: #1f2328; font-size: 12px; text-anchor: end; }
.wire { fill: none; stroke: #8c959f; stroke-width: 1.2; }
.dot { fill: #59636e; }
@media (prefers-color-scheme: dark) {
  .card { fill: #0d1117; stroke: #3d444d; }
  .band { fill: #151b23; }
  .title, .name, .lines { fill: #f0f6fc; }
  .layer, .note { fill: #9198a1; }
  .room { fill: #10233f; stroke: #4493f8; }
  .wire { stroke: #656c76; }
  .dot { fill: #9198a1; }
}"""

_SIZE: Final = re.compile(r'(<text class="lines"[^>]*>)([\d,]+)')


class Room(NamedTuple):
    """A top-level package or module: its layer, what it holds, its size, and what it imports."""

    name: str
    layer: Layer
    holds: str
    lines: int
    imports: frozenset[str]

    @property
    def shown(self) -> str:
        """How it is named: a folder, a file, or the package itself."""
        if not self.name:
            return "__init__.py"
        return f"{self.name}/" if (SOURCE / self.name).is_dir() else f"{self.name}.py"


def rooms() -> list[Room]:
    """Read every room that there is, in the order of the table of layers."""
    sizes: Counter[str] = Counter()
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in sorted(SOURCE.rglob("*.py")):
        module = dotted(path, SOURCE)
        room, text = room_of(module), path.read_text(encoding="utf-8")
        sizes[room] += len(text.splitlines())
        for _, name in imported(ast.parse(text), module, is_package=path.name == "__init__.py"):
            package, *inner = name.split(".")
            if package == PACKAGE and room_of(inner) != room:
                found[room].add(room_of(inner))
    return [
        Room(name, layer, holds, sizes[name], frozenset(found[name]))
        for layer in LAYERS
        for name, holds in layer.rooms.items()
        if name in sizes
    ]


def lines_shown(lines: int) -> str:
    """Return a size as it is drawn: two digits, so that a small change needs no new picture."""
    step = 10 ** max(0, len(str(lines)) - 2)
    return f"{round(lines / step) * step:,}"


def draw(all_rooms: list[Room]) -> str:
    """Return the whole picture."""
    places = {room.name: place for place, room in enumerate(all_rooms)}
    width = _left(len(all_rooms) - 1) + BOX + 16
    height = TOP + STEP * len(all_rooms) + 16
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{TITLE}">',
        f"<title>{TITLE}</title>",
        f"<style>\n{STYLE}\n</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
        _text(24, 34, "title", TITLE),
        *(_text(24, 56 + 17 * row, "note", line) for row, line in enumerate(HOW)),
        *_bands(all_rooms, width),
        *_wires(all_rooms, places),
        *(part for room in all_rooms for part in _box(room, places[room.name])),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def stale(kept: str, drawn: str) -> str:
    """Return how a kept picture differs from one drawn now, or "" if it still will do.

    A size may be out by a quarter, so that few commits have to draw the picture again.
    """
    if _SIZE.sub(r"\1", kept) != _SIZE.sub(r"\1", drawn):
        return "rooms or imports have changed"
    for old, new in zip(_sizes(kept), _sizes(drawn), strict=True):
        if abs(old - new) > max(new, 40) / 4:
            return f"a room of {new} lines is drawn with {old}"
    return ""


def _sizes(svg: str) -> list[int]:
    return [int(size.replace(",", "")) for _, size in _SIZE.findall(svg)]


def _bands(all_rooms: list[Room], width: int) -> Iterator[str]:
    """Every second layer gets another ground; each has its title at the left."""
    layers = list(dict.fromkeys(room.layer.title for room in all_rooms))
    for number, title in enumerate(layers):
        inside = [place for place, room in enumerate(all_rooms) if room.layer.title == title]
        y = TOP + STEP * inside[0]
        if number % 2 == 0:
            tall = STEP * len(inside)
            yield f'<rect class="band" x="1" y="{y}" width="{width - 2}" height="{tall}"/>'
        yield _text(24, y + 31, "layer", title)


def _wires(all_rooms: list[Room], places: dict[str, int]) -> Iterator[str]:
    """Draw one line out of each room, one into each, and a dot where an import joins the two."""
    dots = [(places[room.name], places[one]) for room in all_rooms for one in room.imports]
    for place in range(len(all_rooms)):
        ends = [_wire_x(target) for source, target in dots if source == place]
        if ends:
            yield _line(_left(place) + BOX, _middle(place), max(ends), _middle(place))
        sources = [source for source, target in dots if target == place]
        above = [_middle(one) for one in sources if one < place]
        below = [_middle(one) for one in sources if one > place]
        if above:
            yield from _arrow(_wire_x(place), min(above), _top(place), -6)
        if below:
            yield from _arrow(_wire_x(place), max(below), _top(place) + TALL, 6)
    for source, target in sorted(dots):
        yield f'<circle class="dot" cx="{_wire_x(target)}" cy="{_middle(source)}" r="3.5"/>'


def _box(room: Room, place: int) -> Iterator[str]:
    x, y = _left(place), _top(place)
    yield f'<rect class="room" x="{x}" y="{y}" width="{BOX}" height="{TALL}" rx="6"/>'
    yield _text(x + 12, y + 19, "name", room.shown)
    yield _text(x + BOX - 12, y + 19, "lines", lines_shown(room.lines))
    yield _text(x + 12, y + 36, "note", room.holds)


def _left(place: int) -> int:
    return LEFT + STAIR * place


def _top(place: int) -> int:
    return TOP + STEP * place + (STEP - TALL) // 2


def _middle(place: int) -> int:
    return _top(place) + TALL // 2


def _wire_x(place: int) -> int:
    """Where the line into a room comes down."""
    return _left(place) + BOX - INSET


def _arrow(x: int, start: int, end: int, tip: int) -> Iterator[str]:
    yield _line(x, start, x, end)
    yield f'<path class="dot" d="M{x} {end}l-4 {tip}h8z"/>'


def _line(x: int, y: int, to_x: int, to_y: int) -> str:
    return f'<path class="wire" d="M{x} {y}L{to_x} {to_y}"/>'


def _text(x: int, y: int, kind: str, text: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>'


def main() -> None:
    """Draw the picture again, unless the one that is kept still will do."""
    drawn = draw(rooms())
    if not TARGET.exists() or stale(TARGET.read_text(encoding="utf-8"), drawn):
        TARGET.write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
