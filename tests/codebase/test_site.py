"""The documentation site: a page for every plug-in, links that hold, nothing from afar."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest

from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.examples import sick_setups
from tools.site import check_examples, notebooks
from tools.site.links import check_links
from tools.site.pictures import picture
from tools.site.plugin_pages import (
    CHECKS,
    CONTROLS,
    KINDS,
    PROBES,
    RULES,
    Kind,
    page,
    probes_of,
    symptoms,
)  # fmt: skip
from tools.site.sources import remedies, thresholds
from tools.site.staging import chapters, markdown_pages, python_blocks, stage

ROOT = Path(__file__).parents[2]
# They report a number or a state, and ask for nothing.
WITHOUT_REMEDY = {
    "data_fingerprint", "git_state", "noise_scale", "run_record", "sharpness", "versions",
}  # fmt: skip
EACH = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.folder)


class Unheard(Check):
    """Checks that a class which no list names has a page.

    Nobody has to edit a page for it.

    False alarms: 0 of 3 made-up configurations.
    """

    name = "unheard"
    step = 4
    title = "Nobody has heard of it"
    source = "a test"

    MAX_HEARD = 0.25  # of all listeners

    def examine(self, context: object) -> Outcome:
        remedy = f"Listen to {self.name} once more." if context else "Speak up."
        return Outcome("fail", "nothing was heard", "a sound", remedy)


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    stage(folder, notebooks.FOLDER)
    return folder


def sections(text: str) -> dict[str, str]:
    """Parts of a page by their headings."""
    parts = (part.partition("\n\n") for part in text.split("\n## ")[1:])
    return {title: rest for title, _, rest in parts}


@EACH
def test_every_plugin_has_a_page_with_a_title_and_a_text(kind: Kind, staged: Path) -> None:
    written = {path.stem for path in (staged / "reference" / kind.folder).glob("*.md")}

    assert written == set(kind.plugins)
    assert len(written) > 15
    for name, plugin in kind.plugins.items():
        text = page(kind, plugin)
        first = (plugin.__doc__ or "").partition("\n")[0]
        assert re.search(r"^# \S", text, re.MULTILINE), name
        assert first in text, name
        assert f"Class `{plugin.__name__}` in `nbdebug/{kind.folder}/" in text, name


def test_checks_and_rules_tell_their_source_and_their_false_alarms() -> None:
    for kind in (CHECKS, RULES):
        for name, plugin in kind.plugins.items():
            found = sections(page(kind, plugin))
            assert found["Source"].strip(), name
            assert "False alarms: " in found["Measured"], name


def test_every_check_that_finds_a_fault_tells_what_to_do() -> None:
    without = {name for name, check in CHECKS.plugins.items() if not remedies(check)}

    assert without == WITHOUT_REMEDY
    assert "Remedies" in sections(page(CHECKS, CHECKS.plugins["features"]))


def test_a_remedy_that_is_put_together_is_whole() -> None:
    (text,) = remedies(CHECKS.plugins["mixed_targets"])

    assert text.startswith("Give each target the weight of its sample: ")
    assert text.endswith("for inputs l * x + (1 - l) * x[other].")


def test_every_rule_shows_what_it_says_and_its_remedies() -> None:
    for name, rule in RULES.plugins.items():
        symptom = symptoms()[name]
        found = sections(page(RULES, rule))
        assert symptom.seen in found["As it is shown"].replace("\\", ""), name
        shown = found["Remedies"].count("\n- ") + found["Remedies"].startswith("- ")
        assert shown == len(symptom.remedies), name


def test_every_rule_that_reads_series_shows_them(staged: Path) -> None:
    for name, rule in RULES.plugins.items():
        drawn = {one.partition("/")[0] for one in rule.examples()[0].series}
        reads = {one.partition("/")[0] for one in rule.needs}
        there = (staged / "reference" / "rules" / f"{name}.svg").exists()
        assert there or not drawn & reads, name
        assert there == (f"]({name}.svg)" in page(RULES, rule)), name


def test_pictures_show_the_series_and_mark_the_step() -> None:
    rule = picture(RULES.plugins["vanishing_gradients"])
    control = picture(CONTROLS.plugins["lr"])
    probe = picture(PROBES.plugins["activations"])

    assert rule is not None
    assert control is not None
    assert probe is not None
    assert [">grad_norm/0.weight<" in one.svg for one in (rule, control, probe)] == [1, 0, 0]
    assert ">lr<" in control.svg
    assert "`lr` is set from `0.01` to `0.1` at step 120" in control.caption
    assert "dead/" in probe.svg or "near_zero/" in probe.svg
    # Marked are the step since when, and that of the change; a probe has none.
    assert ["stroke-dasharray" in one.svg for one in (rule, control, probe)] == [1, 1, 0]
    # Each is a document of its own that loads nothing.
    assert all("href" not in one.svg for one in (rule, control, probe))


def test_a_check_shows_its_row_on_a_setup_with_the_fault() -> None:
    planted = {setup.check for setup in sick_setups().values()}
    text = sections(page(CHECKS, CHECKS.plugins["broadcast"]))["As it is shown"]

    assert planted <= set(check_examples.found())
    assert "| seen | outputs (64, 1), targets (64,)" in text
    assert "| what to do | " in text


def test_thresholds_are_those_of_the_classes() -> None:
    dead = {one.name: one.value for one in thresholds(RULES.plugins["dead_units"])}

    assert dead == {"MAX_DEAD_SHARE": "0.6", "MIN_REMAINING_LOSS": "0.7", "PATIENCE": "1"}
    found = {one.name: one.value for one in thresholds(CHECKS.plugins["features"])}
    assert found["MAX_CONSTANT_SHARE"] == "0.9"
    assert found["SAME_LENGTH"] == "1e-05"


def test_a_new_class_gets_its_page_without_an_edit_anywhere() -> None:
    text = page(CHECKS, Unheard)

    assert "# Nobody has heard of it (check)" in text
    assert "Nobody has to edit a page for it." in text
    found = sections(text)
    assert "`MAX_HEARD` | 0.25 of all listeners |" in found["Thresholds"]
    assert "- Listen to … once more.\n- Speak up." in found["Remedies"]
    assert "False alarms: 0 of 3 made-up configurations." in found["Measured"]
    assert found["Source"].startswith("A test.")


def test_rules_and_probes_lead_to_each_other() -> None:
    assert probes_of(RULES.plugins["dead_units"]) == ["activations"]
    assert "](../probes/activations.md)" in page(RULES, RULES.plugins["dead_units"])


@EACH
def test_the_table_of_a_kind_leads_to_every_page(kind: Kind, staged: Path) -> None:
    text = (staged / "docs" / f"{kind.folder}.md").read_text(encoding="utf-8")
    table = text[text.index("written by `make docs`") : text.rindex("<!-- /")]
    linked = re.findall(rf"\| \[`\w+`\]\(\.\./reference/{kind.folder}/(\w+)\.md\) \|", table)

    assert sorted(linked) == sorted(kind.plugins)


def test_names_in_a_guide_lead_to_their_pages(staged: Path) -> None:
    guide = (staged / "docs" / "checklist.md").read_text(encoding="utf-8")
    named = re.findall(r"\]\(\.\./reference/(\w+)/(\w+)\.md\)", guide)

    assert ("checks", "overfit") in named
    assert ("rules", "not_learning") in named
    # Each step names checks of its own.
    for step, part in enumerate(guide.split("\n## ")[1:], 1):
        checks = [name for kind, name in re.findall(r"/(checks)/(\w+)\.md", part)]
        assert {CHECKS.plugins[name].step for name in checks} == {step}
    # On the forge, which has no such pages, they stay words.
    assert "reference/" not in (ROOT / "docs" / "checklist.md").read_text(encoding="utf-8")


def test_blocks_of_code_and_headings_stay_as_they_are(staged: Path) -> None:
    for path in markdown_pages():
        if path.name == "README.md":
            continue
        there = staged / "docs" / path.name
        assert python_blocks(there) == python_blocks(path)
        headings = [
            re.findall(r"^#+ .*", one.read_text(encoding="utf-8"), re.M) for one in (path, there)
        ]
        assert headings[0] == headings[1]


def test_the_sidebar_has_every_page_once() -> None:
    listed = [name for pages in chapters().values() for name in pages]
    there = {f"docs/{path.stem}" for path in markdown_pages() if path.name != "README.md"}
    there |= {f"notebooks/{path.stem}" for path in notebooks.FOLDER.glob("*.ipynb")}
    there.add("reference/api/index")

    assert len(listed) == len(set(listed))
    assert set(listed) == there - {"docs/index"}


def test_every_public_name_is_in_the_reference(staged: Path) -> None:
    import nbdebug

    pages = (staged / "reference" / "api").glob("*.rst")
    text = "".join(path.read_text(encoding="utf-8") for path in pages)
    errors = {name for name in nbdebug.__all__ if name.endswith(("Error", "Stopped", "LoopLeft"))}

    assert ".. automodule:: nbdebug.errors" in text
    assert [one for one in {*nbdebug.__all__} - errors if f":: nbdebug.{one}\n" not in text] == []


@pytest.mark.parametrize(
    ("link", "is_dead"),
    [
        ("there.html", False),
        ("there.html#part", False),
        ("#own", False),
        ("https://example.org/gone", False),
        ("gone.html", True),
        ("there.html#gone", True),
        ("picture.png", True),
    ],
)
def test_a_dead_link_is_named(link: str, is_dead: bool, tmp_path: Path) -> None:
    (tmp_path / "there.html").write_text('<h1 id="part">There</h1>')
    (tmp_path / "here.html").write_text(f'<h1 id="own">Here</h1><a href="{link}">look</a>')

    report = check_links(tmp_path)

    assert report.dead == ((f"here.html: {link}",) if is_dead else ())
    assert (report.pages, report.internal + report.external) == (2, 1)


def test_what_a_page_loads_from_elsewhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "here.html").write_text('<script src="https://example.org/a.js"></script>')

    assert check_links(tmp_path).remote == ("here.html: https://example.org/a.js",)


def test_the_live_view_of_a_notebook_is_dropped_and_its_picture_stays() -> None:
    view = {"application/vnd.jupyter.widget-view+json": {}, "text/html": "<p>the picture</p>"}
    cell = nbformat.v4.new_code_cell("dbg", outputs=[nbformat.v4.new_output("display_data", view)])
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {}})

    shown = notebooks.without_widgets(notebook)

    assert shown.cells[0].outputs[0].data == {"text/html": "<p>the picture</p>"}
    assert "widgets" not in shown.metadata


@pytest.mark.slow
@pytest.mark.skipif(find_spec("sphinx") is None, reason="the dependency group docs is missing")
def test_the_site_builds_without_a_warning_and_without_a_dead_link(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.site", "--out", str(tmp_path / "site")]

    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert built.returncode == 0, built.stdout + built.stderr
    assert ", 0 dead;" in built.stdout
    # Found by a search that needs no server.
    index = (tmp_path / "site" / "searchindex.js").read_text(encoding="utf-8")
    assert "reference/rules/dead_units" in index
    shutil.rmtree(tmp_path / "site")
