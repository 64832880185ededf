"""What `make dist` makes, into dist/: `python -m release`, with packaging/ on the path."""
