"""Places to connect to of which a test writes every byte, and what is told of what comes back."""
