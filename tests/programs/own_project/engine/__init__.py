"""Self-play of somebody else, whose package happens to be called `engine` too."""
