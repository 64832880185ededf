"""Every journal entry comes back as it was, from the whole document and from its head alone."""

import tempfile
from pathlib import Path
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from jettison.model import codec
from jettison.model.digest import Digest
from jettison.model.journal import (
    CollectionEntry,
    Finding,
    FindingCode,
    JobState,
    JournalEntry,
    LeftCode,
    Receipt,
    RemovalEntry,
    RepairEntry,
    SavedManifest,
    StepLeft,
    UndoEntry,
    head_of,
)
from jettison.model.names import RepoName, Tag
from jettison.model.plan import (
    Broken,
    Estimate,
    Freed,
    Kept,
    Plan,
    Prediction,
    Shared,
    Step,
    StepAction,
)
from jettison.storage.journal import Journal

texts = st.text(st.characters(codec="utf-8"), max_size=20)
sizes = st.integers(0, 2**60)
seconds = st.floats(0, 4e9)
names = st.sampled_from(["a", "team/app", "x/y/z-1"]).map(RepoName)
tags = st.sampled_from(["1", "v2", "latest"]).map(Tag)
digests = st.binary(max_size=2).map(Digest.of)


def some(one: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(one, max_size=3).map(tuple)


steps = st.builds(Step, st.sampled_from(StepAction), names, st.none() | digests, some(tags), texts)
estimates = st.builds(
    Estimate,
    freed=some(st.builds(Freed, digests, sizes)),
    shared=some(st.builds(Shared, digests, sizes, some(texts), sizes)),
    freed_bytes=sizes,
    unknown=some(texts),
)
plans = st.builds(
    Plan,
    texts,
    texts,
    some(texts),
    some(steps),
    some(st.builds(Kept, names, digests, st.none() | tags, texts)),
    estimates,
    st.dictionaries(names, st.dictionaries(tags, digests, max_size=2), max_size=2),
    some(texts),
    some(st.builds(Broken, names, digests, some(digests), st.booleans(), st.booleans())),
)
saved = some(
    st.builds(SavedManifest, names, digests, texts, st.binary(), some(tags), st.booleans())
)
receipts = st.builds(
    Receipt,
    finished=texts,
    tags=sizes,
    predicted_bytes=st.none() | sizes,
    findings=some(
        st.builds(Finding, st.sampled_from(FindingCode), st.booleans(), texts, texts, st.booleans())
    ),
    notes=some(texts),
)
ID: Final = "20260102-030405-abcde"
head: dict[str, st.SearchStrategy[Any]] = {
    "id": st.just(ID),
    "state": st.sampled_from(JobState),
    "started": texts,
    "registry": texts,
    "request": some(texts),
    "storage": st.none() | texts,
    "receipt": st.none() | receipts,
}
window = st.none() | seconds
entries: st.SearchStrategy[JournalEntry] = st.one_of(
    st.builds(
        RemovalEntry,
        **head,
        plan=plans,
        saved=saved,
        fingerprint=texts,
        window_until=window,
        reclaim=st.booleans(),
        backup=st.none() | texts,
        product=texts,
        planned=seconds,
        grace=seconds,
        prediction=st.none() | st.builds(Prediction, sizes, sizes, sizes, some(texts), window),
        left=some(st.builds(StepLeft, sizes, some(tags), st.sampled_from(LeftCode), texts)),
    ),
    st.builds(CollectionEntry, **head, blobs=some(digests), links=some(st.tuples(names, digests))),
    st.builds(RepairEntry, **head, folder=texts),
    st.builds(
        UndoEntry,
        **head,
        of=texts,
        window_until=window,
        gave=some(st.tuples(names, tags, digests)),
        saved=saved,
    ),
)


@given(entries)
def test_an_entry_comes_back(entry: JournalEntry) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal.at(Path(folder))
        journal.write(entry)
        assert journal.read(ID) == entry
        assert journal.head(ID) == head_of(entry)
        assert [type(one) for one in journal.heads()] == [type(head_of(entry))]
        # Every version that knows no heads finds what it looks for, and people read it.
        whole = (Path(folder) / f"{ID}.json").read_bytes()
        assert codec.decode(whole, type(entry)) == entry
        assert whole.count(b"\n") == (entry.kind != "fsck")


@given(entries, st.data())
def test_a_head_needs_no_more_than_its_line(entry: JournalEntry, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal.at(Path(folder))
        journal.write(entry)
        path = Path(folder) / f"{ID}.json"
        line, _, rest = path.read_bytes().partition(b"\n")
        path.write_bytes(line + b"\n" + data.draw(st.binary(max_size=len(rest))))
        if rest:
            assert journal.head(ID) == head_of(entry)
