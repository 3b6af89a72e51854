"""Measurements, each of which ends in an unjudged report."""
