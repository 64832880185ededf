"""A snapshot that was written and read decides as the registry that it was taken of."""

from hypothesis import given
from hypothesis import strategies as st

from jettison.configuration.policy_file import parse_policy
from jettison.model.listing_problems import ListingProblem, ProblemCode
from jettison.model.retention.decide import Decider
from jettison.model.retention.evidence import Evidence, Moment, Times
from jettison.model.retention.patterns import Pattern
from jettison.model.retention.snapshot_document import (
    begin_document,
    end_document,
    read_document,
    repository_line,
)
from jettison.model.snapshot import RepositorySnapshot, Snapshot
from tests.property.registries import snapshots

TAKEN = 1_800_000_000.0
POLICY = parse_policy(
    """
    rules:
    - {tags: ["*"], keep: {last: 1, within: 3d, pulled_within: 2d}, remove: {older_than: 5d}}
    - {state: untagged, remove: {older_than: 2d}}
    - {state: orphaned, remove: all}
    """,
    "policy.yml",
)
sources = st.sampled_from(["tag history", 'an "odd"\nsource \x7f\u202e\U000e0001é'])
moments = st.none() | st.builds(Moment, st.floats(TAKEN - 1e6, TAKEN), sources)
times = st.builds(Times, moments, moments, moments, moments)


@st.composite
def evidence_of(draw: st.DrawFn, repository: RepositorySnapshot) -> Evidence:
    return Evidence(
        {tag: draw(times) for tag in repository.tags},
        {digest: draw(times) for digest in repository.manifests},
        draw(st.none() | st.floats(0, TAKEN)),
        copied=draw(st.booleans()),
    )


@given(data=st.data(), snapshot=snapshots())
def test_what_was_written_is_read(data: st.DataObject, snapshot: Snapshot) -> None:
    found = [
        (repository, data.draw(evidence_of(repository)))
        for repository in snapshot.repositories.values()
    ]
    problem = ListingProblem(ProblemCode.DENIED, "team/secret", "not for this login")
    lines = [
        begin_document("localhost:5000", "Distribution 3", TAKEN, (Pattern("v*"),)),
        *(repository_line(*one, first=number == 0) for number, one in enumerate(found)),
        end_document([problem]),
    ]
    assert all(line.isprintable() and line.isascii() for line in lines)
    read = read_document("\n".join(lines).encode(), "snapshot.json")
    assert (read.registry, read.product, read.taken) == ("localhost:5000", "Distribution 3", TAKEN)
    assert read.problems == (problem,)
    assert read.immutable == ("v*",)
    assert list(read.repositories()) == sorted(found, key=lambda one: one[0].name)
    decider = Decider(POLICY, TAKEN)
    found.sort(key=lambda one: one[0].name)
    for before, after in zip(found, read.repositories(), strict=True):
        assert decider.decide(*before) == decider.decide(*after)
