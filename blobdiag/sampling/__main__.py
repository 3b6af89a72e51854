"""The sampler's process: `python -m blobdiag.sampling DESCRIPTOR PARENT`, as the recorder has it.

DESCRIPTOR is the inherited end of a connection (on Windows its handle), PARENT the recorder's PID.
"""

from __future__ import annotations

import signal
import sys

# Ctrl-C reaches the whole process group, but only the parent answers it: the samples of an
# interrupted run are wanted too. Before the imports, which take the longest.
signal.signal(signal.SIGINT, signal.SIG_IGN)

if __name__ == "__main__":
    if sys.platform == "win32":
        from multiprocessing.connection import PipeConnection as Connection
    else:
        from multiprocessing.connection import Connection
    from blobdiag.sampling.sampler import serve

    serve(Connection(int(sys.argv[1])), int(sys.argv[2]))
