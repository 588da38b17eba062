"""A secret is gone from whatever code surrounds it; code without one stays as it is."""

from __future__ import annotations

import string

from hypothesis import assume, given
from hypothesis import strategies as st

from nbdebug.runs.redaction.redact import redact

LINES = (
    "import torch", "model = nn.Linear(3, 4)", "for epoch in range(10):", "    loss.backward()",
    "lr = 3e-4  # found by the range test", "print(f'{loss:.3f}')", "", "    return x + 1",
    "batch_size = 64", "def forward(self, x):", "path = '/data/images'", "# Épreuve no. 3",
    "tokens = tokenizer(text)['input_ids']", "key = jax.random.PRNGKey(0)", "%matplotlib inline",
    "url = 'https://example.org/data.csv?page=3'", "assert x.shape == (2, 3)", '"""A docstring."""',
    "passwords_seen = 0", "optimizer.step()", "!pip install numpy==2.0", "x = np.array([1, 2])",
)  # fmt: skip
CODE = st.lists(st.sampled_from(LINES), max_size=8)
WORD = st.text(string.ascii_letters + string.digits, min_size=3, max_size=8)
# A tail that no other line holds, with letters and digits as passwords have them.
SECRET = st.builds(lambda head, tail: f"{head}q{tail}7Zk", WORD, WORD)
PLACES = (
    'password = "{}"', "api_key = '{}'", 'os.environ["HF_TOKEN"] = "{}"', 'login(token="{}")',
    'connect(host="db", password="{}", port=5432)', '{{"user": "bob", "password": "{}"}}',
    'url = "https://bob:{}@example.org/data"', "export AWS_SECRET_ACCESS_KEY={}",
    "%env WANDB_API_KEY={}", 'self.secret_key = "{}"', 'client = Client(api_key="{}")',
    'config["db"]["password"] = "{}"', 'keyring.set_password("service", "bob", "{}")',
)  # fmt: skip


@given(before=CODE, after=CODE, place=st.sampled_from(PLACES), secret=SECRET)
def test_a_planted_secret_is_gone_and_the_rest_stays(
    before: list[str], after: list[str], place: str, secret: str
) -> None:
    lines = [*before, place.format(secret), *after]
    assume(secret not in "\n".join([*before, *after, place]))

    found = redact("\n".join(lines)).split("\n")

    assert secret not in "\n".join(found)
    assert found[: len(before)] == before
    assert found[len(before) + 1 :] == after
    lead = place.partition("{")[0].partition('"')[0].rstrip("'")
    assert found[len(before)].startswith(lead)


@given(lines=CODE)
def test_code_without_a_secret_stays(lines: list[str]) -> None:
    assert redact("\n".join(lines)) == "\n".join(lines)


@given(text=st.text(max_size=200))
def test_any_text_is_taken_and_masked_once(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@given(before=CODE, place=st.sampled_from(PLACES), secret=SECRET)
def test_what_is_masked_stays_masked(before: list[str], place: str, secret: str) -> None:
    once = redact("\n".join([*before, place.format(secret)]))
    assert redact(once) == once
