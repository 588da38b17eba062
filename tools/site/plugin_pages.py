"""A page for every control, probe, check and rule, written from its class."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from nbdebug.checks.base import Check
from nbdebug.controls.base import Control
from nbdebug.core.control_spec import ControlSpec
from nbdebug.core.results.checks.check_result import CHECKLIST_STEPS
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.probes.base import Probe
from nbdebug.rules.base import Rule
from tools.docs_tables import own
from tools.site import check_examples
from tools.site.control_specs import control_specs
from tools.site.pictures import picture
from tools.site.sources import module_of, remedies, thresholds

ROOT = Path(__file__).parents[2]
FALSE_ALARMS = "\n\nFalse alarms: "
Plugin = type[Control] | type[Probe] | type[Check] | type[Rule]


@dataclass(frozen=True)
class Kind:
    """A kind of plug-in: its folder of pages, the page that lists it, and its base class."""

    folder: str
    title: str
    base: type
    write: Callable[[Plugin], Iterator[str]] = field(compare=False)

    @property
    def plugins(self) -> dict[str, Plugin]:
        """The classes that come with nbdebug, by name."""
        return _by_name(f"nbdebug.{self.folder}", self.base)


@cache
def _by_name(package: str, base: type[Any]) -> dict[str, Plugin]:
    return {plugin.name: plugin for plugin in own(package, base)}


def page(kind: Kind, plugin: Plugin) -> str:
    """The page of one class, in Markdown."""
    why, _, alarms = (inspect.getdoc(plugin) or "").partition(FALSE_ALARMS)
    title = getattr(plugin, "title", "") or getattr(plugin, "label", "") or f"`{plugin.name}`"
    parts = [
        "---\norphan: true\n---",
        f"# {title} ({kind.folder.removesuffix('s')})",
        f"[{kind.title}](../../docs/{kind.folder}.md) / `{plugin.name}`",
        _plain(why),
        *_pictured(plugin),
        *kind.write(plugin),
        *_thresholds(plugin),
        *_measured(kind.folder, plugin.name, " ".join(alarms.split())),
        *_source(plugin),
        f"Class `{plugin.__name__}` in `{module_of(plugin).__name__.replace('.', '/')}.py`.",
    ]
    return "\n\n".join(parts) + "\n"


def _pictured(plugin: Plugin) -> Iterator[str]:
    if shown := picture(plugin):
        words = shown.caption.replace("`", "")
        yield f"![{words}]({plugin.name}.svg)\n\n{shown.caption}"


def link(kind: str, name: str, label: str = "") -> str:
    """A link from one of these pages to another."""
    return f"[{label or f'`{name}`'}](../{kind}/{name}.md)"


def _source(plugin: Plugin) -> Iterator[str]:
    source: str = getattr(plugin, "source", "")
    if source:
        yield f"## Source\n\n{source[0].upper()}{source[1:].removesuffix('.')}."


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _plain(text: str) -> str:
    """A text in which only code in backticks is markup."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part[:1] == "`" else re.sub(r"([*<])", r"\\\1", part) for part in parts)


def _table(rows: Sequence[tuple[str, str]], head: tuple[str, str] = ("property", "value")) -> str:
    lines = [f"| {name} | {value} |" for name, value in (head, *rows)]
    return "\n".join([lines[0], "|---|---|", *lines[1:]])


def _thresholds(plugin: Plugin) -> Iterator[str]:
    found = thresholds(plugin)
    if found and not issubclass(plugin, Control):
        rows = [(f"`{one.name}`", f"{one.value} {one.comment}".strip()) for one in found]
        yield "## Thresholds\n\n" + _table(rows, ("constant", "value"))


@cache
def _counts() -> dict[tuple[str, str], list[str]]:
    """Rows of docs/alarms.md by kind and name."""
    text = (ROOT / "docs" / "alarms.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (check|rule) \| `(\w+)` \| (.*) \|$", text, re.MULTILINE)
    return {(kind, name): rest.split(" | ") for kind, name, rest in rows}


def _measured(folder: str, name: str, alarms: str) -> Iterator[str]:
    if folder not in ("checks", "rules"):
        return
    parts = [f"False alarms: {alarms}"] if alarms else []
    counted = _counts().get((folder.removesuffix("s"), name))
    if counted:
        heads = ("applies to healthy", "errors", "warnings", "alarms on stock", "fires on sick")
        parts.append(_table([*zip(heads, counted, strict=True)], ("counted together", "number")))
    if parts:
        parts.append("[Alarms](../../docs/alarms.md) tells what was counted, and how.")
        yield "## Measured\n\n" + "\n\n".join(parts)


def _control(plugin: type[Control]) -> Iterator[str]:
    spec = control_specs()[plugin.name]
    yield spec.help
    yield _table([*_facts(spec)])
    yield (
        f'`dbg.controls["{plugin.name}"]` is the value in force, `dbg.set({plugin.name}=...)` sets '
        "it, and the same keyword of `nbd.Debugger` gives its first value."
    )
    given = {name: symptom for name, symptom in symptoms().items() if _sets(symptom, plugin.name)}
    if given:
        links = ", ".join(link("rules", name, RULES.plugins[name].title) for name in given)
        yield f"## Findings that propose it\n\n{links}."


def _facts(spec: ControlSpec) -> Iterator[tuple[str, str]]:
    yield "in Python", f"`{spec.name}`"
    yield (
        "in the dashboard",
        f"{spec.label}" + (f", under More, {spec.group}" if spec.advanced else ", in the rail"),
    )
    if spec.choices:
        yield (
            "values",
            ", ".join(f"`{value or _quoted(value)}` ({said})" for value, said in spec.choices),
        )
    elif spec.kind in ("float", "int"):
        unit = f" {spec.unit}" if spec.unit else ""
        scale = ", logarithmic" if spec.scale == "log" else ""
        yield "slider", f"{spec.low:g} to {spec.high:g}{unit}{scale}"
    if spec.members:
        yield "one by one", f"a dict sets it for each {spec.part}"


def _probe(plugin: type[Probe]) -> Iterator[str]:
    rows = [
        ("measured", "every step" if plugin.every == 1 else f"every {plugin.every} steps"),
        ("cost", plugin.cost),
    ]
    if plugin.on_demand:
        rows.append(("only", "while its tab is open"))
    if plugin.paused:
        rows.append(("while paused", "once, when its tab is opened"))
    if plugin.reads_weights:
        rows.append(("with FSDP", "off, since a rank holds a part of each weight"))
    yield _table(rows)
    readers = [rule for rule in RULES.plugins.values() if plugin.name in probes_of(rule)]
    if readers:
        links = ", ".join(link("rules", rule.name, rule.title) for rule in readers)
        yield f"## Rules that read it\n\n{links}."


def probes_of(rule: type[Rule]) -> list[str]:
    """Names of the probes that measure series of a rule."""
    stems = {name.partition("/")[0] for name in (*rule.needs, *rule.wants)}
    return [
        name
        for name, probe in PROBES.plugins.items()
        if stems & set(re.findall(r"`(\w+)", inspect.getdoc(probe) or ""))
    ]


def _check(plugin: type[Check]) -> Iterator[str]:
    step = f"{plugin.step}: {CHECKLIST_STEPS[plugin.step]}"
    runs = "by name, since it takes seconds" if plugin.expensive else "with every report"
    rows = [("step of the checklist", step), ("runs", runs)]
    checks = CHECKS.plugins
    if "*" in plugin.explains:
        rows.append(("explains", "all that raised an exception"))
    if names := [name for name in plugin.explains if name in checks]:
        rows.append(
            ("explains", ", ".join(link("checks", one, checks[one].title) for one in names))
        )
    asking = [rule for rule in RULES.plugins.values() if plugin.name in rule.asks]
    if asking:
        links = ", ".join(link("rules", rule.name, rule.title) for rule in asking)
        rows.append(("run by the rules", links))
    yield _table(rows)
    yield f'```python\ndbg.check("{plugin.name}")\n```'
    yield from _check_row(plugin)
    if said := remedies(plugin):
        listed = "\n".join(f"- {_plain(text)}" for text in said)
        what = "One of these, by what is seen; … stands for a name or a number."
        yield f"## Remedies\n\n{what}\n\n{listed}"


def _check_row(plugin: type[Check]) -> Iterator[str]:
    """The row of a report on a setup with the fault."""
    if plugin.name not in check_examples.found():
        return
    name, row = check_examples.found()[plugin.name]
    parts = (("seen", row.seen), ("expected", row.expected), ("what to do", row.remedy))
    cells = [(head, _cell(text)) for head, text in parts if text]
    told = f"Of the setup `examples.sick_setups()[{_quoted(name)}]` of `nbdebug.examples`:"
    yield f"## As it is shown\n\n{told}\n\n{_table(cells, ('', row.status))}"


def _cell(text: str) -> str:
    return " ".join(_plain(text).replace("|", "\\|").split())


def _rule(plugin: type[Rule]) -> Iterator[str]:
    rows = [("severity", plugin.severity)]
    if series := ", ".join(f"`{name}`" for name in plugin.needs):
        rows.append(("needs the series", series))
    if series := ", ".join(f"`{name}`" for name in plugin.wants):
        rows.append(("reads as well", series))
    if probes := ", ".join(link("probes", name) for name in probes_of(plugin)):
        rows.append(("measured by", probes))
    if asked := [name for name in plugin.asks if name in CHECKS.plugins]:
        rows.append(("asks the checks", ", ".join(link("checks", name) for name in asked)))
    if plugin.harms:
        rows.append(("trial of a remedy", "begins before the harm, since weights stay damaged"))
    if plugin.only_explained:
        rows.append(("shown", "only under a finding that explains it"))
    if plugin.explains_others:
        rows.append(("shown", "only where it explains others"))
    yield _table(rows)
    symptom = symptoms().get(plugin.name)
    if symptom is not None:
        yield f"## As it is shown\n\nIn a made-up training: {_plain(symptom.seen)}"
        if symptom.remedies:
            listed = "\n".join(f"- {_remedy(one)}" for one in symptom.remedies)
            yield f"## Remedies\n\n{listed}"


def _remedy(remedy: Remedy) -> str:
    settings = ", ".join(f"{name}={_quoted(value)}" for name, value in remedy.settings.items())
    return _plain(remedy.text) + (f": `dbg.set({settings})`" if settings else "") + "."


@cache
def symptoms() -> dict[str, Symptom]:
    """What each rule says of the example in which it has to fire, by name."""
    found = {name: rule().diagnose(rule.examples()[0]) for name, rule in RULES.plugins.items()}
    return {name: symptom for name, symptom in found.items() if symptom is not None}


def _sets(symptom: Symptom, control: str) -> bool:
    return any(control in remedy.settings for remedy in symptom.remedies)


CONTROLS = Kind("controls", "Controls", Control, _control)
PROBES = Kind("probes", "Probes", Probe, _probe)
CHECKS = Kind("checks", "Checks", Check, _check)
RULES = Kind("rules", "Rules", Rule, _rule)
KINDS = (CONTROLS, PROBES, CHECKS, RULES)
