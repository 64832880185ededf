"""A push of the model: what it can do next."""

from collections.abc import Iterator

from tests.interleavings.states import (
    BEGINNING,
    BLOB,
    IMAGE,
    LINK,
    NONE,
    TAG,
    Asks,
    Keys,
    Push,
    Rules,
    State,
    each,
    told,
)

Steps = Iterator[tuple[str, State]]


def push_steps(state: State, place: int, push: Push, rules: Rules) -> Steps:
    """Yield what a push can do next: a label, and what comes of it."""
    if push.asks == Asks.NOTHING:
        return
    name = push.asks.name.lower()
    if push.waits:
        if not any(state.is_open(number) for number in range(9) if push.waits >> number & 1):
            again = _begin(push.asks)._replace(known=state.over, promised=push.promised)
            yield f"begins {name}", state.with_push(place, again)
    elif push.unread:
        for key in each(push.unread):
            yield from _look(state, place, push, key)
    elif first := _first(push, rules):
        for key in each(first):
            after = push._replace(unwritten=push.unwritten & ~key)
            store = state.store.put(key)
            yield f"writes {told(key)}", state.with_push(place, after)._replace(store=store)
    elif push.unwritten:
        yield _make_sure(state, place, push, rules)
    else:
        yield _end(state, place, push, rules)


def _first(push: Push, rules: Rules) -> Keys:
    """What is to be written next: a tag when it is sure what that leads to."""
    return push.unwritten if push.sure or not rules.tagging_last else push.unwritten & ~TAG


def _make_sure(state: State, place: int, push: Push, rules: Rules) -> tuple[str, State]:
    """Look at the sweeps before a tag is written."""
    if rules.looking and (waits := _naming(state, BLOB | IMAGE, push.known, rules)):
        after = push._replace(waits=waits)
        return "sees a sweep of what it needs before the tag", state.with_push(place, after)
    return "is sure of the image", state.with_push(place, push._replace(sure=True))


def _end(state: State, place: int, push: Push, rules: Rules) -> tuple[str, State]:
    """Look at the sweeps at the end of a request, if it was not done before."""
    name = push.asks.name.lower()
    keys = BLOB if push.asks != Asks.MANIFEST else BLOB | IMAGE
    if rules.looking and not push.sure and (waits := _naming(state, keys, push.known, rules)):
        after = push._replace(waits=waits)
        return f"sees a sweep of what it needs at the end of {name}", state.with_push(place, after)
    following = Asks.MANIFEST if push.asks != Asks.MANIFEST else Asks.NOTHING
    after = _begin(following)._replace(known=push.known | state.over, promised=push.promised | keys)
    return f"succeeds with {name}", state.with_push(place, after)


def _begin(asks: Asks) -> Push:
    return Push(asks, unwritten=IMAGE if asks == Asks.MANIFEST else NONE)


def _look(state: State, place: int, push: Push, key: Keys) -> Steps:
    """Look at one key that a request relies on; what is not there is refused or written."""
    unread, unwritten = push.unread & ~key, push.unwritten
    if key & state.store.there or push.asks == Asks.COMMIT:
        # A manifest makes its layers reached; whatever else needs a link makes it young.
        if key & ~state.store.there or (key == LINK and push.asks != Asks.MANIFEST):
            unwritten |= key
        yield (
            f"looks at {told(key)}",
            state.with_push(place, push._replace(unread=unread, unwritten=unwritten)),
        )
    elif push.asks == Asks.HEAD:
        after = _begin(Asks.COMMIT)._replace(known=push.known, promised=push.promised)
        yield f"misses {told(key)}", state.with_push(place, after)
    else:
        after = _begin(Asks.NOTHING)._replace(promised=push.promised)
        yield f"misses {told(key)} and is refused", state.with_push(place, after)


def _naming(state: State, keys: Keys, known: int, rules: Rules) -> int:
    """Return the sweeps not `known` to be over that name a key, as bits; bit 0 if one is gone."""
    later = [one for one in state.records if not known >> one.number & 1]
    found = sum(1 << one.number for one in later if one.keys & keys)
    told = known | sum(1 << one.number for one in later)
    if rules.gaps and any(not told >> number & 1 for number in range(1, state.highest + 1)):
        found |= BEGINNING
    return found
