// A one-way view of one Bokeh document. The kernel sends a snapshot to a view that says
// hello, then one message a tick; a gap in the sequence makes the view say hello again.

const RETRY_MS = 3000;

/** BokehJS of one version, loaded once a page. */
class Library {
  static of(version) {
    const all = (window.nbdebugLibraries ??= new Map());
    if (!all.has(version)) all.set(version, new Library(version));
    return all.get(version);
  }
  constructor(version) {
    this.version = version;
    this.loading = null;
  }
  get bokeh() {
    const bokeh = window.Bokeh;
    return bokeh?.[this.version] ?? (bokeh?.version === this.version ? bokeh : undefined);
  }
  load(bytes) {
    this.loading ??= this.run(bytes);
    return this.loading;
  }
  async run(bytes) {
    if (this.bokeh) return;
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const code = await new Response(stream).blob();
    const script = document.createElement("script");
    script.src = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    await new Promise((done, failed) => {
      script.onload = done;
      script.onerror = () => failed(new Error("BokehJS could not be loaded."));
      document.head.append(script);
    }).finally(() => URL.revokeObjectURL(script.src));
  }
}

/** Colours of the page's theme, as the canvas needs them: resolved. */
function pageColours(el) {
  const probe = document.createElement("span");
  el.append(probe);
  const resolve = (value) => {
    probe.style.color = "";
    probe.style.color = value;
    return getComputedStyle(probe).color;
  };
  const colours = {
    ink: resolve("var(--jp-ui-font-color1, currentcolor)"),
    faint: resolve("var(--jp-ui-font-color2, currentcolor)"),
    line: resolve("var(--jp-border-color1, #bdbdbd)"),
    grid: resolve("var(--jp-border-color2, #e0e0e0)"),
    paper: resolve("var(--jp-layout-color0, #ffffff)"),
  };
  probe.remove();
  return colours;
}

function themeOf(model, c) {
  if (/Axis$/.test(model.type)) {
    return {
      axis_line_color: c.line, major_tick_line_color: c.line, minor_tick_line_color: null,
      major_label_text_color: c.ink, axis_label_text_color: c.faint,
    };
  }
  if (/Grid$/.test(model.type)) return { grid_line_color: c.grid };
  if (model.type === "Legend") return { label_text_color: c.ink, inactive_fill_color: c.paper };
  if (model.tags?.includes("ink")) return { line_color: c.ink };
  if (model.type === "Label") return { text_color: c.faint };
  return null;
}

/** The DOM around the figures: tab bar, drop-downs, one box a panel. */
class Frame {
  constructor(el, id, send) {
    Object.assign(this, { el, id, send, tabs: [], panels: new Map(), selects: new Map() });
    this.current = 0;
    this.page = document.createElement("div");
    this.page.className = "nbd-page";
    this.wait("Loading the plots…");
    el.append(this.page);
  }
  wait(text) {
    const note = node("div", "nbd-wait", text);
    note.setAttribute("role", "status");
    this.page.replaceChildren(note);
  }
  build(tabs) {
    const bar = node("div", "nbd-tabs");
    bar.setAttribute("role", "tablist");
    bar.setAttribute("aria-label", "Plots");
    bar.addEventListener("keydown", (event) => this.key(event));
    this.tabs = tabs.map((tab, place) => this.buildTab(tab, place));
    bar.append(...this.tabs.map((tab) => tab.button));
    this.page.replaceChildren(bar, ...this.tabs.map((tab) => tab.body));
    this.show(Math.min(this.current, tabs.length - 1), false);
  }
  buildTab(tab, place) {
    const button = node("button", "nbd-tab", tab.name);
    const body = node("div", "nbd-body");
    const tools = node("div", "nbd-tools");
    const grid = node("div", "nbd-grid");
    Object.assign(button, { type: "button", id: `${this.id}-tab-${place}` });
    button.setAttribute("role", "tab");
    button.setAttribute("aria-controls", (body.id = `${this.id}-body-${place}`));
    button.addEventListener("click", () => this.show(place));
    body.setAttribute("role", "tabpanel");
    body.setAttribute("aria-labelledby", button.id);
    for (const panel of tab.panels) grid.append(this.buildPanel(panel));
    body.append(tools, grid);
    return { name: tab.name, button, body, tools };
  }
  buildPanel(panel) {
    const box = node("section", panel.wide ? "nbd-panel nbd-wide" : "nbd-panel");
    const title = node("div", "nbd-title", panel.title);
    const plot = node("div", "nbd-plot");
    const note = node("div", "nbd-note");
    box.setAttribute("aria-label", panel.title);
    title.append(node("span", "nbd-help", panel.help));
    note.setAttribute("role", "status");
    plot.style.minHeight = `${panel.height}px`;
    const stage = node("div", "nbd-stage");
    stage.append(plot, note);
    box.append(title, stage);
    this.panels.set(panel.name, { plot, note, root: panel.root });
    return box;
  }
  key(event) {
    const last = this.tabs.length - 1;
    const next = { ArrowRight: this.current + 1, ArrowLeft: this.current - 1, Home: 0, End: last };
    if (!(event.key in next)) return;
    event.preventDefault();
    event.stopPropagation();
    this.show((next[event.key] + last + 1) % (last + 1));
    this.tabs[this.current].button.focus();
  }
  show(place, tell = true) {
    this.current = place;
    this.tabs.forEach((tab, index) => {
      const on = index === place;
      tab.button.setAttribute("aria-selected", String(on));
      tab.button.tabIndex = on ? 0 : -1;
      tab.body.hidden = !on;
    });
    if (tell) this.send({ kind: "show", tab: this.tab });
  }
  get tab() {
    return this.tabs[this.current]?.name ?? "";
  }
  choose(choices) {
    for (const choice of choices) {
      const tab = this.tabs.find((tab) => tab.name === choice.tab);
      if (!tab) continue;
      let select = this.selects.get(choice.name);
      if (!select || !select.isConnected) select = this.buildSelect(choice, tab);
      const options = JSON.stringify(choice.options);
      if (select.dataset.options !== options) {
        select.dataset.options = options;
        select.replaceChildren(...choice.options.map(([value, text]) => new Option(text, value)));
      }
      select.value = choice.value;
      select.closest("label").hidden = choice.options.length === 0;
    }
  }
  buildSelect(choice, tab) {
    const label = node("label", "nbd-choice", choice.label);
    const select = node("select", "");
    select.setAttribute("aria-label", choice.label);
    select.addEventListener("change", () =>
      this.send({ kind: "choose", name: choice.name, value: select.value }));
    label.append(select);
    tab.tools.append(label);
    this.selects.set(choice.name, select);
    return select;
  }
  write(notes) {
    for (const [name, text] of Object.entries(notes)) {
      const panel = this.panels.get(name);
      if (panel && panel.note.textContent !== text) panel.note.textContent = text;
    }
  }
}

function node(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text) made.textContent = text;
  return made;
}

/** Rows from `start` on are replaced; what was before stays. */
function spliced(old, start, fresh) {
  if (fresh instanceof Float64Array) {
    const whole = new Float64Array(start + fresh.length);
    for (let row = 0; row < start; row++) whole[row] = old[row];
    whole.set(fresh, start);
    return whole;
  }
  return [...Array.from(old).slice(0, start), ...fresh];
}

class View {
  constructor(model, el) {
    this.model = model;
    this.el = el;
    this.id = `nbd-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;
    this.sequence = null;
    this.closed = false;
    this.queue = Promise.resolve();
    this.frame = new Frame(el, this.id, (content) => this.send(content));
    this.receive = (content, buffers) => {
      this.queue = this.queue.then(() => this.handle(content, buffers)).catch((error) => {
        console.error("nbdebug:", error);
        this.sequence = null;
      });
    };
    model.on("msg:custom", this.receive);
    this.retry = setInterval(() => this.sequence === null && this.hello(), RETRY_MS);
    this.leave = () => this.send({ kind: "bye" });
    window.addEventListener("pagehide", this.leave);
    this.watcher = new MutationObserver(() => this.repaint());
    this.watcher.observe(document.body, {
      attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "class"],
    });
    this.hello();
  }
  send(content) {
    if (!this.closed) this.model.send({ ...content, view: this.id });
  }
  hello() {
    const version = this.model.get("bokeh_version");
    const library = Library.of(version).bokeh === undefined;
    this.send({ kind: "hello", library, tab: this.frame.tab });
  }
  async handle(content, buffers) {
    if (this.closed) return;
    if (content.kind === "library" && content.view === this.id) {
      await Library.of(content.version).load(buffers[0]);
    } else if (content.kind === "snapshot" && content.view === this.id) {
      await this.join(content, buffers);
    } else if (content.kind === "tick" && this.sequence !== null) {
      if (content.sequence === this.sequence + 1) {
        this.sequence = content.sequence;
        this.apply(content, buffers[0]);
      } else if (content.sequence > this.sequence) {
        this.sequence = null;
        this.hello();
      }
    }
  }
  async join(content, buffers) {
    this.bokeh = Library.of(content.version).bokeh;
    if (!this.bokeh) return;
    this.sequence = content.sequence;
    if (!this.document) {
      const { Document } = this.bokeh.require("document");
      this.document = Document.from_json(content.document);
      this.frame.build(content.tabs);
      this.apply(content, buffers[0]);
      this.paint();
      const panels = [...this.frame.panels.values()];
      const places = this.document.roots().map(
        (root) => panels.find((panel) => panel.root === root.id)?.plot ?? this.el);
      await this.bokeh.embed.add_document_standalone(this.document, this.el, places);
      if (this.closed) this.clear();
      else this.send({ kind: "show", tab: this.frame.tab });
    } else {
      this.apply(content, buffers[0]);
    }
  }
  apply(content, buffer) {
    let offset = 0;
    for (const [id, start, rows, numeric, text] of content.sources) {
      const source = this.document.get_model_by_id(id);
      const data = {};
      for (const name of numeric) {
        const bytes = new Uint8Array(buffer.buffer, buffer.byteOffset + offset, rows * 8);
        data[name] = spliced(source.get_column(name) ?? [], start, new Float64Array(bytes.slice().buffer));
        offset += rows * 8;
      }
      for (const [name, words] of Object.entries(text)) {
        data[name] = spliced(source.get_column(name) ?? [], start, words);
      }
      source.data = data;
    }
    for (const [id, attribute, value] of content.props) {
      this.document.get_model_by_id(id).setv({ [attribute]: this.decode(value) });
    }
    if (content.choices) this.frame.choose(content.choices);
    if (content.notes) this.frame.write(content.notes);
  }
  decode(value) {
    if (value?.model) return this.document.get_model_by_id(value.model);
    if (value?.map) return new Map(value.map);
    return value;
  }
  repaint() {
    this.paint();
    // JupyterLab marks the body before the new theme's style sheet is in force.
    clearTimeout(this.later);
    this.later = setTimeout(() => this.paint(), 600);
  }
  paint() {
    if (!this.document || this.closed) return;
    const colours = pageColours(this.el);
    const look = JSON.stringify(colours);
    if (look === this.look) return;
    this.look = look;
    for (const model of this.document.all_models) {
      const theme = themeOf(model, colours);
      if (theme) model.setv(theme);
    }
  }
  clear() {
    if (!this.document) return;
    this.document.clear();
    this.document.views_manager?.clear();
    const all = this.bokeh.documents ?? [];
    const place = all.indexOf(this.document);
    if (place >= 0) all.splice(place, 1);
    this.document = null;
  }
  close() {
    this.leave();
    this.closed = true;
    clearInterval(this.retry);
    clearTimeout(this.later);
    this.watcher.disconnect();
    window.removeEventListener("pagehide", this.leave);
    this.model.off("msg:custom", this.receive);
    this.clear();
  }
}

export default {
  render({ model, el }) {
    el.classList.add("nbd-view");
    const view = new View(model, el);
    return () => view.close();
  },
};
