"""Another project's engine, in a process of its own, as a target."""
