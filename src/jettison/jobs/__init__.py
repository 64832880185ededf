"""The jobs: check, discover, plan, apply, verify, undo; written once against `Registry`."""
