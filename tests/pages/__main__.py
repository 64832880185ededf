"""List what the pages show, and what of it is not run: `python -m tests.pages`."""

from collections import Counter

from docs.build_site import ROOT
from tests.pages.reading import blocks, pages


def main() -> None:
    """Print a line for each page, and one for each block that is not run, with its reason."""
    reasons = Counter[str]()
    run = left = 0
    for page in pages():
        commands = {True: 0, False: 0}
        for block in blocks(page):
            commands[block.reason is None] += len(block.commands)
            if block.reason is not None:
                reasons[f"{page.relative_to(ROOT)}: {block.reason}"] += len(block.commands)
        run += commands[True]
        left += commands[False]
        print(f"{commands[True]:4} run {commands[False]:4} not  {page.relative_to(ROOT)}")  # noqa: T201
    print(f"{run:4} run {left:4} not  in all\n")  # noqa: T201
    for reason, count in sorted(reasons.items()):
        print(f"{count:4}  {reason}")  # noqa: T201


if __name__ == "__main__":
    main()
