"""Any program, unchanged, as a target."""
