"""The command line: parse, call, render; it makes no decisions about registries."""
