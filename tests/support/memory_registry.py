"""`jettison serve` on a storage in memory: `python memory_registry.py serve CONFIG.yml`.

What the configuration says of the storage's root directory is not heeded.
"""

import os
import sys
from pathlib import Path

from jettison.configuration import read_configuration
from jettison.server.serving import serve
from jettison.storage.memory import MemoryStorage

if __name__ == "__main__":
    configuration = read_configuration(Path(sys.argv[2]), os.environ, "serving")
    serve(configuration, print, lambda _: MemoryStorage())
