"""A registry's storage: its protocol, its implementations, and what is built on them."""
