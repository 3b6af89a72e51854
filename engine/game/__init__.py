"""The game: rules, belief, encoding, symmetry."""
