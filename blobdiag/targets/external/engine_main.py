"""The main program of another project's engine's process: makes the engine, has it play and train.

Started as a file, and not as a module: nothing of blobdiag is imported here, nor need it be there
to import. What goes over the connection are tuples of plain values, an event's name first.
"""

from __future__ import annotations

import ctypes
import importlib
import inspect
import json
import operator
import os
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any

PR_SET_PDEATHSIG = 1  # prctl(2)


class Refused(Exception):
    """Why this module or factory cannot be used, in a line."""


def main(descriptor: int, reference: str, arguments: dict[str, Any], needed: list[str]) -> None:
    """Make the engine, then do as ordered: play until the next order, train, close."""
    connection = Connection(descriptor)
    try:
        engine = make(reference, arguments, needed)
    except Refused as error:
        connection.send(("refused", str(error)))
        return
    except BaseException as error:
        connection.send(("refused", f"{last_line(error)} ({place(error)})"))
        return
    try:
        connection.send(("ready",))
        order = connection.recv()
        while order != "close":
            if order == "play":
                order = play(engine, connection)
            else:
                train(engine, connection)
                order = connection.recv()
        if hasattr(engine, "close"):
            engine.close()
        connection.send(("closed",))
    except (EOFError, BrokenPipeError):
        return  # blobdiag is gone
    except BaseException as error:
        sys.stdout.flush()
        connection.send(("failed", last_line(error), traceback.format_exc()))


def make(reference: str, arguments: dict[str, Any], needed: list[str]) -> Any:
    """The engine that MODULE:FACTORY makes of those arguments that it takes. Raises Refused."""
    module_name, _, name = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name + ".").startswith(error.name + "."):
            raise Refused(f"there is no module {error.name!r} here") from None
        raise
    if not hasattr(module, name):
        raise Refused(f"{module_name} has no {name!r}")
    factory = getattr(module, name)
    if not callable(factory):
        raise Refused(f"{name} of {module_name} cannot be called: it is {article(factory)}")
    engine = factory(**taken(factory, name, arguments))
    for method in needed:
        if not callable(getattr(engine, method, None)):
            raise Refused(f"what {name} makes, {article(engine)}, has no method {method}()")
    return engine


def taken(factory: Any, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that a factory takes; those given by an option it must take. Raises Refused."""
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # one that is not written in Python
        return {"device": arguments["device"]["value"]}
    every = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = [n for n, p in parameters.items() if p.kind in kinds]
    for argument, given in arguments.items():
        if given["must"] and not every and argument not in names:
            raise Refused(f"{name}() takes no {argument!r}")
    for parameter in parameters.values():
        required = parameter.default is parameter.empty and parameter.kind in kinds
        if required and parameter.name not in arguments:
            raise Refused(f"{name}() needs {parameter.name!r}, and no option gives it")
    return {n: given["value"] for n, given in arguments.items() if every or n in names}


def play(engine: Any, connection: Connection) -> str:
    """Play until an order comes, and report each time games finish; the order."""
    reported = False
    while True:
        finished = 0
        games = engine.play()
        try:
            for count in games:
                now, number = monotonic(), operator.index(count)
                finished += number
                connection.send(("finished", now, number, evaluations(engine)))
                if finished and not reported:
                    reported = True
                    connection.send(("workers", workers(engine)))
                if connection.poll():
                    order: str = connection.recv()
                    return order
        finally:
            if hasattr(games, "close"):
                games.close()
        if not finished:
            raise RuntimeError("play() ended without a finished game")


def train(engine: Any, connection: Connection) -> None:
    """Train once, and report each step."""
    for examples in engine.train():
        connection.send(("trained", monotonic(), operator.index(examples)))
    connection.send(("done",))


def evaluations(engine: Any) -> int | None:
    """Positions evaluated so far; None: the engine does not count them."""
    count = getattr(engine, "evaluations", None)
    return None if count is None else operator.index(count)


def workers(engine: Any) -> dict[int, list[str]] | None:
    """{PID: devices of its network's parameters}, as the engine says; None: it does not."""
    if not hasattr(engine, "workers"):
        return None
    devices: dict[int, list[str]] = {}
    for pid, where in engine.workers().items():
        several = isinstance(where, (list, tuple, set, frozenset))
        devices[operator.index(pid)] = sorted({str(d) for d in where}) if several else [str(where)]
    return devices


def last_line(error: BaseException) -> str:
    """'ValueError: no such device'."""
    return "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1]


def place(error: BaseException) -> str:
    """Where an error came up: the innermost line of the user's."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{os.path.basename(error.filename)}, line {error.lineno}"
    own = [f for f in frames if f.filename != __file__]
    last = (own or frames)[-1]
    return f"{os.path.basename(last.filename)}, line {last.lineno}"


def article(thing: object) -> str:
    """'a list', 'an Engine'."""
    name = type(thing).__name__
    return f"{'an' if name[:1] in 'AEIOUaeiou' else 'a'} {name}"


if __name__ == "__engine__":
    options = json.loads(sys.argv[1])
    # A blobdiag that is killed takes this process with it.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != options.pop("parent"):
        os._exit(1)  # it was killed before
    # What the engine starts must not hold our end open.
    os.set_inheritable(options["descriptor"], False)
    sys.argv = [options["reference"]]
    sys.path.insert(0, os.getcwd())
    main(**options)
