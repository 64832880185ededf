"""``jettison demo``."""

from typing import Annotated

import typer

__all__ = ["EXAMPLE", "demo"]

EXAMPLE = "Example: jettison demo"


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the registry's folder for a look around.")
    ] = False,
) -> None:
    """Tell the whole story on sample images: no network, nothing left behind.

    Starts a real registry on a free loopback port, pushes images, and deletes, frees, proves and
    undoes with the very commands you would type.
    """
    from jettison.demo.story import tell

    tell(keep=keep)
