"""autosd.cli."""
