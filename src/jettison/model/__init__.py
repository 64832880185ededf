"""What a registry is, what a removal means: pure, without IO, clock, environment or logging."""
