"""A recorded program is one after its secrets are masked."""

from __future__ import annotations

import ast
import json

from hypothesis import given
from hypothesis import strategies as st

from nbdebug.runs.redaction.document import redact_document
from nbdebug.runs.redaction.redact import redact

VALUE = st.sampled_from(("aB3dE5fG7hJ9", "Zq7Hunter2x", "83041977", "a", "word", "hf_" + "a1" * 17))
NAME = st.sampled_from(
    ("password", "API_KEY", "token", "pin", "salt", "x", "seed", "self.secret", "PEPPER", "k1")
)
# V is a value, N a name: in and outside of strings, where a name is no secret.
PLACES = (
    'N = "V"', "N = 'V' 'V'", 'N = ("V"\n     "V")', 'N = "V" + x + "V"', "N = 4711", "N=tok3nB",
    'N = """\nV\nV\n"""', 'N = "V\\\nV"', 'N = f"V{x}"', 'N = f"{x}:V"', "N = b'V'", "N = r'V'",
    "N = dict(password='V', pin=4711)", 'N = {"token": "V", "pin": 4711, b"k": b"V"}',
    "# N is V", "# N: V", "#export API_KEY=V", '"""Log in with password V."""',
    "class A:\n    password: Secret2\n    token: Foo3 = 4", "def f(a, password='V', pin=4711): ...",
    "def get_password():\n    return 'V'", 'N = """\nAPI_KEY=V\npassword: V\n"""',
    'url = f"https://{user}:{password}@host/?token=V"', 'url = "https://bob:V@host"',
    "x=1;token=k3y9",
    "if token == 'V':\n    pass", "print('password:', 'V')", 'y = "{\\"token\\": \\"V\\"}"',
    "match token:\n    case 'V': pass", "API_KEY=my_key2", "N = 'V' if x else None",
)  # fmt: skip
LINE = st.builds(
    lambda place, name, value: place.replace("N", name).replace("V", value),
    st.sampled_from(PLACES), NAME, VALUE,
)  # fmt: skip


@given(lines=st.lists(LINE, min_size=1, max_size=6))
def test_a_program_stays_a_program(lines: list[str]) -> None:
    text = "\n".join(lines)
    ast.parse(text)

    found = redact(text)

    ast.parse(found)
    assert redact(found) == found
    assert found.count("\n") == text.count("\n")


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | LINE,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAME, inner, max_size=3),
        max_leaves=8,
    )
)
def test_a_document_is_masked_once_and_stays_json(value: object) -> None:
    once = redact_document("notes", value)

    assert redact_document("notes", once) == once
    assert json.loads(json.dumps(once)) == once
