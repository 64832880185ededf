"""How the client tells Jettison's server what it has seen before it deletes.

A DELETE by digest removes every tag that points to the manifest, including one pushed a moment ago.
The client therefore sends the tags that may go. The server looks and deletes under one lock, and
answers 412 if there are others. Other registries ignore the header.
"""

from typing import Final

__all__ = ["BUCKET_HEADER", "HEEDED", "MOST_NAMED", "ONLY_TAGS", "TAGS_CHANGED"]

BUCKET_HEADER: Final = "Jettison-Bucket"
"""The header in each answer of a server that heeds collections of a bucket: which one it serves."""

HEEDED: Final = "Jettison-Preconditions"
"""The header in the answer to ``GET /v2/`` of a server that heeds preconditions."""

ONLY_TAGS: Final = "Jettison-Only-Tags"
"""The header of a DELETE by digest: the tags that may go with it, separated by commas."""

TAGS_CHANGED: Final = "TAGS_CHANGED"
"""The error code of the answer 412: the client's statement is no longer true."""

MOST_NAMED: Final = 30
"""How many tags the header may name: servers bound headers to some kilobytes."""
