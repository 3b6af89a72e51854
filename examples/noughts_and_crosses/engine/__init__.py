"""A small self-play project: noughts and crosses, a network, a pool of workers."""
