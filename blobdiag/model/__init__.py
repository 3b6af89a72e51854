"""The report: its parts, their versions, and the files it is kept in."""
