"""Advice for a registry that does not delete."""

from typing import Final

__all__ = ["deletion_hint"]

_DISABLED: Final = (
    "Set storage.delete.enabled: true in the registry's configuration (jettison check --fix CONFIG "
    "sets it for you), or REGISTRY_STORAGE_DELETE_ENABLED=true where it is started, such as "
    "docker run -e; and restart it. "
    "A pull-through cache (proxy.remoteurl) deletes nothing, whatever that says."
)
_READ_ONLY: Final = (
    "Set storage.maintenance.readonly.enabled: false in the registry's configuration "
    "and restart it."
)
_OWN_API: Final = {
    "GitHub": "GitHub deletes images by its own API: gh api --method DELETE "
    "/users/OWNER/packages/container/NAME/versions/ID (or /orgs/…).",
    "Docker Hub": "Docker Hub deletes images by its own API, and on its web pages.",
    "Amazon ECR": "ECR deletes images by its own API: aws ecr batch-delete-image "
    "--repository-name REPO --image-ids imageTag=TAG",
    "Azure": "Check whether the image or the repository is locked: az acr repository show "
    "--name REGISTRY --image REPO:TAG",
}
_LIKE_DISTRIBUTION: Final = ("Distribution", "Jettison")


def deletion_hint(product: str, *, read_only: bool = False) -> str:
    """Return how to enable deletion; Distribution's keys are for Distribution alone.

    ``product`` is empty as long as it is unknown.
    """
    if not product or product.startswith(_LIKE_DISTRIBUTION):
        return _READ_ONLY if read_only else _DISABLED
    for name, hint in _OWN_API.items():
        if product.startswith(name):
            return hint
    return "Ask the registry's operator, or see its documentation, how to delete there."
