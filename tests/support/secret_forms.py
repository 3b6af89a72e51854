"""Forms in which secrets come in command lines, and formats of known keys."""

from __future__ import annotations

SECRET = "s3same"


def known(prefix: str, repeated: str, length: int, end: str = "") -> str:
    """A made-up key of a known format, put together here so that no scanner takes it for one."""
    return prefix + (repeated * length)[:length] + end


HEX = "0123456789abcdef" * 2 + "01234567"

BY_NAME = [
    ["SSHPASS=s3same"],
    ["--api-keys", "a,s3same"],
    ["--mnemonic", "a s3same b"],
    ["--args", "--password a s3same b --n 3"],
    ["--env=PASSWORD=a s3same b"],
    ["password = a s3same b"],
    ["machine h login ada password s3same"],
    ["password: |\n  a\n  s3same"],
    ["n: 1\npassword: |\n  a\n  s3same\nm: 2"],
    ["--password", "a s3same b"],
    ["--password=a s3same b"],
    ["--password", "-s3same"],
    ["--passwd", "s3same"],
    ["--db-pass", "s3same"],
    ["--passphrase", "a s3same b"],
    ["--secret", "s3same"],
    ["--credentials", "s3same"],
    ["--auth", "s3same"],
    ["--apiKey", "s3same"],
    ["-p", "s3same"],
    ["-u", "ada:s3same"],
    ["-uada:s3same"],
    ["--user", "ada:s3same"],
    ["--proxy-user=ada:s3same"],
    ["--hub.token", "s3same"],
    ["--hub.token=s3same"],
    ["+hub.token=s3same"],
    ["++a.b.api_key=a s3same b"],
    ["--set", "db.password=a s3same b"],
    ["--set=db.password=a s3same b"],
    ["/password:a s3same b"],
    ["password: a s3same b"],
    ["token:s3same"],
    ["DB_PWD=s3same"],
    ["env", "WANDB_API_KEY=a s3same b", "python"],
    ["-e", "PGPASSWORD=s3same"],
    ["-DdbPassword=s3same"],
    ["AWS_SECRET_ACCESS_KEY=s3same/x+y"],
    ["TOKEN_PROD=s3sameabc123def456"],
    ["user=ada,password=a s3same b,n=3"],
    ["Server=h;Uid=ada;Pwd=a s3same b;Encrypt=yes"],
    ["host=h password='a s3same b' user=ada"],
]
IN_JSON = [
    ["{'password'=>'a s3same b'}"],
    ["<user>ada</user><password>a s3same b</password>"],
    ['{"auth": {"user": "ada", "pass": "s3same"}}'],
    ['{"password": "a s3same b"}'],
    ["{'hub': {'token': 's3same'}}"],
    ['{"api_key":"s3same","n":3}'],
    ['{"passwords": ["a", "s3same"]}'],
    ["{password: a s3same b, n: 3}"],
]
IN_HEADERS = [
    ["-H", 'Authorization: Digest username="ada", response="s3same"'],
    ["-H", "Authorization: token s3same"],
    ["X-Auth-Token: s3same"],
    ["--header", "Authorization: Bearer s3same"],
    ["-H", "X-Api-Key: a s3same b"],
    ["--header=Cookie: sid=s3same; x=1"],
    ["-H", "authorization: Basic s3same"],
    ["Bearer s3same"],
]
IN_ADDRESSES = [
    ["//ada:s3same@host/x"],
    ["ada:s3same@tcp(host:3306)/db"],
    ["s3://ada:x/s3same@bucket"],
    ["mongodb+srv://ada:s3same@host/db"],
    ["DefaultEndpointsProtocol=https;AccountName=a;AccountKey=s3same==;Suffix=x"],
    ["postgres://ada:s3same@host/db"],
    ["https://s3same@host/x"],
    ["redis://:s3same@host:6379/0"],
    ["ada:s3same@host"],
    ["https://h/x?token=s3same&y=1"],
    ["https://h/x?a=1&X-Amz-Signature=s3same"],
    ["https://h/x#access_token=s3same"],
    ["https://hooks.slack.com/services/T0/B0/s3same"],
]
IN_CODE = [
    ["sh", "-c", "tool --password 'a s3same b' --n 3"],
    ["sh", "-c", 'PASSWORD="a s3same b" tool'],
    ["sh", "-c", "sshpass -p 'a s3same b' ssh h"],
    ["bash", "-c", "curl -u ada:s3same h"],
    ["sh", "-c", 'tool --config "{\\"token\\": \\"a s3same b\\"}"'],
    ["python", "-c", "login(token='a s3same b')"],
    ["python", "-c", "import os; os.environ['HF_TOKEN'] = 'a s3same b'"],
    ["python", "-c", 'password = "s3same"\nprint(1)'],
    ["-----BEGIN RSA PRIVATE KEY-----\nSECRET\n-----END RSA PRIVATE KEY-----"],
]
FORMATS = [
    known("ghp_", "aB3", 36),
    known("gho_", "aB3", 36),
    known("ghu_", "aB3", 36),
    known("ghs_", "aB3", 36),
    known("ghr_", "aB3", 36),
    known("github_pat_", "a1_", 82),
    known("glpat-", "aB3_", 20),
    known("hf_", "aBc", 34),
    known("sk-", "a1B", 48),
    known("sk-proj-", "a1B-_", 120),
    known("sk-ant-api03-", "a1B-_", 93, "AA"),
    known("AKIA", "QWERTY7", 16),
    known("ASIA", "QWERTY7", 16),
    known("xoxb-", "123456789012-abcDEF", 40),
    known("xoxp-", "1234567890-abc", 40),
    known("AIza", "aB3-_", 35),
    known("npm_", "aB3", 36),
    known("eyJ", "hbGciOiJ", 20) + known(".eyJ", "zdWIiOiI", 20) + ".abc-_DEF",
]
STAY = [
    ["mysql", "-ps3same"],
    ["tool", "s3same"],
    ["sshpass", "-p", "123456"],
]
"""These stay readable; docs/run.md says so."""

FORMS = [*BY_NAME, *IN_JSON, *IN_HEADERS, *IN_ADDRESSES, *IN_CODE]
