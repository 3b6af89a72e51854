"""The report: one versioned model, and the reporters that draw it."""
