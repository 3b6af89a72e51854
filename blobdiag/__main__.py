"""`python -m blobdiag`."""

from blobdiag.cli import main

if __name__ == "__main__":
    main()
