"""Jettison deletes images from container registries, gets the disk space back, and proves it."""

__version__ = "0.1.0"
