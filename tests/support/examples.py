"""How many examples a rule is tried on: some in `make test`, ten times as many in `make soak`."""

from hypothesis import settings


def examples(number: int) -> settings:
    """Return the settings of so many examples; those of `make soak` ask for ten times as many."""
    share = settings.get_profile(settings.get_current_profile_name()).max_examples
    return settings(max_examples=number * share // 100)
