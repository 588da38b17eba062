// Concatenated before bokeh_view.js, since anywidget loads a single module.

/** The DOM around the figures: tab bar, drop-downs, one box per panel. */
class Frame {
  constructor(el, id, send) {
    Object.assign(this, { el, id, send, tabs: [], panels: new Map(), selects: new Map() });
    this.filled = new Set();
    this.bell = new Bell();
    this.save = () => {};
    this.current = 0;
    this.page = document.createElement("div");
    this.page.className = "nbd-page";
    this.showStatus("Loading the plots…");
    el.append(this.page);
    this.pointerDown = false;
    this.pendingSections = {};
    this.alternatives = {};
    this.release = () => this.onRelease();
    window.addEventListener("pointerup", this.release);
    window.addEventListener("pointercancel", this.release);
  }
  close() {
    window.removeEventListener("pointerup", this.release);
    window.removeEventListener("pointercancel", this.release);
  }
  /** Write the sections that arrived while a button was held down, after its click. */
  onRelease() {
    if (!this.pointerDown) return;
    this.pointerDown = false;
    setTimeout(() => {
      const sections = this.pendingSections;
      this.pendingSections = {};
      this.writeSections(sections);
    });
  }
  showStatus(text) {
    const note = node("div", "nbd-wait", text);
    note.setAttribute("role", "status");
    this.page.replaceChildren(note);
  }
  /** Build the panels that are always shown, and the tabs below them. */
  build(overview, tabs) {
    const first = node("div", "nbd-overview");
    for (const panel of overview) first.append(this.buildPanel(panel, true));
    const bar = node("div", "nbd-tabs");
    bar.setAttribute("role", "tablist");
    bar.setAttribute("aria-label", "Plots");
    bar.addEventListener("keydown", (event) => this.onTabKey(event));
    this.tabs = tabs.map((tab, index) => this.buildTab(tab, index));
    bar.append(...this.tabs.map((tab) => tab.button));
    first.lastChild?.querySelector(".nbd-title").append(this.bell.box);
    this.page.replaceChildren(first, bar, ...this.tabs.map((tab) => tab.body));
    this.show(Math.min(this.current, tabs.length - 1), false);
  }
  buildTab(tab, index) {
    const button = node("button", "nbd-tab", tab.name);
    const body = node("div", "nbd-body");
    const tools = node("div", "nbd-tools");
    const grid = node("div", "nbd-grid");
    Object.assign(button, { type: "button", id: `${this.id}-tab-${index}` });
    button.setAttribute("role", "tab");
    button.setAttribute("aria-controls", (body.id = `${this.id}-body-${index}`));
    button.addEventListener("click", () => this.show(index));
    body.setAttribute("role", "tabpanel");
    body.setAttribute("aria-labelledby", button.id);
    // What is in it is seen once its figures are there, so that nothing moves.
    body.setAttribute("aria-busy", "true");
    for (const panel of tab.panels) grid.append(this.buildPanel(panel));
    body.append(tools, grid);
    return { name: tab.name, button, body, tools };
  }
  buildPanel(panel, brief = false) {
    const built = new PanelBox(panel, brief);
    this.panels.set(panel.name, built);
    return built.box;
  }
  /** Note what the panels of tabs have become; return those with a plot, which were not there yet. */
  fill(built) {
    const fresh = [];
    for (const { tab, panels } of built) {
      if (this.filled.has(tab)) continue;
      this.filled.add(tab);
      for (const panel of panels) {
        const there = this.panels.get(panel.name);
        there.fill(panel, this);
        if (panel.root) fresh.push({ ...panel, box: there });
      }
      this.tabs.find((one) => one.name === tab)?.body.removeAttribute("aria-busy");
    }
    return fresh;
  }
  onTabKey(event) {
    const last = this.tabs.length - 1;
    const next = { ArrowRight: this.current + 1, ArrowLeft: this.current - 1, Home: 0, End: last };
    if (!(event.key in next)) return;
    event.preventDefault();
    event.stopPropagation();
    this.show((next[event.key] + last + 1) % (last + 1));
    this.tabs[this.current].button.focus();
  }
  show(index, tell = true) {
    this.current = index;
    this.tabs.forEach((tab, position) => {
      const on = position === index;
      tab.button.setAttribute("aria-selected", String(on));
      tab.button.tabIndex = on ? 0 : -1;
      tab.body.hidden = !on;
    });
    if (tell) this.send({ kind: "show", tab: this.tab });
  }
  /** Show a tab by its name, and bring it into view. */
  showTab(name) {
    const index = this.tabs.findIndex((tab) => tab.name === name);
    if (index < 0) return;
    this.show(index);
    this.tabs[index].button.scrollIntoView({ block: "nearest" });
  }
  get tab() {
    return this.tabs[this.current]?.name ?? "";
  }
  writeChoices(choices) {
    for (const choice of choices) {
      const place = choice.panel
        ? this.panels.get(choice.panel)?.title
        : this.tabs.find((tab) => tab.name === choice.tab)?.tools;
      if (!place) continue;
      if (choice.slider) {
        this.writeSlider(choice, place);
        continue;
      }
      let select = this.selects.get(choice.name);
      if (!select || !select.isConnected) select = this.buildSelect(choice, place);
      const options = JSON.stringify(choice.options);
      if (select.dataset.options !== options) {
        select.dataset.options = options;
        select.replaceChildren(...choice.options.map(([value, text]) => new Option(text, value)));
      }
      select.value = choice.value;
      select.closest("label").hidden = choice.options.length === 0;
    }
  }
  writeSlider(choice, place) {
    let slider = this.selects.get(choice.name);
    if (!slider?.isConnected) {
      slider = new OptionSlider(choice, place, (message) => this.send(message));
      this.selects.set(choice.name, slider);
    }
    slider.write(choice);
  }
  /** A drop-down; beside a title its label is the tooltip. */
  buildSelect(choice, place) {
    const label = node("label", "nbd-choice", choice.panel ? "" : choice.label);
    const select = node("select", "");
    select.setAttribute("aria-label", choice.label);
    select.title = choice.label;
    select.addEventListener("change", () =>
      this.send({ kind: "choose", name: choice.name, value: select.value }));
    label.append(select);
    place.append(label);
    this.selects.set(choice.name, select);
    return select;
  }
  /** Write text and buttons under panels; buttons are reused, so that no click is lost. */
  writeActions(all) {
    for (const [name, { text, actions }] of Object.entries(all)) {
      const box = this.panels.get(name)?.actions;
      if (!box) continue;
      if (!box.firstChild) box.append(node("span", "nbd-words", ""));
      box.firstChild.textContent = text;
      box.hidden = !text && !actions.length;
      while (box.children.length - 1 > actions.length) box.lastChild.remove();
      actions.forEach((action, index) => {
        const button = box.children[index + 1] ?? box.appendChild(node("button", "nbd-offer", ""));
        Object.assign(button, { type: "button", title: action.tooltip, textContent: action.label });
        button.onclick = () => this.ask(name, action.command, action.fields);
      });
    }
  }
  /** Write sections of HTML in the order of their names; keep open details, text and focus. */
  writeSections(sections) {
    if (this.pointerDown) {
      Object.assign(this.pendingSections, sections);
      return;
    }
    for (const [path, html] of Object.entries(sections)) {
      const [name, key] = path.split("/");
      const page = this.panels.get(name)?.plot;
      if (!page) continue;
      let section = [...page.children].find((child) => child.dataset.section === key);
      if (!section) {
        section = node("div", "nbd-section", "");
        section.dataset.section = key;
        page.insertBefore(section,
          [...page.children].find((child) => child.dataset.section > key) ?? null);
      }
      const typed = new Map(fieldsOf(section).map((one) => [one.dataset.field, one.value]));
      const open = [...section.querySelectorAll("details[open]")].map((one) => one.dataset.key);
      const focus = section.contains(document.activeElement) ? identityOf(document.activeElement) : null;
      section.innerHTML = html;
      for (const one of fieldsOf(section)) {
        if (typed.has(one.dataset.field)) one.value = typed.get(one.dataset.field);
      }
      for (const one of section.querySelectorAll("details")) one.open = open.includes(one.dataset.key);
      if (focus) {
        const all = [...section.querySelectorAll("button, summary, [data-field]")];
        all.find((one) => identityOf(one) === focus)?.focus({ preventScroll: true });
      }
    }
  }
  ask(panel, command, fields) {
    this.send({ kind: "ask", panel, command, fields });
  }
  onClick(event, panel) {
    const button = event.target.closest(
      "button[data-command], button[data-fill], button[data-tab], button[data-choose]");
    if (!button || button.ariaDisabled === "true") return;
    const { command, fill, tab, choose, value, also } = button.dataset;
    const chosen = choose ? { [choose]: value, ...JSON.parse(also ?? "{}") } : {};
    for (const name in chosen) this.send({ kind: "choose", name, value: chosen[name] });
    if (tab) this.showTab(tab);
    if (tab || choose) return;
    if (fill) {
      const field = event.currentTarget.querySelector(`[data-field="${fill}"]`);
      field.value = JSON.parse(button.dataset.value);
      field.focus();
      return;
    }
    // The refusal goes below the section of the button, which may be rewritten before.
    const { refusal } = this.panels.get(panel);
    refusal.textContent = "";
    button.closest(".nbd-section").after(refusal);
    const fixed = JSON.parse(button.dataset.fields);
    const typed = "form" in button.dataset ? fieldsOf(button.closest(".nbd-row")) : [];
    const filled = Object.fromEntries(typed.map((one) => [one.dataset.field, one.value]));
    this.ask(panel, command, { ...fixed, ...filled });
    if ("clears" in button.dataset) typed.forEach((one) => { one.value = ""; });
  }
  /** Press the button of the row on Enter in a field; JupyterLab must not run the cell. */
  onFieldKey(event) {
    const field = event.target.closest("[data-field]");
    if (!field) return;
    event.stopPropagation();
    if (event.key !== "Enter" || field.tagName === "SELECT") return;
    event.preventDefault();
    field.closest(".nbd-row").querySelector("button[data-form]")?.click();
  }
  /** Write the reasons of refused commands next to their buttons. */
  writeRefusals(texts) {
    for (const [name, text] of Object.entries(texts)) {
      const panel = this.panels.get(name);
      if (panel) panel.refusal.textContent = text;
    }
  }
  /** Write what the plots show, for who cannot see them. */
  writeAlternatives(texts) {
    Object.assign(this.alternatives, texts);
    for (const [name, text] of Object.entries(texts)) {
      const plot = this.panels.get(name)?.plot;
      for (const one of plot ? [plot, ...canvasesOf(plot)] : []) {
        one.setAttribute("role", "img");
        one.setAttribute("aria-label", text);
      }
    }
  }
  writeHidden(panels) {
    for (const name in panels) this.panels.get(name)?.box.toggleAttribute("hidden", panels[name]);
  }
  writeNotes(notes) {
    for (const [name, text] of Object.entries(notes)) {
      const panel = this.panels.get(name);
      if (panel && panel.note.textContent !== text) panel.note.textContent = text;
    }
  }
}
