"""Checks: each compares one expectation with a report."""
