"""The sampler's process: `python -m blobdiag.sampling DESCRIPTOR PARENT`, as the recorder has it.

DESCRIPTOR is the inherited end of a connection (on Windows its handle), PARENT the recorder's PID.
"""

from __future__ import annotations

import os
import signal
import sys

# Ctrl-C and a closed terminal reach the whole process group, but only the parent answers them: the
# samples of an interrupted run are wanted too. Before the imports, which take the longest.
for name in ("SIGINT", "SIGHUP"):
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.SIG_IGN)

PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with_parent(parent: int, number: int) -> None:
    """Have the kernel signal this process when the thread that started it ends; Linux only.

    Exits where it has ended already. 0 lifts it.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(1)


if __name__ == "__main__":
    # During the imports: `serve` notices the parent's death, which is not that of a thread, itself.
    die_with_parent(int(sys.argv[2]), signal.SIGKILL)
    if sys.platform == "win32":
        from multiprocessing.connection import PipeConnection as Connection
    else:
        from multiprocessing.connection import Connection
    from blobdiag.sampling.sampler import serve

    die_with_parent(int(sys.argv[2]), 0)
    serve(Connection(int(sys.argv[1])), int(sys.argv[2]))
