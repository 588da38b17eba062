// A one-way view of one Bokeh document. The kernel sends a snapshot to a view that sends
// `hello`, then one message a tick; at a gap in the sequence the view sends `hello` again.

/** BokehJS of one version, loaded once per page. */
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

/** Fit the range of y to a new scale; Bokeh leaves a range on the scale it was first fitted to. */
function refit({ y_range, y_scale }) {
  y_range.scale_hint = y_scale.type === "LogScale" ? "log" : "auto";
  // Whoever listens to this property fits the range again.
  y_range.properties.range_padding.change.emit();
}

/** Replace the rows from `start` on and keep the rows before. */
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
    this.own = new WeakMap();
    this.keys = [];
    this.dark = false;
    this.queue = Promise.resolve();
    this.frame = new Frame(el, this.id, (content) => this.send(content));
    this.frame.save = (name, root) =>
      saveText(`${name}.csv`, figureAsCsv(this.document.get_model_by_id(root)));
    this.receive = (content, buffers) => {
      this.queue = this.queue.then(() => this.handle(content, buffers)).catch((error) => {
        console.error("nbdebug:", error);
        this.sequence = null;
      });
    };
    model.on("msg:custom", this.receive);
    this.still = new Still(model, el);
    this.link = new Link(this);
    this.leave = () => this.send({ kind: "bye" });
    window.addEventListener("pagehide", this.leave);
    this.watcher = new MutationObserver(() => this.repaint());
    this.watcher.observe(document.body, {
      attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "class"],
    });
    this.link.hello();
  }
  send(content) {
    if (!this.closed) this.model.send({ ...content, view: this.id });
  }
  /** What the kernel has to know to answer. */
  get need() {
    const library = Library.of(this.model.get("bokeh_version")).bokeh === undefined;
    return { library, tab: this.frame.tab };
  }
  async handle(content, buffers) {
    if (this.closed) return;
    this.link.receive(content);
    if (content.kind === "library" && content.view === this.id) {
      await Library.of(content.version).load(buffers[0]);
    } else if (content.kind === "snapshot" && content.view === this.id) {
      await this.applySnapshot(content, buffers);
    } else if (content.kind === "tick" && this.sequence !== null) {
      if (content.sequence === this.sequence + 1) {
        this.sequence = content.sequence;
        this.apply(content, buffers[0]);
      } else if (content.sequence > this.sequence) {
        this.sequence = null;
        this.link.hello();
      }
    }
  }
  async applySnapshot(content, buffers) {
    this.bokeh = Library.of(content.version).bokeh;
    if (!this.bokeh) return;
    this.sequence = content.sequence;
    if (!this.document) {
      const { Document } = this.bokeh.require("document");
      this.document = Document.from_json(content.document);
      roundLogTicks(this.document);
      this.frame.build(content.overview, content.tabs);
      this.buildLegends();
      this.apply(content, buffers[0]);
      this.paint();
      this.watchDraggableLines();
      const panels = [...this.frame.panels.values()];
      const containers = this.document.roots().map(
        (root) => panels.find((panel) => panel.root === root.id)?.plot ?? this.el);
      await this.bokeh.embed.add_document_standalone(this.document, this.el, containers);
      this.painting = new Painting(this.document, panels);
      hitWhenPainted(this.document);
      laidOutWhenSeen(this.document);
      styledWhenChanged(this.document);
      this.names = new ControlKeys(this.el, () => this.frame.ask("", "undo", {}));
      this.frame.writeAlternatives();
      if (this.closed) this.clear();
      else this.send({ kind: "show", tab: this.frame.tab });
    } else {
      this.apply(content, buffers[0]);
    }
  }
  /** Put the legends of the figures beside the titles. */
  buildLegends() {
    const panels = [...this.frame.panels.values()];
    this.keys = this.document.roots().flatMap((figure) => {
      const title = panels.find((panel) => panel.root === figure.id)?.title;
      return title && figure.above ? [new KeyRow(figure, title)] : [];
    });
  }
  /** Request the control of a draggable line when the line is dropped. */
  watchDraggableLines() {
    const panels = [...this.frame.panels.entries()];
    for (const line of this.document.all_models) {
      const sets = line.tags?.find((tag) => String(tag).startsWith("sets:"));
      if (!sets) continue;
      const root = this.document.roots().find((one) => one.references().has(line));
      const panel = panels.find(([, { root: id }]) => id === root?.id)?.[0] ?? "";
      line.properties.location.change.connect(() => {
        if (this.applying) return;
        clearTimeout(this.dragging);
        const settings = { [sets.slice(5)]: line.location };
        this.dragging = setTimeout(
          () => this.frame.ask(panel, "set_controls", { settings }), 200);
      });
    }
  }
  apply(content, buffer) {
    // Values that the kernel sets must not be requested again.
    this.applying = true;
    try { this.writeContent(content, buffer); } finally { this.applying = false; }
  }
  writeContent(content, buffer) {
    let offset = 0;
    for (const [id, start, rows, numeric, text] of content.sources) {
      const source = this.document.get_model_by_id(id);
      const data = {};
      for (const name of numeric) {
        const bytes = new Uint8Array(buffer.buffer, buffer.byteOffset + offset, rows * 8);
        data[name] = spliced(source.get_column(name) ?? [], start, new Float64Array(bytes.slice().buffer));
        offset += rows * 8;
      }
      for (const [name, values] of Object.entries(text)) {
        data[name] = spliced(source.get_column(name) ?? [], start, values);
      }
      source.data = data;
    }
    for (const [id, attribute, value] of content.props) {
      const model = this.document.get_model_by_id(id);
      model.setv({ [attribute]: this.decode(value) });
      if (attribute === "y_scale") refit(model);
      if (TINTED.includes(attribute)) {
        delete this.own.get(model)?.[attribute];
        tint(model, this.own, this.dark);
      }
    }
    if (content.choices) this.frame.writeChoices(content.choices);
    if (content.notes) this.frame.writeNotes(content.notes);
    if (content.alternatives) this.frame.writeAlternatives(content.alternatives);
    if (content.actions) this.frame.writeActions(content.actions);
    if (content.sections) this.frame.writeSections(content.sections);
    if (content.status) this.frame.bell.hear(content.status.now);
    if (content.hidden) this.frame.writeHidden(content.hidden);
    if (content.refusals) this.frame.writeRefusals(content.refusals);
  }
  decode(value) {
    // Arrays have a method `map`.
    if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
    if (value.model) return this.document.get_model_by_id(value.model);
    return value.map ? new Map(value.map) : value;
  }
  repaint() {
    this.paint();
    // JupyterLab marks the body before the style sheet of the new theme applies.
    clearTimeout(this.later);
    this.later = setTimeout(() => this.paint(), 600);
  }
  paint() {
    if (!this.document || this.closed) return;
    const colours = pageColours(this.el);
    const look = JSON.stringify(colours);
    if (look === this.look) return;
    this.look = look;
    this.dark = isDark(colours.paper);
    for (const model of this.document.all_models) {
      const theme = themeOf(model, colours);
      if (theme) model.setv(theme);
      else tint(model, this.own, this.dark);
    }
    for (const row of this.keys) row.write();
  }
  clear() {
    if (!this.document) return;
    this.document.clear();
    this.document.views_manager?.clear();
    const all = this.bokeh.documents ?? [];
    const index = all.indexOf(this.document);
    if (index >= 0) all.splice(index, 1);
    this.document = null;
  }
  close() {
    this.leave();
    this.closed = true;
    this.frame.close();
    this.link.close();
    this.still.close();
    clearTimeout(this.later);
    clearTimeout(this.dragging);
    this.watcher.disconnect();
    this.names?.close();
    this.painting?.close();
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
