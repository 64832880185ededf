"""The command line: parse, call, render; no decisions about registries are made here."""
