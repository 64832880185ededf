"""How our client tells our server what it has looked at before it deletes.

A DELETE by digest takes every tag along that points to it, also one pushed a moment ago. So the
client sends the tags that are to go, and the server, which looks and acts under one lock, answers
412 where there are others. Any other registry passes over a header that it does not know.
"""

from typing import Final

__all__ = ["HEEDED", "MOST_NAMED", "ONLY_TAGS", "TAGS_CHANGED"]

HEEDED: Final = "Jettison-Preconditions"
"""The header in the answer to ``GET /v2/`` of a server that heeds them."""

ONLY_TAGS: Final = "Jettison-Only-Tags"
"""The header of a DELETE by digest: the tags that may go with it, separated by commas."""

TAGS_CHANGED: Final = "TAGS_CHANGED"
"""The error code of the answer 412: what the client has seen is not so any more."""

MOST_NAMED: Final = 30
"""How many tags the header may name: a server takes headers of some kilobytes only."""
