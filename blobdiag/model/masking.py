r"""Secrets and this user's paths, masked in every text that a report takes in.

Rules:

1. Known formats of keys and tokens, wherever they are: those of the gitleaks scanner
   (https://github.com/gitleaks/gitleaks, config/gitleaks.toml), with shorter minimum lengths, since
   a report may hold the beginning of a text.
2. The value beside a secret's name: after an option (`--password V`), `NAME=V`, `name: V`, in JSON
   and in Python. What names a secret: `names_a_secret`.
3. Credentials in addresses (RFC 3986: `scheme://userinfo@host`) and headers (RFC 9110 and 6750:
   `Authorization`, `Bearer`).
4. Paths: home is `~`, another absolute path its last part.

Not found: a secret without a name and of no known format (`tool V`), one that is attached to an
option of one letter (`mysql -pV`), and a number after `-p`, which may be a port.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

MASK = "***"

Value = str | int | float | bool | None


def readable(text: str) -> str:
    """The text with U+FFFD in the place of each lone surrogate.

    Python has one for each byte of an argument or of the environment that is no UTF-8; no file can
    be written with it.
    """
    if text.isascii():
        return text
    return _SURROGATE.sub("\ufffd", text)


def mask_text(text: str) -> str:
    """A text of any kind, such as a traceback, without secrets and absolute paths.

    Masking it again changes nothing.
    """
    home = _home()
    return _masked_short(text, home) if len(text) <= _SHORT else _masked(text, home)


def mask_arguments(arguments: Sequence[str]) -> list[str]:
    """Each argument of a command line, by itself and by the option before it."""
    masked: list[str] = []
    option = ""
    for argument in map(readable, arguments):
        if _is_value(option, argument) and _is_secret_value(option, argument):
            masked.append(MASK)
            option = ""
            continue
        logs_in = re.fullmatch(r"[0-9a-f]{40}", argument) and "login" in masked
        masked.append(MASK if logs_in else _masked_argument(argument))
        option = argument
    return masked


def mask_values(configuration: Mapping[str, Value]) -> dict[str, Value]:
    """Settings by name: as text each, and `***` where the name is a secret's."""
    return {readable(name): _masked_value(name, value) for name, value in configuration.items()}


def names_a_secret(name: str, value: str = "") -> bool:
    """Whether an option, variable, key or parameter of that name holds a secret.

    Words are split at what is no letter or digit, and at capitals. `password`, `secret` and their
    kind count anywhere; `token`, `key` and `auth` at the end (`hub.token`, `WANDB_API_KEY`), or
    where the value looks random. Innocent are quantities and kinds (`password_length`,
    `key_type`), and what models and tables call so (`pad_token`, `sort_key`).
    """
    if name in ("PWD", "OLDPWD"):  # of a shell: folders
        return False
    words = _words(name)
    if not words or _INNOCENT_END.fullmatch(words[-1]):
        return False
    if _is_strong(words):
        return True
    if not _WEAK.fullmatch(words[-1]):
        return any(_WEAK.fullmatch(word) for word in words) and _looks_random(value)
    if len(words) > 1 and _INNOCENT_BEFORE.fullmatch(words[-2]):
        return False
    if words[-1] == "pass" and len(words) > 1:
        return _BEFORE_PASS.fullmatch(words[-2]) is not None
    return True


def _has_secret_word(name: str) -> bool:
    words = _words(name)
    return _is_strong(words) or any(_WEAK.fullmatch(word) for word in words)


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name) if not word.isdigit()]


def _is_strong(words: Sequence[str]) -> bool:
    return any(map(_STRONG.search, (*words, "".join(words[-2:]))))


# 1. Names.

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")
_STRONG = re.compile(
    r"passwords?$|passwd$|pwd$|passphrase|passcode|secrets?$|credentials?$|creds$|^authorization$"
    r"|^cookies?$|^jwt$|^otp$|(?:api|auth|access|secret|private)(?:key|token)s?$|userpwd$|mnemonic"
    r"|(?:ssh|db|user|ftp|smtp|root|admin|my)pass$"
)
_WEAK = re.compile(r"\w*token|key|auth|pass|pw|pat|bearer|signature|sig")
_INNOCENT_END = re.compile(
    r"length|len|size|count|number|num|bits|dims?|file|path|dir|type|kind|policy|hash|min|max"
    r"|limits?|per|rate|ttl|expiry|prompt|rotation|check|error"
)
_INNOCENT_BEFORE = re.compile(
    r"pad|eos|bos|unk|mask|sep|cls|image|video|audio|special|start|end|stop|next|prefix|first|last"
    r"|max|min|num|n|per|sort|group|primary|foreign|public|partition|batch|metric|label|data|dict"
    r"|column|cache|param|index|no"
)
_BEFORE_PASS = re.compile(r"db|user|login|smtp|ftp|mail|mysql|pg|redis|admin|root|proxy|ssh")
_PLAIN = re.compile(r"[+-]?\d{1,4}(?:\.\d*)?|true|false|none|null|yes|no|on|off", re.IGNORECASE)


def _looks_random(value: str) -> bool:
    """Letters and digits mixed, as in a key."""
    return bool(re.fullmatch(r"(?=\D*\d)(?=[^A-Za-z]*[A-Za-z])[\w+/=.~-]{16,}", value))


def _is_hidden(name: str, value: str) -> bool:
    """Whether the value beside a name is masked; a small number or a switch is no key."""
    if not names_a_secret(name, value):
        return False
    return _is_strong(_words(name)) or not _PLAIN.fullmatch(value.strip("\"' ,;)]}"))


# 2. Known formats (gitleaks).

_KNOWN = re.compile(
    r"\bgh[pousr]_[A-Za-z0-9]{10,}|\bgithub_pat_\w{10,}|\bgl(?:pat|ptt|dt|rt)-[\w-]{10,}"
    r"|\bhf_[A-Za-z0-9]{16,}|\bapi_org_[A-Za-z0-9]{16,}"
    # OpenAI, Anthropic and others: sk-…, sk-proj-…, sk-ant-api03-…; with a digit: `sk-learn-…`.
    r"|\bsk-(?=[\w-]*\d)[\w-]{16,}"
    r"|\b[rs]k_(?:live|test|prod)_\w{10,}|\bwhsec_[\w+/=]{16,}"  # Stripe
    r"|\b(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"
    r"|\bxox[a-z](?:\.xox[a-z])?-[\w-]{8,}|\bxapp-[\w-]{10,}"
    r"|\bAIza[\w-]{30,}|\bya29\.[\w-]{16,}|\bGOCSPX-[\w-]{16,}"
    r"|\bnpm_[A-Za-z0-9]{20,}|\bpypi-AgE[\w-]{16,}|\bdckr_pat_[\w-]{16,}|\bdop_v1_[a-f0-9]{16,}"
    r"|\bnvapi-[\w-]{16,}|\bgsk_[A-Za-z0-9]{16,}|\br8_[A-Za-z0-9]{16,}|\bdapi[a-f0-9]{32}"
    r"|\bSG\.[\w-]{16,}\.[\w-]{16,}|\bAGE-SECRET-KEY-1[A-Z0-9]{16,}|\bwandb_v1_\w{16,}"
    r"|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}(?:\.[\w-]*)?"  # JSON web tokens
)
_PRIVATE_KEY = re.compile(
    r"(?s)-----BEGIN[ A-Z0-9_-]{0,80}PRIVATE KEY(?: BLOCK)?-----"
    r".*?(?:-----END[ A-Z0-9_-]{0,80}-----|\Z)"
)
_LOGIN = re.compile(r"(\blogin(?:\s+-\S+)*\s+)[0-9a-f]{40}\b")  # Weights & Biases
_NETRC = re.compile(r"(\blogin\s+\S+\s+password\s+)[^\s\"']+")
_ELEMENT = re.compile(r"(<(?P<name>[\w.:-]+)(?:\s[^<>]*)?>)(?P<value>[^<]+)(?=</|$)")
_HOOK = re.compile(r"(\bhooks\.slack\.com/(?:services|workflows|triggers)/)[^\s\"'<>*]+")


# 3. Values beside names.

_STRING = r"[rbfuRBFU]{0,2}(?:\"(?:[^\"\\\n]|\\.)*(?:\"|$)|'(?:[^'\\\n]|\\.)*(?:'|$))"
_ESCAPED = r"\\{1,8}\"[^\"\n]*?\\{1,8}\"|\\{1,8}'[^'\n]*?\\{1,8}'"
_BARE = r"(?:\\.|[^\s\\\"'])+"
# Up to the next `, name=` or the line's end: what is in a list or after a colon may have spaces.
_LINE = r"[^\n\"']*?(?=\s{0,8}[,;&]\s{0,8}[\"']?[\w.-]+[\"']?\s{0,8}[=:]|[\"'\n]|$)"
_GROUP = r"\[[^\]\n]*(?:\]|$)|\{[^}\n]*(?:\}|$)"

_NAMED = re.compile(
    r"""(?x)
    (?:(?P<lead>[?&;,\#]\s{0,8})|(?<![\w.+-]))
    (?P<dashes>[\"']?-{1,2}|/)?
    (?P<name>\\{0,8}[\"']?\+{0,2}(?P<bare>[\w.](?:[\w.-]*\w)?)\\{0,8}[\"']?)
    (?P<sep>\]?\s*:?=>?(?!=)\s*|\s*:(?![:=])\s*|,\s*(?=[\"'])|[^\S\n]+(?=[^-=:\s]|-[^-\s]{2}))
    """
)
_VALUE = re.compile(rf"(?m){re.escape(MASK)}|{_ESCAPED}|{_STRING}|{_GROUP}|{_BARE}|")
_REST = re.compile(rf"(?m)[|>][+-]?[^\S\n]*(?:\n[^\S\n]+[^\n]*)+|{_LINE}")
# Nothing says where the value of an option ends in a text: before the next option, at the latest.
_OPTION_REST = re.compile(r"(?m)[^\n\"']*?(?=\s{1,8}--?[A-Za-z]|\s{0,8}[;|&\"'\n]|$)")
_QUERY_REST = re.compile(r"[^&#\s\"'<>]*")


def _mask_named(text: str) -> str:
    """The values beside secrets' names; others are read on, for names within them."""
    parts: list[str] = []
    at = 0
    while named := _NAMED.search(text, at):
        # On behind the name: what it stands beside may have names of its own.
        end = named.end("name")
        if _may_name(named) and (value := _VALUE.match(text, named.end())) is not None:
            shown = value[0]
            if shown.startswith(MASK):
                end = value.end()
            elif _is_hidden_in_text(named, shown):
                parts += [text[at : named.end()], _quoted_mask(shown)]
                at = end = _end_of_value(named, value)
        parts.append(text[at:end])
        at = end
    return "".join(parts) + text[at:]


def _may_name(named: re.Match[str]) -> bool:
    """Whether a name and how it is joined to what follows may be a secret's."""
    name, sep = named["bare"], named["sep"].strip()
    option = "-" in (named["dashes"] or "")
    if not option and (not sep or ("," in sep and not name.isupper())):
        return False
    return (option and (len(name) == 1 or _is_login(name))) or _has_secret_word(name)


def _is_hidden_in_text(named: re.Match[str], value: str) -> bool:
    name, sep, dashes = named["bare"], named["sep"].strip(), named["dashes"] or ""
    if not value and sep != ":":
        return False
    if len(name) == 1 and dashes.endswith("-") and not dashes.endswith("--"):
        return _is_short_secret(name, value.strip("\"'"))
    if "-" in dashes and _is_login(name):
        return _is_user_and_password(value.strip("\"'"))
    if sep == ":" and _is_word_of_sentences(name):
        # A sentence of an error, more often than a setting; in quotes it is JSON's.
        return named["name"] != name and not _PLAIN.fullmatch(value)
    return _is_hidden(name, value)


def _is_word_of_sentences(name: str) -> bool:
    return name.lower() in ("key", "pass", "pat", "pw", "auth", "sig", "signature")


def _end_of_value(named: re.Match[str], value: re.Match[str]) -> int:
    """Where it ends: with its quotes, the parameter of an address, the item of a list, a word."""
    text, start, shown = value.string, value.start(), value[0]
    lead = (named["lead"] or named["dashes"] or "")[:1]
    if shown[:1] in ("'", '"', "[", "{", "\\") or shown[-1:] in ("'", '"'):
        return value.end()
    if lead in ("?", "&", "#") and (found := _QUERY_REST.match(text, start)):
        return found.end()
    if not named["sep"].strip():
        found = _OPTION_REST.match(text, start)
        return max(value.end(), found.end()) if found else value.end()
    if named["sep"].strip() == ":" or named["sep"][:1].isspace() or lead in (",", ";", "/"):
        found = _REST.match(text, start)
        return max(value.end(), found.end()) if found else value.end()
    return value.end()


def _mask_element(match: re.Match[str]) -> str:
    """The text of an XML element."""
    return f"{match[1]}{MASK}" if _is_hidden(match["name"], match["value"]) else match[0]


def _quoted_mask(value: str) -> str:
    """With the quotes that it had, so that JSON and Python stay such."""
    opening = re.match(r"\\*[\"']", value)
    if opening is None or not value.endswith(opening[0][-1]) or len(value) < 2:
        return MASK
    return f"{opening[0]}{MASK}{opening[0]}"


# 4. Options of one letter and users.


def _is_login(name: str) -> bool:
    return _words(name)[-1:] in (["user"], ["login"], ["u"])


def _is_user_and_password(value: str) -> bool:
    """`user:password`, but neither `1000:1000` nor a path."""
    user, colon, password = value.partition(":")
    return bool(
        colon
        and user
        and password
        and password[0] not in "/\\"
        and not (user.isdigit() and password.isdigit())
        and value != MASK
    )


def _is_short_secret(letter: str, value: str) -> bool:
    """-p and -u, as sshpass, mysql and curl have them."""
    if letter == "u":
        return _is_user_and_password(value)
    number = re.fullmatch(r"[\d.:,-]*", value)
    return letter == "p" and not number and value != MASK


# 5. Addresses and headers.

_USER_INFO = re.compile(
    r"(\b[A-Za-z][A-Za-z0-9+.-]{0,30}://)"
    # A slash may be in a password, but not after a port.
    r"(?:[^\s/?#\"'<>]+|[^\s/?#\"'<>:@]+:(?!\d+/)[^\s?#\"'<>]+)@"
)
_USER_AT_HOST = re.compile(r"(?<![\w@:.+-])[\w.+-]+:[^\s@\"'/:]+@(?!sha256\b)(?=[\w\[])")
_BEARER = re.compile(r"(?i)(\bbearer[ \t]+)(?![ \t]*\*\*\*)[^\s\"',;]+")
_HEADER = re.compile(
    r"(?im)(\b(?:(?:proxy-)?authorization|(?:set-)?cookie|x-(?:[a-z]+-)*(?:key|token|secret))"
    r"\\*[\"']?\s*:[^\S\n]*\\*[\"']?)(?![\s\\\"']*\*\*\*)[^\n\"'\\]+"
    # Parameters in quotes, as those of Digest (RFC 7616): name="value", name="value"
    r"(?:(?<==)(?P<quote>\\*[\"'])[^\"'\n]*?(?:(?P=quote)|$)[^\n\"'\\]*)*"
)


# 6. Paths.

_BEFORE_PATH = r"(?:(?<![\w.~/\\<*)\]}%…-])|(?<=(?<![\w-])-[A-Za-z]))"
_IN_PATH = r"(?:\\[ ]|[^\s\"'`,;:=<>|&])"
_ADDRESS = r"\b[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s/\"'<>,;](?:[^\s\"'<>,;:]|:(?!/))*"
_LOCAL_ADDRESS = (
    r"(?P<scheme>\b(?:file://(?:localhost)?|[A-Za-z][A-Za-z0-9+.-]{0,30}://)(?=/))"
    rf"(?P<local>/{_IN_PATH}+)"
)
_PATH = re.compile(
    rf"(?P<quote>[\"'])(?P<quoted>(?:/(?![/\s])|[A-Za-z]:[/\\]|\\\\\w)[^\"'\n:;,=]*)(?P=quote)"
    rf"|{_LOCAL_ADDRESS}|(?P<address>{_ADDRESS})"
    rf"|{_BEFORE_PATH}(?P<path>(?:/{{1,3}}(?![/\s*])|[A-Za-z]:[/\\]|\\\\(?=\w)){_IN_PATH}*)"
)
_OTHER_HOME = re.compile(r"(?<![\w/.])~[A-Za-z_][\w-]*(?=[/\\])")
_HOMES = ("home", "users")
_END = r"(?![\w-]|\.\w)"


def _mask_paths(text: str, home: str) -> str:
    if "/" not in text and "\\" not in text:
        return text
    text = _PATH.sub(lambda match: _shown_path(match, home), text)
    if home.count("/") + home.count("\\") > 1:
        text = re.sub(rf"{re.escape(home)}{_END}", "~", text)
    return _OTHER_HOME.sub("~", text)


def _shown_path(match: re.Match[str], home: str) -> str:
    if match["address"]:
        return match["address"]
    if match["quoted"]:
        return f"{match['quote']}{_short_path(match['quoted'], home)}{match['quote']}"
    if match["local"]:
        return f"{match['scheme']}{_short_path(match['local'], home)}"
    return _short_path(match["path"], home)


def _short_path(path: str, home: str) -> str:
    if home and re.match(rf"{re.escape(home)}{_END}", path):
        return f"~{path[len(home) :]}"
    parts = [part for part in re.split(r"[/\\]+", path) if part]
    if len(parts) == 1 and parts[0].isdigit():
        return path  # the rest of a fraction
    named = len(parts) >= 2 and parts[-2].lower() in _HOMES and len(parts) <= 3
    if named or (parts and home and parts[-1] == re.split(r"[/\\]", home)[-1]):
        return "~"  # the folder of a user, named after them
    return parts[-1] if parts else path


def _home() -> str:
    """This user's home; empty: there is none that could be told from other paths."""
    home = os.path.expanduser("~").rstrip("/\\")
    return "" if home in ("", "~") else home


# 7. All of them.

_SURROGATE = re.compile("[\ud800-\udfff]")
_SHORT = 1_000
"""Characters of a text whose masked form is remembered: reports are written again and again."""
_MOST_PASSES = 6


def _masked(text: str, home: str) -> str:
    text = readable(text)
    for _ in range(_MOST_PASSES):
        before, text = text, _mask_paths(_mask_secrets(text), home)
        if text == before:
            break
    return text


_masked_short = lru_cache(8192)(_masked)


def _mask_secrets(text: str) -> str:
    text = _PRIVATE_KEY.sub(MASK, text)
    text = _KNOWN.sub(MASK, text)
    text = _HOOK.sub(rf"\1{MASK}", text)
    text = _LOGIN.sub(rf"\1{MASK}", text)
    text = _NETRC.sub(rf"\1{MASK}", text)
    text = _ELEMENT.sub(_mask_element, text)
    text = _USER_INFO.sub(rf"\1{MASK}@", text)
    text = _USER_AT_HOST.sub(f"{MASK}@", text)
    text = _HEADER.sub(rf"\1{MASK}", text)
    text = _BEARER.sub(rf"\1{MASK}", text)
    return _mask_named(text)


_ARGUMENT = re.compile(r"(?s)((?:--?|/|\+{0,2})[\w.+-]*\w)(=|:(?!//))(.*)")


def _masked_argument(argument: str) -> str:
    """`--name=value` and `name=value`: the whole value, whatever it holds."""
    if (assigned := _ARGUMENT.fullmatch(argument)) is not None:
        name, sep, value = assigned.groups()
        space = value[: len(value) - len(value.lstrip())] if sep == ":" else ""
        value = value[len(space) :]
        if value == MASK:
            return argument
        if sep == "=" or not _is_word_of_sentences(name):
            if value and _is_secret_value(name, value):
                return f"{name}{sep}{space}{MASK}"
            if sep == "=" and _is_simple(value):
                return f"{name}={space}{_masked_argument(value)}"
    attached = re.fullmatch(r"-u([^\s:-]+:\S.*)", argument)
    if attached and _is_user_and_password(attached[1]):
        return f"-u{MASK}"
    return _masked_path_or_text(argument)


def _is_simple(value: str) -> bool:
    """Neither code nor JSON, whose parts have meaning together."""
    return not re.search(r"[\"'\n{}]", value)


def _masked_path_or_text(text: str) -> str:
    """A text that is a path as a whole may have spaces in it."""
    if os.path.isabs(text) and not re.search(r"[,;:=\n]|\*{3}", text):
        return _short_path(text, _home())
    return mask_text(text)


def _is_value(option: str, argument: str) -> bool:
    """Whether an argument may be the value of the option before it, and is no option itself."""
    is_option = re.fullmatch(r"(?s)-[A-Za-z]|--[A-Za-z][\w.-]*(?:=.*)?", argument)
    return not is_option and re.fullmatch(r"--?[\w.+-]+", option) is not None


def _is_secret_value(option: str, value: str) -> bool:
    name = option.lstrip("-+/")
    if option.startswith("-") and not option.startswith("--") and len(name) == 1:
        return _is_short_secret(name, value)
    if option.startswith("-") and _is_login(name):
        return _is_user_and_password(value)
    return _is_hidden(name, value)


def _masked_value(name: str, value: Value) -> Value:
    if value is not None and names_a_secret(name):
        return MASK
    return _masked_path_or_text(readable(value)) if isinstance(value, str) else value
