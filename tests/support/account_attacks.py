"""What a second account of the machine tries: to get code run, to read, to have us overwrite.

Each attack is a function of a folder that both accounts can reach, in which the second one owns
`theirs`; what it returns is what it achieved, empty where it achieved nothing. It runs as root,
whom the second account attacks.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from second_account import SECOND, shared_folder, shell_as

import reports
from blobdiag.cli.report_html import check_replaceable
from blobdiag.model.errors import UserError
from blobdiag.model.own_files import replace_whole, temporary_folder
from blobdiag.model.report_files import rewrite_report, write_new
from blobdiag.store.files import read_entries, write_entry
from blobdiag.targets.program.inside.site import blobdiag_record as layout
from blobdiag.targets.program.records import read_records
from blobdiag.targets.temporary_folder import TemporaryFolder
from engine.game.trusted_folder import UntrustedFolder, own_folder
from engine.training.checkpoint import CheckpointError
from engine.training.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
UNTOUCHED = "of root alone"

Attack = Callable[[Path], str]

KERNEL_PROGRAM = """
import sys
from engine.game.jit import cache_folder, kernel

@kernel
def double(x):
    return 2 * x

print(cache_folder(), flush=True)
sys.stdin.readline()
print(double(21))
"""


class Executed:
    """As a pickle: makes a file when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def run_attack(attack: Attack) -> str:
    """In a new folder; what it achieved."""
    with shared_folder() as made:
        folder = Path(made)
        (folder / "theirs").mkdir()
        os.chown(folder / "theirs", SECOND, SECOND)
        return attack(folder)


def they_run(folder: Path, script: str) -> None:
    """The second account's own commands, in its own folder."""
    ran = shell_as(SECOND, script, folder / "theirs")
    assert ran.returncode == 0, ran.stderr


def _victim(folder: Path, name: str = "victim.json") -> Path:
    """A file of root's."""
    path = folder / name
    path.write_text(UNTOUCHED)
    return path


def _changed(path: Path) -> str:
    content = path.read_text()
    return "" if content == UNTOUCHED else f"{path.name} was overwritten with {content[:30]!r}"


# -- code -----------------------------------------------------------------------------------------


def kernels_in_a_shared_temporary_folder(folder: Path) -> str:
    """The folder of the kernels is made first by the other account, then its content is swapped."""
    program = folder / "program.py"
    program.write_text(KERNEL_PROGRAM)
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o1777)
    names = _kernel_files(program, folder / "learned")
    they_run(folder, "mkdir -m 777 ../tmp/blobdiag-0")
    mark = folder / "executed"
    (folder / "pickle").write_bytes(pickle.dumps(Executed(mark)))
    environment = _environment() | {
        "TMPDIR": str(folder / "tmp"),
        "XDG_CACHE_HOME": "/proc/no",
    }
    with subprocess.Popen(
        [sys.executable, str(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        place = process.stdout.readline().strip()
        if place != "None":
            planted = "".join(
                f"mkdir -p $(dirname '{place}/{name}'); cp '{folder}/pickle' '{place}/{name}'; "
                for name in names
            )
            shell_as(SECOND, f"mv '{place}' '{place}.away'; {planted}", folder / "theirs")
        output, errors = process.communicate("\n", timeout=300)
    if mark.exists():
        return "a pickle of theirs was executed"
    assert "42" in output, errors
    assert place == "None", f"a folder was used: {place}"
    said = [line for line in errors.splitlines() if "not stored" in line]
    return "" if len(said) == 1 and "blobdiag-0 belongs to another account" in said[0] else errors


def _kernel_files(program: Path, cache: Path) -> list[str]:
    """Names of the files that the kernels of a program are stored in, below their folder."""
    environment = _environment() | {"NUMBA_CACHE_DIR": str(cache)}
    ran = subprocess.run(
        [sys.executable, str(program)],
        input="\n",
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    place = Path(ran.stdout.splitlines()[0])
    names = [str(path.relative_to(place)) for path in place.rglob("*.nbi")]
    assert names, ran
    return names


def _environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    return kept | {"PYTHONPATH": str(ROOT)}


def kernels_where_others_may_write(folder: Path) -> str:
    """Folders that they own, may write to, or have put a link in the place of."""
    theirs = folder / "theirs"
    (folder / "own").mkdir(mode=0o700)
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    (folder / "sticky").mkdir()
    (folder / "sticky").chmod(0o1777)
    they_run(
        folder,
        "mkdir -m 777 made ../sticky/made ../open/made; ln -s ../own link; "
        "ln -s ../own ../sticky/l",
    )
    places = [
        theirs,
        theirs / "new",
        theirs / "made" / "kernels",
        theirs / "link" / "kernels",
        folder / "open" / "kernels",
        folder / "sticky" / "made",
        folder / "sticky" / "made" / "kernels",
        folder / "sticky" / "l",
        folder / "sticky" / "l" / "kernels",
    ]
    return "; ".join(f"{place} was accepted" for place in places if _accepted(place))


def _accepted(place: Path) -> bool:
    try:
        own_folder(place)
    except UntrustedFolder:
        return False
    return True


# -- records --------------------------------------------------------------------------------------


def records_are_read(folder: Path) -> str:
    """They read what is in the folder of the records."""
    with TemporaryFolder() as made:
        (made / "1.2.3").write_text("secret")
        seen = shell_as(SECOND, f"ls -a '{made}'; cat '{made}/1.2.3'", folder / "theirs").stdout
    return f"they read {seen!r}" if seen else ""


def records_in_a_folder_they_can_rename(folder: Path) -> str:
    """TMPDIR is open to all, without the sticky bit."""
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o777)
    achieved = []
    for place in (folder / "tmp", folder / "theirs"):
        with patch("tempfile.tempdir", str(place)), TemporaryFolder() as made:
            shell_as(SECOND, f"mv '{made}' '{made}.away' && mkdir '{made}'", folder / "theirs")
            if os.stat(made).st_uid != os.geteuid():
                achieved.append(f"they put a folder in the place of {made}")
                shell_as(SECOND, f"rmdir '{made}'; mv '{made}.away' '{made}'", folder / "theirs")
    return "; ".join(achieved)


def records_that_are_planted(folder: Path) -> str:
    """Links, pipes and records of theirs among the records, and a folder of theirs."""
    records, theirs = folder / "records", folder / "theirs"
    records.mkdir()
    own = layout.Record(str(records), {"unseen": []})
    own.leave_out(1)
    [whole] = [path.read_bytes() for path in records.iterdir()]
    (folder / "whole").write_bytes(whole)
    records.chmod(0o777)
    they_run(
        folder,
        "cp ../whole ../records/1.2.4; cp ../whole 1.2.5; ln -s $PWD/1.2.5 ../records/1.2.5; "
        "mkfifo ../records/1.2.6; mkdir ../records/1.2.7",
    )
    found = [counts.modules_left_out for counts in read_records(records).processes]
    achieved = [] if found == [1] else [f"read {found}"]
    if read_records(theirs).processes:
        achieved.append("a folder of theirs was read")
    return "; ".join(achieved)


def a_record_is_swapped_for_a_link(folder: Path) -> str:
    """The process makes its record longer by its name, which is by then a link to another file."""
    victim = _victim(folder)
    (folder / "records").mkdir()
    (folder / "records").chmod(0o777)
    record = layout.Record(str(folder / "records"), {})
    they_run(folder, f"rm -f '{record.path}'; ln -s '{victim}' '{record.path}'")
    for replaced in (False, True):
        if replaced:
            os.unlink(record.path)
            os.link(victim, record.path)
        with suppress(OSError):
            record.claim_row(("Kind", "cpu", "cpu", "none", True, True))
        record._reserved.clear()
    return _changed(victim)


# -- what is stored -------------------------------------------------------------------------------


@contextmanager
def _config(folder: Path) -> Any:
    with patch.dict(os.environ, {"XDG_CONFIG_HOME": str(folder)}):
        yield folder / "blobdiag" / "tuned.json"


def stored_settings_of_theirs(folder: Path) -> str:
    """The folder of the store is theirs, or the file in it, or a link to one of theirs."""
    theirs, own = folder / "theirs", folder / "own"
    (own / "blobdiag").mkdir(parents=True)
    (own / "blobdiag").chmod(0o777)
    entry = json.dumps({"key": {"threads": 1}})
    they_run(
        folder,
        f"mkdir blobdiag; echo '{entry}' > blobdiag/tuned.json; echo '{entry}' > file; "
        "cp file ../own/blobdiag/a.json; ln -s $PWD/file ../own/blobdiag/b.json; "
        "mkfifo ../own/blobdiag/c.json",
    )
    achieved = []
    for place, name in ((theirs, "tuned.json"), *((own, f"{n}.json") for n in "abc")):
        with _config(place):
            for what, work in (
                ("read", lambda name=name: read_entries(name)),
                ("written", lambda name=name: write_entry(name, "k", {})),
            ):
                with suppress(UserError):
                    work()
                    achieved.append(f"{place.name}/{name} was {what}")
    return "; ".join(achieved)


def stored_settings_through_a_link(folder: Path) -> str:
    """Links by every name that can be foreseen, in an open folder of ours, lead to a victim."""
    victim = _victim(folder)
    (folder / "own" / "blobdiag").mkdir(parents=True)
    (folder / "own" / "blobdiag").chmod(0o777)
    names = (f"tuned.{os.getpid()}.tmp", "tuned.tmp", ".tuned.json.tmp", "tuned.json.tmp")
    they_run(folder, "".join(f"ln -s '{victim}' ../own/blobdiag/{name}; " for name in names))
    with _config(folder / "own") as path:
        write_entry(path.name, "key", {"threads": 1})
        assert json.loads(path.read_text()) == {"key": {"threads": 1}}
        seen = shell_as(SECOND, f"cat '{path}'", folder / "theirs").stdout
    return _changed(victim) or seen


# -- reports --------------------------------------------------------------------------------------


def a_report_through_a_link(folder: Path) -> str:
    """Beside the report, and in its place, are links to a victim."""
    victim = _victim(folder)
    (folder / "reports").mkdir()
    (folder / "reports").chmod(0o777)
    report, path = reports.minimal(), folder / "reports" / "run.json"
    links = f"ln -s '{victim}' ../reports/.run.json.tmp; ln -s '{victim}' ../reports/run.json"
    they_run(folder, links)
    rewrite_report(report, path)
    they_run(folder, f"ln -s '{victim}' ../reports/new.json")
    with suppress(UserError):
        write_new(folder / "reports" / "new.json", b"report")
    return _changed(victim)


def a_page_through_a_link(folder: Path) -> str:
    """In the place of the page is a link to a victim, to nothing yet, or to a page; or a pipe."""
    victim = _victim(folder)
    page = b"<!doctype html>\n<html>\n<title>PASS \xc2\xb7 blobdiag run</title>"
    (folder / "page.html").write_bytes(page)
    (folder / "reports").mkdir()
    (folder / "reports").chmod(0o777)
    they_run(
        folder,
        f"cd ../reports; ln -s '{victim}' a.html; ln -s '{folder}/new' b.html; mkfifo c.html; "
        f"ln -s '{folder}/page.html' d.html",
    )
    achieved = []
    for name in "abcd":
        with suppress(UserError, OSError):
            check_replaceable(folder / "reports" / f"{name}.html")
            achieved.append(f"{name}.html was accepted")
    # A link that comes after the check is itself replaced.
    replace_whole(folder / "reports" / "a.html", b"page")
    replace_whole(folder / "reports" / "b.html", b"page")
    if (folder / "new").exists():
        achieved.append("a file was made through a link")
    return "; ".join(achieved) or _changed(victim)


# -- trainings ------------------------------------------------------------------------------------


def a_run_folder_of_theirs(folder: Path) -> str:
    """A training in a folder of theirs, in an open one, or with a link in the place of a part."""
    (folder / "own").mkdir()
    (folder / "elsewhere").mkdir()
    (folder / "open").mkdir()
    for name in ("own", "open"):
        (folder / name).chmod(0o777)
    they_run(folder, "mkdir run; ln -s ../elsewhere ../own/networks; mkdir ../open/checkpoints")
    (folder / "own").chmod(0o755)
    achieved = []
    for place in (folder / "theirs" / "run", folder / "own", folder / "open"):
        with suppress(CheckpointError), RunFolder(place):
            achieved.append(f"{place.name} was opened")
    (folder / "open").chmod(0o755)
    with suppress(CheckpointError), RunFolder(folder / "open"):
        achieved.append("a folder of theirs was used for the checkpoints")
    return "; ".join(achieved)


def no_temporary_folder_of_theirs(folder: Path) -> str:
    """TMPDIR is theirs: another is taken."""
    with patch("tempfile.tempdir", str(folder / "theirs")):
        chosen = temporary_folder()
    return "their folder was taken" if chosen.is_relative_to(folder) else ""


SLOW: tuple[Attack, ...] = (kernels_in_a_shared_temporary_folder,)
QUICK: tuple[Attack, ...] = (
    kernels_where_others_may_write,
    records_are_read,
    records_in_a_folder_they_can_rename,
    records_that_are_planted,
    a_record_is_swapped_for_a_link,
    stored_settings_of_theirs,
    stored_settings_through_a_link,
    a_report_through_a_link,
    a_page_through_a_link,
    a_run_folder_of_theirs,
    no_temporary_folder_of_theirs,
)
