"""Hostile programs under `blobdiag run`: their output and exit code are the same without it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

from attacks.common import Attack

SECONDS = 180.0
"""For one program, on a machine that has other work."""

ADDRESS = re.compile(rb"0x[0-9a-f]+")

TORCH = """
    import torch
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 2)
        def forward(self, x):
            return self.layer(x)
"""

CHEAP: dict[str, str] = {
    "exit code 300": "import sys; sys.exit(300)",
    "exit with a text": "import sys; sys.exit('a text')",
    "exit with a list": "import sys; sys.exit([1, 2])",
    "exit with -1": "import sys; sys.exit(-1)",
    "os._exit": "import os; os.write(1, b'out'); os._exit(77)",
    "an exception": "def f(): raise ValueError('\\udcff is no text')\nf()",
    "killed by itself": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "every descriptor closed": "import os\nos.write(1, b'x')\nos.closerange(0, 256)\nos._exit(4)",
    "environment cleared": """
        import os, subprocess, sys
        os.environ.clear()
        subprocess.run([sys.executable, '-c', 'print(1)'], check=True)
    """,
    "exec of another program": "import os; os.execv('/bin/sh', ['sh', '-c', 'echo $0; exit 9'])",
    "binary output": "import os\nfor n in range(256): os.write(1 + n % 2, bytes([n]))",
    "PYTHONPATH changed": """
        import os, subprocess, sys
        os.environ['PYTHONPATH'] = '/nonexistent'
        subprocess.run([sys.executable, '-c', 'print(2)'], check=True)
    """,
}
"""Python programs that are done at once."""

PROGRAMS: dict[str, str] = {
    **CHEAP,
    "exit in a thread": """
        import threading, sys
        thread = threading.Thread(target=lambda: sys.exit(5)); thread.start(); thread.join()
        print('on')
    """,
    "exit with a huge number": "import sys; sys.exit(10**30)",
    "exit with None": "import sys; sys.exit(None)",
    "exit at import": "import builtins; builtins.exit(6)",
    "segmentation fault": "import ctypes; ctypes.string_at(0)",
    "abort": "import os; os.abort()",
    "SIGTERM to itself": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "SIGINT to itself": "import os, signal; os.kill(os.getpid(), signal.SIGINT)",
    "SIGHUP to itself": "import os, signal; os.kill(os.getpid(), signal.SIGHUP)",
    "SIGPIPE to itself": """
        import os, signal
        signal.signal(signal.SIGPIPE, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGPIPE)
    """,
    "a real-time signal to itself": "import os, signal; os.kill(os.getpid(), signal.SIGRTMIN + 3)",
    "SIGUSR1 handled": """
        import os, signal
        signal.signal(signal.SIGUSR1, lambda *_: print('handled', flush=True))
        os.kill(os.getpid(), signal.SIGUSR1)
    """,
    "SIGALRM": "import signal, time\nsignal.alarm(1)\ntime.sleep(30)",
    "stopped and continued": """
        import os, signal, subprocess
        subprocess.Popen(['sh', '-c', f'sleep 0.5; kill -CONT {os.getpid()}'])
        os.kill(os.getpid(), signal.SIGSTOP)
        print('on')
    """,
    "20 children": """
        import os, time
        for n in range(20):
            if os.fork() == 0:
                time.sleep(0.2); os._exit(n)
        print(sorted(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(20)))
    """,
    "a chain of children": """
        import os
        depth = 0
        while depth < 15 and os.fork() == 0:
            depth += 1
        if depth < 15: os.wait()
        os.write(1, b'.')
    """,
    "children that crash": """
        import os
        for n in range(5):
            if os.fork() == 0: os.abort()
        print([os.wait()[1] & 127 for _ in range(5)])
    """,
    "a daemon that stays": """
        import os, time
        if os.fork() == 0:
            os.setsid()
            for fd in range(3): os.dup2(os.open('/dev/null', os.O_RDWR), fd)
            time.sleep(2)
            os._exit(0)
        print('left')
    """,
    "setsid": """
        import os
        if os.fork() == 0:
            os.setsid(); os.write(1, b'new'); os._exit(3)
        print(os.waitstatus_to_exitcode(os.wait()[1]))
    """,
    "a new process group": "import os; os.setpgid(0, 0); print('group')",
    "stdout closed": "import sys\nsys.stdout.close()\nprint('x', file=sys.stderr)",
    "descriptor 1 closed": "import os\nos.close(1)\nprint('lost')",
    "stderr closed": "import os, sys\nos.close(2)\nprint('x', file=sys.stderr)\nprint('y')",
    "other descriptors closed": "import os\nos.closerange(3, 1000)\nprint('on')",
    "descriptors used up": """
        import os
        files = []
        try:
            while True: files.append(os.open('/dev/null', os.O_RDONLY))
        except OSError as error: print(error.errno)
    """,
    "two megabytes of output": "import sys; sys.stdout.write('0123456789abcde\\n' * 131072)",
    "a megabyte of errors": "import sys; sys.stderr.write('x' * 1048576)",
    "escapes": "print('\\x1b[2J\\x1b]0;title\\x07\\x1b[31mred')",
    "NUL in output": "import os; os.write(1, b'a\\0b\\0'); os.write(2, b'\\0')",
    "stdin read": "import sys; print(len(sys.stdin.read()))",
    "the folder deleted": """
        import os, shutil
        shutil.rmtree(os.getcwd()); print(os.path.exists('.'))
    """,
    "chdir": "import os; os.chdir('/'); print(os.getcwd())",
    "umask": """
        import os
        os.umask(0o777); open('made', 'w').close(); print(os.stat('made').st_mode)
    """,
    "atexit output": "import atexit; atexit.register(print, 'at exit'); print('body')",
    "atexit fails": "import atexit; atexit.register(lambda: 1 / 0)",
    "atexit leaves": "import atexit, os; atexit.register(lambda: os._exit(8))",
    "a thread at exit": """
        import threading, time
        threading.Thread(target=lambda: (time.sleep(0.5), print('late'))).start()
    """,
    "a daemon thread at exit": """
        import threading, time
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    """,
    "a thread that fails": """
        import threading
        threading.excepthook = lambda given: print('caught', given.exc_type.__name__)
        thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()
    """,
    "recursion": """
        import sys
        def down(n): return down(n + 1)
        try: down(0)
        except RecursionError: print('deep')
    """,
    "recursion that is not caught": "def down(): down()\ndown()",
    "an error that cannot be raised": """
        class Bad:
            def __del__(self): raise ValueError('in del')
        Bad()
    """,
    "excepthook replaced": "import sys\nsys.excepthook = lambda *_: print('mine')\n1 / 0",
    "an exception whose text fails": """
        class Bad(Exception):
            def __str__(self): raise RuntimeError
        raise Bad
    """,
    "a SyntaxError": "def (:",
    "KeyboardInterrupt raised": "raise KeyboardInterrupt",
    "SystemExit in a finally": "try: 1 / 0\nfinally: raise SystemExit(12)",
    "it renames itself": """
        import ctypes
        ctypes.CDLL(None).prctl(15, b'(a) b) R', 0, 0, 0); print(open('/proc/self/comm').read())
    """,
    "RLIMIT_NOFILE": """
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (6, 6)); print(open('/dev/null').read())
    """,
    "RLIMIT_FSIZE": """
        import resource, os
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
        try: open('big', 'w').write('x' * 100)
        except OSError as error: print(error.errno)
    """,
    "RLIMIT_AS": """
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        try: bytearray(1 << 31)
        except MemoryError: print('no memory')
    """,
    "RLIMIT_CPU": """
        import resource
        resource.setrlimit(resource.RLIMIT_CPU, (1, 2))
        while True: pass
    """,
    "sys.path emptied": "import sys; sys.path.clear(); sys.meta_path.clear(); print('on')",
    "sys.modules emptied": "import sys, os; sys.modules.clear(); os.write(1, b'on')",
    "import replaced": """
        import builtins
        real = builtins.__import__
        def counting(*args, **more): return real(*args, **more)
        builtins.__import__ = counting
        import json; print(json.dumps([1]))
    """,
    "a module called blobdiag_record": """
        import sys, types
        sys.modules['blobdiag_record'] = types.ModuleType('x'); import json; print('on')
    """,
    "a subprocess without environment": """
        import subprocess, sys
        subprocess.run([sys.executable, '-c', 'print(3)'], env={})
    """,
    "a subprocess with -I": """
        import subprocess, sys
        subprocess.run([sys.executable, '-I', '-c', 'print(4)'])
    """,
    "large progress": """
        from blobdiag import progress
        import time
        for amount in (1e308, 1e308, -1e308, float('nan'), float('inf'), 10**300, True):
            progress(games=amount); time.sleep(0.4)
        print('on')
    """,
    "progress of large numbers twice": """
        from blobdiag import progress
        import time
        progress(games=1e300); time.sleep(1.5); progress(games=1e308); time.sleep(1.5)
    """,
    "odd phase names": """
        from blobdiag import phase
        for name in ('', '\\udcff', '[/]', '\\x1b[2J', 'a' * 10000, '<script>', '\\n', '\\0'):
            with phase(name): pass
        print('on')
    """,
    "odd counters": """
        from blobdiag import progress
        for name in ('\\udcff', '[/]', '\\x1b[2J', 'a' * 10000, '', '\\n'):
            progress(**{name: 1})
        print('on')
    """,
}

WITH_TORCH: dict[str, str] = {
    "a surrogate in a class's name": "Net.__qualname__ = 'a\\udcffb'\nNet()(torch.zeros(1, 2))",
    "markup in a class's name": "Net.__qualname__ = '[/]\\x1b[2J'\nNet()(torch.zeros(1, 2))",
    "a hook that fails": """
        net = Net(); net.register_forward_hook(lambda *_: 1 / 0)
        try: net(torch.zeros(1, 2))
        except ZeroDivisionError: print('mine')
    """,
    "forward that fails": """
        Net.forward = lambda self, x: 1 / 0
        try: Net()(torch.zeros(1, 2))
        except ZeroDivisionError: print('mine')
    """,
    "parameters that fail": """
        class Odd(Net):
            def parameters(self, *_): raise RuntimeError
            def __getattr__(self, name): raise AttributeError(name) if name[0] == '_' else KeyError
        try: Odd()
        except Exception as error: print(type(error).__name__)
    """,
    "__call__ replaced": """
        torch.nn.Module.__call__ = lambda self, x: self.forward(x) + 1
        print(Net()(torch.zeros(1, 2)).shape)
    """,
    "an input of odd kinds": """
        class Any(torch.nn.Module):
            def forward(self, *args, **more): return None
        for value in (None, [], {}, object(), float('nan'), torch.zeros(0), torch.zeros(())):
            Any()(value)
        Any()(); print('on')
    """,
}

SHELL: dict[str, str] = {
    "no stdin": "exec 0<&-; cat; echo $?",
    "a pipe that breaks": "yes | head -n 3",
    "a shell killed": "kill -9 $$",
    "a background child": "sleep 1 & echo $((1 + 1))",
    "exit 255": "exit 255",
    "ulimit -n": "ulimit -n 5; echo here; exit 3",
    "a command that is not there": "nonexistent-command-of-blobdiag",
    "unset everything": "unset PATH PYTHONPATH; echo on",
}


class Ended(NamedTuple):
    """What came of a command."""

    output: bytes
    errors: bytes
    code: int

    def __str__(self) -> str:
        return f"{self.code}, {len(self.output)} and {len(self.errors)} bytes"


def ended(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> Ended:
    """Run a command in a folder of its own, with a little to read; the code is a shell's."""
    folder.mkdir(parents=True)
    done = subprocess.run(
        command,
        cwd=folder,
        input=b"some input\n",
        capture_output=True,
        env={**os.environ, "PYTHONHASHSEED": "0", **(environment or {})},
        timeout=SECONDS,
        check=False,
    )
    code = done.returncode if done.returncode >= 0 else 128 - done.returncode
    # Where an object lies in memory differs from run to run.
    return Ended(*(ADDRESS.sub(b"0x", text) for text in (done.stdout, done.stderr)), code)


def watched(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> Ended:
    """The same under `blobdiag run`, without the line with the report's path."""
    report = folder.with_suffix(".json")
    run = [sys.executable, "-m", "blobdiag", "run", "--quiet", "--output", str(report)]
    done = ended([*run, "--", *command], folder, environment)
    path = f"{report}\n".encode()
    assert done.errors.endswith(path), done.errors[-500:]
    return done._replace(errors=done.errors.removesuffix(path))


def commands() -> dict[str, list[str]]:
    """Every program's command line, by its name."""
    torch = {name: f"{dedent(TORCH)}\n{dedent(text)}" for name, text in WITH_TORCH.items()}
    python = {name: dedent(text) for name, text in PROGRAMS.items()} | torch
    return {name: [sys.executable, "-c", text] for name, text in python.items()} | {
        name: ["/bin/sh", "-c", text] for name, text in SHELL.items()
    }


def attack(name: str, folder: Path, environment: dict[str, str] | None = None) -> Attack:
    """One program with and without us."""
    command = commands()[name]
    place = folder / "".join(c if c.isalnum() else "-" for c in name)
    alone = ended(command, place / "run", environment)
    # In a folder of the same name: some of them print it.
    (place / "run").rename(place / "alone") if (place / "run").exists() else None
    try:
        seen = watched(command, place / "run", environment)
    except AssertionError as error:
        return Attack(name, str(alone), f"no report: {error}", False)
    return Attack(name, str(alone), str(seen), seen == alone)


def attacks(folder: Path, count: int) -> Iterator[Attack]:
    """All programs, whatever the count."""
    for name in commands():
        yield attack(name, folder / "programs")
