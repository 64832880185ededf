"""Retention: which images of a registry stay, which go, and why.

:func:`jettison.model.retention.decide.decide` is the whole decision: from what is in a repository,
when it came there, a policy and the time now, to a decision with its reason for each tag and each
untagged image.
"""
