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

class View {
  constructor(model, el) {
    this.model = model;
    this.el = el;
    this.id = `nbd-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;
    this.sequence = null;
    this.closed = false;
    this.queue = Promise.resolve();
    this.frame = new Frame(el, this.id, (content) => this.send(content));
    this.figures = new Figures(el, this.frame);
    this.frame.save = (name, root) =>
      saveText(`${name}.csv`, figureAsCsv(this.figures.document.get_model_by_id(root)));
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
    const { bokeh } = Library.of(content.version);
    if (!bokeh) return;
    this.sequence = content.sequence;
    const first = !this.figures.document;
    if (first) {
      this.frame.build(content.overview, content.tabs);
      await this.figures.open(bokeh);
      if (this.closed) return this.figures.close();
    }
    this.apply(content, buffers[0]);
    if (!first) return;
    this.names = new ControlKeys(this.el, () => this.frame.ask("", "undo", {}));
    this.send({ kind: "show", tab: this.frame.tab });
  }
  apply(content, buffer) {
    this.figures.join(this.frame.fill(content.built ?? []));
    this.figures.apply(content, buffer);
    if (content.choices) this.frame.writeChoices(content.choices);
    if (content.notes) this.frame.writeNotes(content.notes);
    if (content.alternatives) this.frame.writeAlternatives(content.alternatives);
    if (content.actions) this.frame.writeActions(content.actions);
    if (content.sections) this.frame.writeSections(content.sections);
    if (content.status) this.frame.bell.hear(content.status.now);
    if (content.hidden) this.frame.writeHidden(content.hidden);
    if (content.refusals) this.frame.writeRefusals(content.refusals);
  }
  repaint() {
    this.figures.paint();
    // JupyterLab marks the body before the style sheet of the new theme applies.
    clearTimeout(this.later);
    this.later = setTimeout(() => this.figures.paint(), 600);
  }
  close() {
    this.leave();
    this.closed = true;
    this.frame.close();
    this.link.close();
    this.still.close();
    clearTimeout(this.later);
    this.watcher.disconnect();
    this.names?.close();
    window.removeEventListener("pagehide", this.leave);
    this.model.off("msg:custom", this.receive);
    this.figures.close();
  }
}

export default {
  render({ model, el }) {
    el.classList.add("nbd-view");
    const view = new View(model, el);
    return () => view.close();
  },
};
