"""Matches between players, and what they say of strength."""
