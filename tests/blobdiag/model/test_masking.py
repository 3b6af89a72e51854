"""Secrets and paths in command lines and texts; what only looks like one stays readable."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from secret_forms import FORMATS, FORMS, HEX, SECRET, STAY

from blobdiag.model.masking import mask_arguments, mask_text, mask_values, readable


@pytest.mark.parametrize("arguments", FORMS, ids=shlex.join)
def test_a_secret_is_masked_in_a_command_line(arguments: list[str]) -> None:
    masked = shlex.join(mask_arguments(arguments))
    assert SECRET not in masked
    assert "***" in masked
    assert mask_arguments(mask_arguments(arguments)) == mask_arguments(arguments)


@pytest.mark.parametrize("key", FORMATS)
def test_a_key_of_a_known_format_is_masked_anywhere(key: str) -> None:
    assert mask_arguments(["tool", key]) == ["tool", "***"]
    assert mask_text(f"HTTPError: '{key}' is not valid") == "HTTPError: '***' is not valid"
    assert mask_text(f"a/{key}, b") == "a/***, b"


def test_a_key_of_forty_digits_is_masked_after_login_alone() -> None:
    assert mask_arguments(["sh", "-c", f"wandb login {HEX}"])[2] == "wandb login ***"
    assert mask_arguments(["wandb", "login", HEX]) == ["wandb", "login", "***"]
    assert mask_arguments(["--commit", HEX]) == ["--commit", HEX]


@pytest.mark.parametrize("arguments", STAY, ids=shlex.join)
def test_what_stays_readable_is_what_the_docs_say(arguments: list[str]) -> None:
    assert len(STAY) <= 3
    assert len(FORMS) + len(FORMATS) + len(STAY) >= 57
    assert mask_arguments(arguments) == arguments


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "Command '['tool', '--password', 'a s3same b']' returned 1",
            "Command '['tool', '--password', '***']' returned 1",
        ),
        (
            '  File "/data/my project/x.py", line 3, in f\n    login(password="a s3same b", n=3)\n',
            '  File "x.py", line 3, in f\n    login(password="***", n=3)\n',
        ),
        ("http://ada:s3same@h/x failed", "http://***@h/x failed"),
        ("{'HF_TOKEN': 's3same', 'A': 'b'}", "{'HF_TOKEN': '***', 'A': 'b'}"),
        ("os.putenv('HF_TOKEN', 's3same')", "os.putenv('HF_TOKEN', '***')"),
        ("ValueError: bad password: a s3same b\nnext", "ValueError: bad password: ***\nnext"),
        ("self.token = 's3same'", "self.token = '***'"),
        ("(token := 's3same')", "(token := '***')"),
        ("self-play --token s3same", "self-play --token ***"),
        ("https://h/x?token=s3same&y=1", "https://h/x?token=***&y=1"),
        ("Cookie: a=s3same; b=s3same", "Cookie: ***"),
        ("KeyError: 'conv.weight'", "KeyError: 'conv.weight'"),
        ("Missing key(s) in state_dict: 'a.b'", "Missing key(s) in state_dict: 'a.b'"),
        ("unexpected key: conv.weight", "unexpected key: conv.weight"),
        ("sorted(rows, n_key=3)", "sorted(rows, n_key=3)"),
    ],
)
def test_a_secret_is_masked_in_a_text(text: str, shown: str) -> None:
    assert mask_text(text) == shown


@pytest.mark.parametrize(
    "command",
    [
        "--tokenizer bert",
        "--keypoints 17",
        "--password-length 12",
        "--max-tokens 512",
        "--token-count 5",
        "--monkey x",
        "--key-size 5",
        "--key 3",
        "--keyword x",
        "--author x",
        "--bypass x",
        "--compass=3",
        "--passes 3",
        "--secretary bob",
        "--sort-key name",
        "--pad-token '<pad>'",
        "'--eos_token=</s>'",
        "tokens_per_second=3",
        "n_key=3",
        "-p 8080",
        "-p 0.9",
        "-u 1000:1000",
        "python -u train.py",
        "image:tag@sha256:abc",
        "sk-learn-pipeline-training",
        "hf_transfer_enabled",
        "a@b.c",
        "--device cuda",
        "1/2",
        "'3 / 4'",
        "'1 /2'",
        "https://example.org/a/b",
        "'http://[::1]:80/a/b'",
        "s3://bucket/a/b",
        "256-6-8-1024",
        "nets/best.pt",
        "games/min",
        "'$HOME/x'",
        "python -m multiprocessing.forkserver",
        "'from multiprocessing.resource_tracker import main;main(9)'",
        "'from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5, pipe_handle=7)' "
        "--multiprocessing-fork",
    ],
)
def test_what_only_looks_like_a_secret_stays_readable(command: str) -> None:
    arguments = shlex.split(command)
    assert mask_arguments(arguments) == arguments
    assert mask_text(command) == command


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")


PATHS = [
    ("-I/home/ada/inc", "-I~/inc"),
    ("-I/opt/x/inc", "-Iinc"),
    ("-L/home/bob/lib", "-Llib"),
    ("-Wl,-rpath,/home/bob/lib", "-Wl,-rpath,lib"),
    ("file:///home/ada/w.pt", "file://~/w.pt"),
    ("file:///data/x/w.pt", "file://w.pt"),
    ("file://localhost/data/x", "file://localhostx"),
    ("sqlite:////data/x/db.sqlite", "sqlite://db.sqlite"),
    ("/a/b:/c/d", "b:d"),
    ("/a/b,/c/d:/home/ada/e", "b,d:~/e"),
    ("PYTHONPATH=/home/ada/a:/opt/b/c", "PYTHONPATH=~/a:c"),
    ("--in=/data/a/x.pt", "--in=x.pt"),
    ("--map /data/x=/data/y", "--map x=y"),
    ("x:/home/bob/y", "y"),
    ("@/home/bob/args", "@args"),
    ("C:\\Users\\ada", "~"),
    ("C:\\Users\\ada\\best.pt", "best.pt"),
    ("'C:\\\\Users\\\\ada\\\\best.pt'", "'best.pt'"),
    ("\\\\server\\share\\ada\\x", "x"),
    ("/mnt/c/Users/ada/x", "x"),
    ("~bob/x", "~/x"),
    ("/home/ada", "~"),
    ("/home/bob", "~"),
    ("/Users/bob", "~"),
    ("/scratch/ada", "~"),
    ("/home/adam/best.pt", "best.pt"),
    ("/home/ada/x.py:3", "~/x.py:3"),
    ("/data/home/ada/x", "x"),
    ("(/home/bob/x)", "(x)"),
    ("['/home/bob/a b/c', '/x/y']", "['c', 'y']"),
    ("http://h/x:/home/ada/y", "http://h/x:~/y"),
    ("/data/private/", "private"),
    ("//home/bob/x", "x"),
    ("10 // 3", "10 // 3"),
    ("/usr/bin/python -u /srv/x/y.py", "python -u y.py"),
    ("</s>", "</s>"),
    ("${HOME}/x", "${HOME}/x"),
]


@pytest.mark.usefixtures("home")
@pytest.mark.skipif(os.name == "nt", reason="Windows looks for home elsewhere")
@pytest.mark.parametrize(("text", "shown"), PATHS)
def test_paths_in_a_text(text: str, shown: str) -> None:
    assert mask_text(text) == shown
    assert mask_text(shown) == shown


@pytest.mark.usefixtures("home")
@pytest.mark.skipif(os.name == "nt", reason="Windows looks for home elsewhere")
@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        ("/data/my files/best.pt", "best.pt"),
        ("--out=/data/my files/best.pt", "--out=best.pt"),
        ("/home/ada/my files/best.pt", "~/my files/best.pt"),
        ("/opt/venv/bin/python", "python"),
    ],
)
def test_a_path_that_is_a_whole_argument_may_have_spaces(argument: str, shown: str) -> None:
    assert mask_arguments([argument]) == [shown]


def test_settings_are_masked_by_their_names() -> None:
    configuration = {
        "api_key": "abc",
        "Secret": 7,
        "password": None,
        "games": 20,
        "quiet": True,
        "reuse": 4.0,
        "label": "host \udcff",
    }
    masked = {"api_key": "***", "Secret": "***", "label": "host \ufffd"}
    assert mask_values(configuration) == configuration | masked


# Any text at all.

PIECES = st.sampled_from(
    [
        *"-/\\:=,;&?@\"'[]{}()<>*~ \n",
        *("--password", "token", "key: ", "s3same", "***", "http://", "file://", "/home/ada"),
        *("C:\\", "Bearer ", "Authorization: ", "\\\"", "login ", HEX, "-p", "-u"),
        "-----BEGIN PRIVATE KEY-----",
    ]
)  # fmt: skip
TEXTS = st.text() | st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join)


@given(TEXTS)
def test_masking_never_fails_and_masking_again_changes_nothing(text: str) -> None:
    masked = mask_text(text)
    masked.encode()
    assert mask_text(masked) == masked


@given(st.lists(TEXTS, max_size=6))
def test_any_arguments_are_masked_each_by_itself(arguments: list[str]) -> None:
    masked = mask_arguments(arguments)
    assert len(masked) == len(arguments)
    "".join(masked).encode()


@given(st.text(min_size=1), st.sampled_from(["--password", "--hub.token", "DB_PWD", "+a.api_key"]))
def test_a_value_is_masked_as_a_whole_whatever_is_in_it(value: str, name: str) -> None:
    assert mask_arguments([f"{name}={value}x12345"]) == [f"{name}=***"]
    if name.startswith("--"):
        assert mask_arguments([name, f"_{value}", "y"]) == [name, "***", "y"]


@given(st.text(st.characters() | st.characters(categories=["Cs"])))
def test_readable_text_can_be_written(text: str) -> None:
    shown = readable(text)
    shown.encode()
    json.dumps(shown, ensure_ascii=False).encode()
    assert len(shown) == len(text)
    assert readable(shown) == shown


@pytest.mark.parametrize(
    "piece",
    ["a", "a.", "-", "\\", "/", " ", "=", "token=", "x://", "'", '"', "[", ",a", "a-", "a:", "~"],
)  # fmt: skip
def test_long_texts_are_masked_in_time_that_grows_with_their_length(piece: str) -> None:
    start = time.process_time()
    mask_text(piece * (20_000 // len(piece)))
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    "write", [str, json.dumps, lambda text: repr([text]), lambda text: text[:-1]]
)
@pytest.mark.parametrize("quote", ["'", '"'])
def test_quoted_parameters_of_a_header_in_a_text(write: Callable[[str], str], quote: str) -> None:
    header = f"Authorization: Digest username={quote}ada{quote}, response={quote}{SECRET}{quote}"
    for text in (header, f"failed: {header}\nnext", json.dumps({"Authorization": header[15:]})):
        masked = mask_text(write(text))
        assert SECRET not in masked
        assert mask_text(masked) == masked
    assert json.loads(mask_text(json.dumps({"Authorization": header[15:], "games": "3"}))) == {
        "Authorization": "***",
        "games": "3",
    }
