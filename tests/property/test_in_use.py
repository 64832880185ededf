"""Nothing in a list of images in use is removed, nor what it refers to, whatever the policy."""

from hypothesis import given
from hypothesis import strategies as st

from jettison.configuration.policy_file import parse_policy
from jettison.errors import Refused
from jettison.model.digest import Digest
from jettison.model.names import Tag
from jettison.model.removal import plan_removal
from jettison.model.retention.decide import Decider
from jettison.model.retention.evidence import Evidence
from jettison.model.retention.in_use import read_in_use
from jettison.model.snapshot import RepositorySnapshot, Snapshot
from tests.property.registries import Naive, grow, snapshots

EVERYTHING = parse_policy(
    """
    rules:
    - {tags: ["*"], remove: all}
    - {state: untagged, remove: all}
    - {state: orphaned, remove: all}
    """,
    "policy.yml",
)


def goes(
    repository: RepositorySnapshot, listed: list[str]
) -> tuple[frozenset[Tag], frozenset[Digest]]:
    held = read_in_use("\n".join(listed).encode(), "list", may_be_empty=True)
    found = Decider(EVERYTHING, 0, held).decide(repository, Evidence())
    try:
        removal = plan_removal(repository, found.tags, found.digests)
    except Refused:
        return found.tags, found.digests
    return removal.tags, removal.manifests


@given(data=st.data(), snapshot=snapshots())
def test_what_is_in_use_stays_whole(data: st.DataObject, snapshot: Snapshot) -> None:
    names = [f"mirror:5/{r.name}:{tag}" for r in snapshot.repositories.values() for tag in r.tags]
    there = {d for r in snapshot.repositories.values() for d in {*r.manifests, *r.unreadable}}
    configs = {
        m.config.digest
        for r in snapshot.repositories.values()
        for m in r.manifests.values()
        if m.config is not None
    }
    known = [*names, *sorted(there | configs)]
    listed = data.draw(st.lists(st.sampled_from(known), max_size=3)) if known else []
    for repository in snapshot.repositories.values():
        tags, manifests = goes(repository, listed)
        naive = Naive.of(repository)
        used = {
            digest
            for digest, manifest in repository.manifests.items()
            if digest in listed
            or (manifest.config is not None and manifest.config.digest in listed)
        }
        for tag, digest in repository.tags.items():
            if f"mirror:5/{repository.name}:{tag}" in listed:
                assert tag not in tags
                used.add(digest)
        whole = grow(used, naive.children)
        assert not whole & manifests
        by_digest = {digest for digest in used if digest in listed}
        above = {
            digest for digest in repository.manifests if grow({digest}, naive.children) & by_digest
        }
        assert not above & manifests
