"""What could happen between any two steps: of the protocol as a model, and of the code itself."""
