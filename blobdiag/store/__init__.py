"""What is kept per user: tuned settings, run-to-run spread."""
