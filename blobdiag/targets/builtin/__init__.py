"""The engine of this project, as a target."""
