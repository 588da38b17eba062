// Concatenated before bokeh_view.js, since anywidget loads a single module.

/** Fit the range of y to a new scale; Bokeh leaves a range on the scale it was first fitted to. */
function refit({ y_range, y_scale }) {
  y_range.scale_hint = y_scale.type === "LogScale" ? "log" : "auto";
  // Whoever listens to this property fits the range again.
  y_range.properties.range_padding.change.emit();
}

/** Take over a scale that came while the views were made: they have that of the beginning. */
function scaledAsTold(views) {
  for (const { model, frame } of views) {
    if (!frame?.y_scale || frame.y_scale.type === model.y_scale?.type) continue;
    model.properties.y_scale.change.emit();
    refit(model);
  }
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

/** Resolve when Bokeh has put a figure into its place. */
function placed(place) {
  return new Promise((done) => {
    const observer = new MutationObserver(() => {
      observer.disconnect();
      done();
    });
    observer.observe(place, { childList: true });
  });
}

/** The figures of one view, in one Bokeh document: those of a tab join it once they were built. */
class Figures {
  constructor(el, frame) {
    Object.assign(this, { el, frame, document: null, places: [], keys: [], panels: new Map() });
    this.own = new WeakMap();
    this.dressed = new WeakSet();
    this.watched = new WeakSet();
    this.dark = false;
    this.painting = new Painting();
    this.heights = new Heights();
  }
  /** Make the document, with nothing in it. */
  async open(bokeh) {
    this.bokeh = bokeh;
    const { Document } = bokeh.require("document");
    this.document = Document.from_json({ version: bokeh.version, title: "", roots: [] });
    // Bokeh builds the view of a root after those who listened before have heard of it.
    this.document.on_change((event) => {
      if (event.kind === "RootAdded") this.onRoot(event.model);
    });
    await bokeh.embed.add_document_standalone(this.document, this.el, this.places);
  }
  /** Add the plots of panels, each with its box; `apply` shows them. */
  join(panels) {
    if (!panels.length) return;
    for (const { root, name, box } of panels) {
      this.panels.set(root, { name, box });
      // Bokeh puts the view of a root into the place with the same number.
      this.places.push(box.plot);
      this.finish(root, box.plot);
    }
    const events = panels.map(({ model }) => ({ kind: "RootAdded", model }));
    this.document.apply_json_patch({ events });
    roundLogTicks(this.document);
    this.paint(panels.flatMap(({ root }) => [...this.document.get_model_by_id(root).references()]));
  }
  onRoot(figure) {
    const { name, box } = this.panels.get(figure.id);
    this.heights.add(figure, box.plot);
    // The legend of a figure stands beside the title.
    if (figure.above) this.keys.push(new KeyRow(figure, box.title));
    this.watchDraggableLines(figure, name);
  }
  /** Give the views of a root, once they are there, what Bokeh does not. */
  async finish(root, place) {
    await placed(place);
    const { document } = this;
    if (!document) return;
    const fresh = (view) => !this.dressed.has(view);
    const views = [...(document.views_manager?.query?.(fresh) ?? [])];
    for (const view of views) this.dressed.add(view);
    scaledAsTold(views);
    hitWhenPainted(views);
    laidOutWhenSeen(views);
    styledWhenChanged(views);
    this.painting.add(document.get_model_by_id(root), place);
    // The canvas of the figure was not there when its text came.
    const { name } = this.panels.get(root);
    const said = this.frame.alternatives[name];
    if (said) this.frame.writeAlternatives({ [name]: said });
  }
  /** Request the control of a draggable line when the line is dropped. */
  watchDraggableLines(figure, panel) {
    for (const line of figure.references()) {
      const sets = line.tags?.find((tag) => String(tag).startsWith("sets:"));
      if (!sets || this.watched.has(line)) continue;
      this.watched.add(line);
      line.properties.location.change.connect(() => {
        if (this.applying) return;
        clearTimeout(this.dragging);
        const settings = { [sets.slice(5)]: line.location };
        this.dragging = setTimeout(
          () => this.frame.ask(panel, "set_controls", { settings }), 200);
      });
    }
  }
  /** Write rows of sources, and properties. */
  apply(content, buffer) {
    // Values that the kernel sets must not be requested again.
    this.applying = true;
    try { this.write(content, buffer); } finally { this.applying = false; }
  }
  write({ sources, props }, buffer) {
    let offset = 0;
    for (const [id, start, rows, numeric, text] of sources) {
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
    for (const [id, attribute, value] of props) {
      const model = this.document.get_model_by_id(id);
      model.setv({ [attribute]: this.decode(value) });
      if (attribute === "y_scale") refit(model);
      if (TINTED.includes(attribute)) {
        delete this.own.get(model)?.[attribute];
        tint(model, this.own, this.dark);
      }
    }
  }
  decode(value) {
    // Arrays have a method `map`.
    if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
    if (value.model) return this.document.get_model_by_id(value.model);
    return value.map ? new Map(value.map) : value;
  }
  /** Draw models in the colours of the page: those that are new, all of them when it has others. */
  paint(fresh = []) {
    if (!this.document) return;
    const colours = pageColours(this.el);
    const look = JSON.stringify(colours);
    const models = look === this.look ? fresh : this.document.all_models;
    this.look = look;
    this.dark = isDark(colours.paper);
    for (const model of models) {
      const theme = themeOf(model, colours);
      if (theme) model.setv(theme);
      else tint(model, this.own, this.dark);
    }
    if (models !== fresh || fresh.length) for (const row of this.keys) row.write();
  }
  close() {
    clearTimeout(this.dragging);
    this.painting.close();
    this.heights.close();
    if (!this.document) return;
    this.document.clear();
    this.document.views_manager?.clear();
    const all = this.bokeh.documents ?? [];
    const index = all.indexOf(this.document);
    if (index >= 0) all.splice(index, 1);
    this.document = null;
  }
}
