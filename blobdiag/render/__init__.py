"""What a report looks like: terminal, page, Markdown, JUnit, Perfetto."""
