"""``jettison demo``."""

from typing import Annotated

import typer

__all__ = ["EXAMPLE", "demo"]

EXAMPLE = "Example: jettison demo"


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Keep the registry's folder.")] = False,
) -> None:
    """Show the whole story on sample images, without a network, and leave nothing behind.

    Starts a real registry on a free loopback port, pushes images, and deletes, frees, proves and
    undoes with the commands that you would type.
    """
    from jettison.demo.story import tell

    tell(keep=keep)
