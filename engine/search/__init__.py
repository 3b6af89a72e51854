"""Search trees, and the lanes that search many of them in lockstep."""
