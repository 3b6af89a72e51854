"""Self-play: workers, their pool, and the games they are dealt."""
