"""Matches between players, and the strength they show."""
