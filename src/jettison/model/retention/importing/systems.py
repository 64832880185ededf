"""The systems whose policies can be imported."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from jettison.model.retention.importing.azure import from_azure
from jettison.model.retention.importing.draft import Imported
from jettison.model.retention.importing.ecr import from_ecr
from jettison.model.retention.importing.gitea import from_gitea
from jettison.model.retention.importing.gitlab import from_gitlab
from jettison.model.retention.importing.google import from_google
from jettison.model.retention.importing.harbor import from_harbor
from jettison.model.retention.importing.quay import from_quay
from jettison.model.retention.importing.reading import Node
from jettison.model.retention.importing.zot import from_zot

__all__ = ["SYSTEMS", "System"]


class System(NamedTuple):
    """A system: what its file is called, and what imports it.

    ``convert`` takes the parsed file, and what the policy is attached to there (None: not told).
    """

    title: str
    convert: Callable[[Node, str | None], Imported]


SYSTEMS: Final[Mapping[str, System]] = {
    "ecr": System("a lifecycle policy of Amazon ECR", from_ecr),
    "gar": System("cleanup policies of Google Artifact Registry", from_google),
    "acr": System("acr purge of Azure", from_azure),
    "zot": System("a configuration of zot", from_zot),
    "harbor": System("a tag retention policy of Harbor", from_harbor),
    "gitlab": System("a cleanup policy of GitLab", from_gitlab),
    "quay": System("auto-prune policies of Quay", from_quay),
    "gitea": System("cleanup rules of Gitea", from_gitea),
}
