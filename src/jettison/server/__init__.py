"""The registry server: a drop-in for CNCF Distribution's ``registry serve``."""
