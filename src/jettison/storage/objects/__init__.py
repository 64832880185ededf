"""Distribution's tree in a bucket: the keys are the paths of the tree, and one listing tells most.

The package needs ``obstore``, the extra ``jettison[objects]``.
"""

from jettison.storage.objects.storage import ObjectStorage

__all__ = ["ObjectStorage"]
