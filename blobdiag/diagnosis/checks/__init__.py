"""Checks: each holds one expectation against what a report shows."""
