"""From traces and telemetry to checks, findings and a plan; imports nothing of `engine`."""
