"""What a registry contains and what a removal means: pure, without IO, clock or logging."""
