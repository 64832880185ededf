"""Policies of other systems as policies of ours: what is imported never removes more.

A module for each system takes its file as parsed, and returns an
:class:`~jettison.model.retention.importing.draft.Imported`. What has no equivalent keeps, and is
named; what the original does and its author may not have meant is a question.
"""
