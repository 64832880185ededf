"""What ``import jettison`` offers: sessions with a registry and with a storage.

The command line is written with these. Everything else of the package may change without notice.
"""
