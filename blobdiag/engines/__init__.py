"""Engines that can be measured: the built-in one, and any other behind a small Protocol."""
