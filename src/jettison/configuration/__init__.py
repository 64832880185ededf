"""The configuration of a registry: Distribution's file and variables, and Jettison's own keys.

``settings`` are the values, ``reading`` makes them from a file, ``keys`` is the table of every key.
"""

from jettison.configuration.addresses import is_local, parse_address
from jettison.configuration.problems import Problem, refusal
from jettison.configuration.reading import examine_configuration, for_folder, read_configuration
from jettison.configuration.settings import SUPPORTED, Configuration

__all__ = [
    "SUPPORTED",
    "Configuration",
    "Problem",
    "examine_configuration",
    "for_folder",
    "is_local",
    "parse_address",
    "read_configuration",
    "refusal",
]
