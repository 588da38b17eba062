"""Secrets of some 320 kinds, of which a third was set aside while the patterns were made."""

from __future__ import annotations

import ast
import random
import re
import string
import zlib
from pathlib import Path

import pytest

from nbdebug.runs.redaction.redact import redact, redact_prose

KINDS = [
    line.split("\t")
    for line in Path(__file__).with_name("kinds.tsv").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
ALPHABETS = {
    "": string.ascii_letters + string.digits, "h": "0123456789abcdef",
    "u": string.ascii_uppercase + string.digits, "w": string.ascii_letters + string.digits + "-_",
    "b": string.ascii_letters + string.digits + "+/",
}  # fmt: skip
# Kinds that are not recognised yet.
NOT_TOLD = ("twilio sid+token", "quote call", "lambda")
SENTENCES = ("note", "repr", "trace")


def filled(name: str, form: str, text: str) -> tuple[str, tuple[str, ...]]:
    """The text with a secret that is made from its form, and the parts of the secret in it."""
    drawn = random.Random(zlib.crc32(name.encode()))

    def made(found: re.Match[str]) -> str:
        return "".join(drawn.choices(ALPHABETS[found[2]], k=int(found[1]) - 1)) + "7"

    secret = re.sub(r"\{(\d+)([a-z]?)\}", made, form)
    half = len(secret) // 2
    first, second = secret[:half], secret[half:]
    parts = (first, second) if "§1" in text else (secret,)
    text = text.replace("\\n", "\n").replace("\\\n", "\\n")
    return text.replace("§1", first).replace("§2", second).replace("§", secret), parts


def is_program(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


@pytest.mark.parametrize(("name", "form", "text"), KINDS, ids=[kind[0] for kind in KINDS])
def test_a_secret_of_this_kind_is_masked(name: str, form: str, text: str) -> None:
    whole, parts = filled(name, form, text)
    clean = redact_prose if name.split()[0] in SENTENCES else redact

    found = clean(whole)

    assert [part for part in parts if part in found] == (list(parts) if name in NOT_TOLD else [])
    assert clean(found) == found
    assert found.count("\n") == whole.count("\n")
    assert is_program(found) or not is_program(whole)


@pytest.mark.parametrize(
    "text",
    [
        "seed = 42", "torch.manual_seed(1234567890)", "random_state=20240917", "rng_seed = 123456",
        'DataLoader(data, generator=torch.Generator().manual_seed(4711), pin_memory=True)',
        'api_key = os.environ["API_KEY"]', "# sha256: " + "0123456789abcdef" * 4,
        "token_ids = tokenizer(text).input_ids", "pad_token = tokenizer.eos_token", "pin = 13",
        "secret_santa = draw(names)", "key=lambda row: row.token", "num_tokens = 32768",
        "encoder.layers.11.attention.self.key_value_projection.weight", 'salt = "NaCl"',
        'pepper = "bell"', 'clave = "loss"', "# The password is what a user types in.",
        "# The token is a BertTokenizerFast, the key is a Tensor.", "otp = None", "nonce = 0",
        'gdown.download(id="1aB2cD3eF4gH5iJ6kL7mN8oP9qR0sT1uV")', "session_id = 3",
        'alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"',
        "commit 0123456789abcdef0123456789abcdef01234567", "x = 83041977",
    ],
)  # fmt: skip
def test_what_a_run_is_repeated_by_stays(text: str) -> None:
    assert redact(text) == text
    assert redact_prose(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "in_features=10, out_features=3, bias=True", "num_tokens=512, pad_token=0, key=hidden",
        "Loss jumped at step 200: lr 3e-4 -> 1e-4", "kernel_size=(3, 3), token=cls, p=0.1",
        "seed=42, manual_seed=1234", "The token embedding is frozen; key padding is masked.",
        "ValueError: expected 3 tokens, got 5", "try again with batch_size=64",
    ],
)  # fmt: skip
def test_an_ordinary_note_stays(text: str) -> None:
    assert redact_prose(text) == text
