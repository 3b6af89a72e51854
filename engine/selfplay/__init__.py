"""Self-play: the engine, its pool of worker processes, and their search threads."""
