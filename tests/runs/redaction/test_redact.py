"""Secrets that must not be recorded, and what looks like one and must stay."""

from __future__ import annotations

import random
import re
import string

import pytest

from nbdebug.runs.redaction.redact import redact
from tests.draw import crossed

# S is the secret in each; it must be gone and all the rest still there.
S = "hunter2Zq"
HEX = "0123456789abcdef0123456789abcdef01234567"
LETTERS = string.ascii_letters + string.digits


def made(prefix: str, length: int, letters: str = LETTERS) -> str:
    """A key that nobody has, made when it is needed: scanners of repositories find none here."""
    return prefix + "".join(random.Random(length).choices(letters, k=length - 1)) + "7"


NAMED = [
    f'password = "{S}"',
    f"password = '{S}'",
    f'PASSWORD="{S}"',
    f'db_password  =  "{S}"',
    f'password: str = "{S}"',
    f'api_key: str | None = "{S}"',
    f'api_key: Optional[str] = "{S}"',
    f'token: dict[str, list[int]] = "{S}"',
    f'password = r"{S}"',
    f'password = b"{S}"',
    f'password = f"{S}{{suffix}}"',
    f'password = rb"{S}"',
    f'password = """{S}"""',
    f"password = '''{S}'''",
    f'password = ("{S}")',
    f'password = (\n    "{S}"\n)',
    f'password = \\\n    "{S}"',
    f'password = "abc" "{S}"',
    f'password = "abc" + "{S}"',
    f'password = ("abc"\n            "{S}")',
    f'password = os.environ.get("DB_PASSWORD") or "{S}"',
    f'password = "" if test else "{S}"',
    f'user, password = "bob", "{S}"',
    f'if (password := "{S}"): pass',
    f'if password == "{S}":',
    f'if password != "{S}":',
    f'self.password = "{S}"',
    f'config.db.password = "{S}"',
    f'config["password"] = "{S}"',
    f'config["db"]["password"] = "{S}"',
    f"os.environ['HF_TOKEN'] = '{S}'",
    f'os.environ["X_TOKEN"]="{S}"',
    f'os.environ.setdefault("WANDB_API_KEY", "{S}")',
    f'os.getenv("API_KEY", "{S}")',
    f'os.environ.get("API_KEY", default="{S}", api_key="{S}")'.replace(f'default="{S}", ', ""),
    f'os.putenv("SECRET_KEY", "{S}")',
    f'setattr(config, "password", "{S}")',
    f'os.environ.update(HF_TOKEN="{S}")',
    f'os.environ |= {{"HF_TOKEN": "{S}"}}',
    f'login(token="{S}")',
    f'login("{S}")',
    f'huggingface_hub.login("{S}")',
    f'client.login("bob", "{S}")',
    f'login(\n    token="{S}",\n)',
    f'connect(host="db", user="bob", password="{S}", port=5432)',
    f'from_pretrained("bert", token="{S}")',
    f'from_pretrained("bert", use_auth_token="{S}")',
    f'Client(api_key="{S}")',
    f'Client(access_key="minio", secret_key="{S}")',
    f'SecretStr("{S}")',
    f'requests.get(url, auth=("bob", "{S}"))',
    f'requests.get(url, auth=HTTPBasicAuth("bob", "{S}"))',
    f'keyring.set_password("service", "bob", "{S}")',
    f'{{"user": "bob", "password": "{S}"}}',
    f"{{'user': 'bob', 'api_key': '{S}'}}",
    f'{{\n  "token": "{S}",\n  "size": 3\n}}',
    f'{{"token":\n    "{S}"}}',
    f'credentials = {{"user": "bob", "password": "{S}"}}',
    f'API_KEYS = {{"first": "{S}"}}',
    f'passwords = ["{S}"]',
    f'passwords = [\n    "abc",\n    "{S}",\n]',
    f'API_TOKEN = ["{S}"]',
    f'headers = {{"Authorization": "{S}"}}',
    f'headers = {{"Authorization": "Bearer {S}"}}',
    f'headers = {{"Authorization": f"token {S}"}}',
    f'headers = {{"x-api-key": "{S}"}}',
    f'headers["X-Auth-Token"] = "{S}"',
    f'add_header("Authorization", "Bearer {S}")',
    f'cookies = {{"session_cookie": "{S}"}}',
    f'subprocess.run(["hf", "login", "--token", "{S}"])',
    f'accessToken = "{S}"',
    f'clientSecret = "{S}"',
    f'apiKey: "{S}"',
    f'password2 = "{S}"',
    f'api_key_prod = "{S}"',
    f'Passwort = "{S}"',
    f'contraseña = "{S}"',
    f'DB_PASS = "{S}"',
    f'{{"pass": "{S}"}}',
    f'AWS_SECRET_ACCESS_KEY = "{S}"',
    f'passphrase = "{S} horse battery"',
    f'password = "a\\"{S}"',
    f"password = 'a\\'{S}'",
    f'password: str = field(default="{S}")',
    f'api_key: str = Field("{S}", description="The key of the service")',
    f'add_argument("--password", type=str, default="{S}", help="the password")',
    f'ngrok.set_auth_token("{S}")',
    f'{{"API key": "{S}"}}',
    f'token = "{HEX}"'.replace(HEX, S),
    f"x = 1  # it's the bob's password='{S}'",
    f'# password = "{S}"',
    f'"""Use password="{S}" there."""',
    f'print("it\'s", password, "{S}") if password == "{S}" else 0'.replace(f', "{S}")', ")"),
]
IN_TEXT = [
    f'text = \'{{"password": "{S}", "size": 3}}\'',
    f'text = "{{\\"password\\": \\"{S}\\"}}"',
    f'text = """\npassword: {S}\nsize: 3\n"""',
    f'text = """\nAPI_KEY={S}\n"""',
    f"%%writefile .env\nAPI_KEY={S}\nSIZE=3",
    f"%%writefile config.yaml\ndb:\n  password: {S}\n  - token: {S}",
    f'%%writefile config.json\n{{"api_key": "{S}"}}',
    f'connect("dbname=test user=bob password={S} port=3")',
    f'connect("Server=db;Uid=bob;Pwd={S};")',
    f'connect("DefaultEndpointsProtocol=https;AccountKey={S}==;EndpointSuffix=core")',
    f"%%writefile a.ini\n[db]\npassword = {S}\nsize = 3",
    f"%%writefile a.xml\n<db><password>{S}</password><size>3</size></db>",
    f"# API_KEY={S}",
    f"# password: {S}",
    f'"X-Api-Key: {S}"',
    f'"Authorization: Bearer {S}"',
    f'run("wandb login --api-key {S}")',
    f"machine api.wandb.ai\n  login user\n  password {S}",
]
SHELL = [
    f"%env HF_TOKEN={S}",
    f"%env HF_TOKEN = {S}",
    f"%env HF_TOKEN {S}",
    f'%env HF_TOKEN="{S}"',
    f"%set_env API_KEY={S}",
    f"!export API_KEY={S}",
    f"!export API_KEY='{S}' && python train.py",
    f"export API_KEY={S}",
    f'export API_KEY="{S}"',
    f"!API_KEY={S} python train.py",
    f"!hf auth login --token {S}",
    f"!hf auth login --token={S}",
    f"!hf auth login --token '{S}' --quiet",
    f'!tool --verbose --api-key "{S}"',
    f"!curl -u bob:{S} https://example.com",
    f"!curl --user 'bob:{S}' https://example.com",
    f'!curl -H "Authorization: Bearer {S}" https://example.com',
    f"!curl -H 'X-API-Key: {S}' https://example.com",
    f"!curl https://example.com/?access_token={S}",
    f"!docker login -u bob -p {S} registry.example.com",
    f"!sshpass -p {S} ssh bob@example.com",
    f"!mysql -u root -p{S} db",
    f"%%bash\necho start\nAPI_KEY={S} ./run --password {S}\n",
    f"    !hf login --token {S}",
    f"$ hf login --token {S}",
    f"ENV API_KEY={S}",
]
ADDRESSES = [
    f"https://bob:{S}@example.com/path",
    f'url = "postgresql://bob:{S}@db:5432/name"',
    f'create_engine("mysql+pymysql://bob:{S}@db/name?charset=utf8")',
    f"redis://:{S}@localhost:6379/0",
    f"mongodb+srv://bob:p@{S}@cluster.example.com",
    f"!git clone https://bob:{S}@github.com/a/b.git",
    f"!git clone https://oauth2:{S}@gitlab.com/a/b.git",
    f"!pip install git+https://{HEX}@github.com/a/b.git",
    f'get("https://example.com/a?size=3&api_key={S}&x=1")',
    f'get("https://example.com/a?token={S}")',
    f'get("https://a.blob.example.com/b?sv=2024&sp=r&sig={S}%2Babcdef%3D")',
    f'get(f"https://example.com/{{name}}?token={S}")',
]
LOOKS = {
    "Hugging Face": made("hf_", 34),
    "GitHub": made("ghp_", 36),
    "GitHub app": made("ghs_", 36),
    "GitHub fine-grained": made("github_pat_", 82, LETTERS + "_"),
    "GitLab": made("glpat-", 20, LETTERS + "-_"),
    "OpenAI": made("sk-", 48),
    "OpenAI project": made("sk-proj-", 120, LETTERS + "-_"),
    "Anthropic": made("sk-ant-api03-", 95, LETTERS + "-_"),
    "AWS": made("AKIA", 16, string.ascii_uppercase + string.digits),
    "AWS for a while": made("ASIA", 16, string.ascii_uppercase + string.digits),
    "Google": made("AIza", 35, LETTERS + "-_"),
    "Google OAuth": made("ya29.", 60, LETTERS + "-_"),
    "Slack": made("xoxb-123456789012-", 24),
    "npm": made("npm_", 36),
    "PyPI": made("pypi-AgEIcHlwaS5vcmc", 100, LETTERS + "-_"),
    "Stripe": made("sk_live_", 24),
    "SendGrid": made("SG.", 22) + made(".", 43),
    "Groq": made("gsk_", 52),
    "Replicate": made("r8_", 37),
    "Databricks": made("dapi", 32, "0123456789abcdef"),
    "Telegram": made("123456789:AA", 33),
    "JWT": made("eyJ", 30) + made(".eyJ", 40) + made(".", 43, LETTERS + "-_"),
}
# 64 characters of base64 a line.
PEM = "\n".join(
    ["-----BEGIN RSA PRIVATE KEY-----", *(made("MII", 61) for _ in range(5)),
     "-----END RSA PRIVATE KEY-----"]
)  # fmt: skip
UNTOUCHED = [
    "token = next(tokens)",
    "max_tokens=512",
    "max_tokens = 512",
    "generate(max_new_tokens=512, num_tokens=3)",
    "password = getpass()",
    'password = getpass("Password: ")',
    'password = getpass.getpass("Enter your password, please: ")',
    'token = input("token: ")',
    'tokenizer = "bert"',
    'tokenizer = AutoTokenizer.from_pretrained("bert-base-uncased")',
    'sorted(rows, key="loss")',
    'sorted(rows, key=lambda row: row["token"])',
    'cache(key="train/loss_2024_01_01_epoch_3")',
    "secret_santa = None",
    'secret_name = "prod/db"',
    'token_type = "bearer"',
    'password_field = "pw"',
    'token = os.environ["HF_TOKEN"]',
    'token = os.environ.get("HF_TOKEN")',
    'token = os.environ.get("HF_TOKEN", None)',
    'token = userdata.get("HF_TOKEN")',
    'if not os.environ.get("WANDB_API_KEY"):',
    "login(token=token)",
    "login(token=hf_token, name=name)",
    "model = load(path, token=token, api_key=config.api_key)",
    "hf = HfApi(token=token)",
    "%time model = load(token=token)",
    "api_key = load_key(path)",
    "token=tokens[3]",
    "password = None",
    'password = ""',
    "def login(user, password, token=None):",
    "def f(token: str, password: SecretStr = None) -> str:",
    "class A:\n    token: torch.Tensor\n    password: str\n    secret: Optional[str] = None",
    'class Password:\n    """A password that is long."""',
    "class Token:\n    'What a text is made of.'",
    'print("password:", x, "y")',
    'print("Wrong token:", token, "at", place)',
    'print(f"token={token!r} password={password}")',
    'logger.info("token: %s, secret: %s", token, secret)',
    'headers = {"Authorization": f"Bearer {token}"}',
    'headers = {"X-API-Key": os.environ["KEY"]}',
    'CLIENT_SECRET = "client_secret"',
    'BEGIN = "-----BEGIN PRIVATE KEY-----"; END = "-----END PRIVATE KEY-----"',
    'def f(self) -> "Password":\n    """What it returns."""',
    'TokenType.TOKEN: ("a token", "tokens")',
    "%%writefile train.py\npassword = load2()\ntoken = next(tokens2)",
    "!hf login --token $HF_TOKEN",
    "!hf login --token {token}",
    "!export HF_TOKEN=$TOKEN",
    "!curl -u $USER:$PASSWORD https://example.com",
    "!pip install tokenizers sentencepiece",
    'pad_token = "<pad>"',
    'tokenizer.add_special_tokens({"pad_token": "[PAD]", "eos_token": "</s>"})',
    'eos_token="<|endoftext|>"',
    'special_tokens = ["<s>", "</s>", "<unk>"]',
    'split_token = "##"',
    'tokens = ["the", "cat", "sat"]',
    'if token == "the":',
    'if token in ("the", "a"):',
    '{"token": "the", "count": 3}',
    'df[["user", "password", "email"]]',
    'columns = ["token", "label", "key"]',
    'add_argument("--token", "-t", help="the token of the service")',
    'add_argument("--token", help="use --token to log in, or --password")',
    'key = "loss"',
    'keys = ["loss", "accuracy"]',
    'pat = r"\\d+"',
    'compass = "north"',
    'bypass = "yes"',
    'monkey = "george"',
    'author = "Jane Doe"',
    'pwd = "/home/bob"',
    'private_key_path = "~/.ssh/id_rsa"',
    f'sha256 = "{HEX}"',
    f'{{"sha256": "{HEX}{HEX[:24]}"}}',
    f'commit = "{HEX}"',
    f"index {HEX[:7]}..{HEX[7:14]} 100644",
    f'revision="{HEX}"',
    "lr = 3e-4\nweight_decay = 0.01\nseed = 1234567890",
    "x = 12345678901234567890",
    "task-specific-learning-rate-schedules-2 and risk-weighted-things-3",
    "A basic understanding of tokens and keys is needed. Basic Authentication is not.",
    "The secret: patience. The password is what the user types in.",
    "Tokens:\n    token: the next one\n    secret: what it hides",
    "It's the tokenizer's job, don't split the password's characters.",
    "https://example.com/a/b?size=3&page=2#token",
    "https://medium.com/@bob/what-is-a-token",
    "git@github.com:a/b.git",
    "ssh://git@github.com/a/b.git",
    'url = f"https://{user}:{password}@example.com"',
    "for token in doc: print(token.text, token.pos_)",
    "assert len(tokens) == 3, 'no token'",
    "attention(query, key, value, key_padding_mask=mask)",
    "x = {key: value for key, value in pairs}",
    "nn.MultiheadAttention(64, 4, kdim=8)",
    "",
    "\n\n",
]


@pytest.mark.parametrize("text", [*NAMED, *IN_TEXT, *SHELL, *ADDRESSES])
def test_a_secret_is_masked_and_nothing_else(text: str) -> None:
    found = redact(text)

    assert S not in found
    assert HEX not in found
    assert "***" in found
    assert found.count("\n") == text.count("\n")
    # What is left are the pieces around it, in their order. Others may be masked with it.
    pattern = ".*?".join(re.escape(part) for part in re.split(r"\*{3}", found))
    assert re.fullmatch(pattern, text, re.DOTALL)


@pytest.mark.parametrize("text", UNTOUCHED)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("secret", LOOKS.values(), ids=LOOKS)
@pytest.mark.parametrize(
    "around",
    ["x = '{}'", "{}", "f('{}')", "see {}, there", "+{}", "-{}", '"a\\n{}\\n"', "url/{}/x", "[{}]"],
)
def test_a_key_is_known_by_its_looks(secret: str, around: str) -> None:
    assert redact(around.format(secret)) == around.format("***")


@pytest.mark.parametrize(
    "text",
    [
        'wandb.login(key="{}")',
        "!wandb login {}",
        "!wandb login --relogin {}",
        'wandb.login("{}")',
        "%env WANDB_API_KEY={}",
        'wandb_key = "{}"',
        "wandb: logged in with {}",
    ],
)
def test_keys_of_weights_and_biases(text: str) -> None:
    assert redact(text.format(HEX)) == text.format("***")


def test_the_key_of_kaggle() -> None:
    text = '!echo \'{"username":"bob","key":"KEY"}\' > ~/.kaggle/kaggle.json'

    assert redact(text.replace("KEY", HEX[:32])) == text.replace("KEY", "***")
    assert redact(f"!ngrok authtoken {HEX[:32]}") == "!ngrok authtoken ***"


@pytest.mark.parametrize(
    "text",
    ["{}", 'key = """{}"""', "%%writefile key.pem\n{}\n", "before\n{}\nafter", "{}\n\n{}"],
)
def test_a_private_key_is_masked_line_by_line(text: str) -> None:
    whole = text.replace("{}", PEM)

    found = redact(whole)

    assert "MII" not in found
    assert found == text.replace("{}", "***" + "\n" * PEM.count("\n"))


def test_a_private_key_on_one_line_and_one_cut_off() -> None:
    one = PEM.replace("\n", "\\n")

    assert redact(f'key = "{one}"') == 'key = "***"'
    assert "MII" not in redact(PEM[:200])


@pytest.mark.parametrize("breaks", ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028"])
def test_the_number_of_lines_stays(breaks: str) -> None:
    text = breaks.join(['password = """first', "second", "third", 'fourth"""', "x = 1", ""])

    found = redact(text)

    assert found == f'password = """***{breaks * 3}"""{breaks}x = 1{breaks}'
    assert len(found.splitlines()) == len(text.splitlines())


DIFF = f"""\
diff --git a/train.py b/train.py
index 0123456..789abcd 100644
--- a/train.py
+++ b/train.py
@@ -1,9 +1,9 @@ def load():
     It's the end of a docstring that began before.
     \"\"\"
 import os
-password = "{S}"
+password = "{S}new"
-api_key = \"\"\"{S}
-{S}
-\"\"\"
+token = os.environ["HF_TOKEN"]
 key = "loss"
@@ -40,3 +40,4 @@
-os.environ["HF_TOKEN"] = '{S}'
+%env HF_TOKEN={S}
+  password: {S}
+API_KEY={S}
 print("done")
diff --git a/train.ipynb b/train.ipynb
@@ -7,5 +7,6 @@
    "source": [
-    "password = \\"{S}\\"\\n",
+    "login(token='{S}')\\n",
+    "os.environ[\\"HF_TOKEN\\"] = \\"{S}\\"\\n",
+    "!hf login --token {S}\\n",
     "model = load(token=token)\\n",
     "pad = tokenizer(pad_token=\\"<pad>\\")"
"""


def test_a_diff_keeps_its_lines_and_signs() -> None:
    found = redact(DIFF)

    assert S not in found
    assert found.count("***") == 11
    before, after = DIFF.splitlines(), found.splitlines()
    assert [line[:1] for line in after] == [line[:1] for line in before]
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [
        '-password = "***"',
        '+password = "***"',
        '-api_key = """***',
        "-",
        "-os.environ[\"HF_TOKEN\"] = '***'",
        "+%env HF_TOKEN=***",
        "+  password: ***",
        "+API_KEY=***",
        '-    "password = \\"***\\"\\n",',
        "+    \"login(token='***')\\n\",",
        '+    "os.environ[\\"HF_TOKEN\\"] = \\"***\\"\\n",',
        '+    "!hf login --token ***\\n",',
    ]


def test_masked_twice_is_masked_once() -> None:
    for text in (*NAMED, *IN_TEXT, *SHELL, *ADDRESSES, DIFF):
        once = redact(text)
        assert redact(once) == once


# What makes a careless pattern run for minutes when it is repeated.
REPEATED = [
    "a", "a.", "a-", "A_", " ", "\n", "\t", "'", '"', "\\", '\\"', '\\\\\\"', "'''", '"""', "\\'",
    '"\\', "password", "password ", "password=", 'password="', "password='a' ", 'password="""',
    "token: ", "token:\n", "[", "(", "password = (", 'password = ["', "://", "://a:", "://a@",
    "?a=", "&token=", "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "sk-", "eyJa.", "eyJaaaaaaaaa.",
    "Bearer ", "Bearer a", "login ", "login a password ", "wandb ", "curl ", "curl -u a", "!a ",
    "--token ", "-", "--a ", "export ", "export a=", "%env a ", "authorization: ", "a: ", "a:\n",
    "!login -p ", "mysql -p", "x[", "a, ", "a, b = ", "password, a = 'b', ", "f(", '"password": ',
    '"password", ', "\\n", "it's ", "password: str | ", "password: a[b[", "é", "\u2028", "\r\n",
    "\n@@ -", 'password = """a\n@@ -', "or ", 'password = "a" or ', "<", "{", "${",
    "%(", "0", "07a",
]  # fmt: skip


@pytest.mark.soak
@pytest.mark.parametrize(("piece", "start"), crossed(REPEATED, ["password = ", "!", '"']), ids=repr)
def test_a_long_line_ends(piece: str, start: str) -> None:
    """It takes minutes where time grows with the square of the length."""
    text = start + piece * (50_000 // len(piece))

    assert len(redact(text).splitlines()) == len(text.splitlines())


def test_a_megabyte_of_notebook_ends() -> None:
    pieces = [*NAMED, *IN_TEXT, *SHELL, *ADDRESSES, *UNTOUCHED, PEM, DIFF]
    # What a whole cell says of itself holds for that cell alone.
    cells = "\n".join(piece for piece in pieces if "%%" not in piece)
    text = "\n".join([cells] * (1_000_000 // len(cells)))

    found = redact(text)

    assert S not in found
    assert found.count("\n") == text.count("\n")


def test_noise_keeps_its_lines() -> None:
    generator = random.Random(0)
    pieces = [*REPEATED, *NAMED, *UNTOUCHED, *SHELL, S]
    for _ in range(300):
        text = "".join(generator.choices(pieces, k=30))

        found = redact(text)

        assert len(found.splitlines()) == len(text.splitlines())
