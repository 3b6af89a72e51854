"""A program's own start-up code."""

print("own sitecustomize", flush=True)
