"""The parts of `attacks.py`, a module each; each has `attacks(folder, count)`."""
