"""autosd.models."""
