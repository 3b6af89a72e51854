"""Measurements; each ends in an unjudged report."""
