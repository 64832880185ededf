"""``python -m jettison`` is ``jettison``."""

from jettison.cli.main import main

if __name__ == "__main__":
    main()
