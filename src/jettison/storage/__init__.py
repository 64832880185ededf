"""A registry's storage tree on a disk: its paths, what is in it, its configuration, its lock."""
