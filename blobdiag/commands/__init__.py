"""One file a command: run a workload, measure it, judge it, report it."""
