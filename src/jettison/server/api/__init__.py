"""The API of a registry: one module for each kind of endpoint, over a storage."""
