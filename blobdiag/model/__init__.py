"""The report and its files, settings and options, and the names that all parts share."""
