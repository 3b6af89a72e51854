"""What is stored per user between runs: tuned settings, run-to-run spreads."""
