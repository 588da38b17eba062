// Concatenated with bokeh_view.js, since anywidget loads a single module.

/** Views on the page by the class of the output with the picture, which they hide. */
const VIEWS = (window.nbdebugViews ??= new Map());

/** The picture of the last state: hidden while a view is there, shown in it without a kernel. */
class Still {
  constructor(model, el) {
    Object.assign(this, { model, el });
    this.name = model.get("still_class");
    if (!this.name) return;
    const known = VIEWS.get(this.name) ?? { count: 0, style: document.createElement("style") };
    VIEWS.set(this.name, known);
    known.count += 1;
    const output = `.jp-OutputArea-child:has(> .jp-RenderedHTMLCommon > .${this.name})`;
    known.style.textContent = `.${this.name}, ${output} { display: none !important; }`;
    document.head.append(known.style);
  }
  /** Show the picture in place of the plots until they come. */
  showIn(frame) {
    if (this.shown) return;
    this.shown = true;
    this.dashboard = this.el.closest(".nbd-dashboard");
    this.dashboard?.classList.add("nbd-no-kernel");
    this.renew = () => this.write(frame);
    this.model.on("change:still", this.renew);
    this.renew();
  }
  write(frame) {
    const html = this.model.get("still");
    if (!html) {
      frame.showStatus("No kernel answers. Run the cell to see the plots.");
      return;
    }
    const box = document.createElement("div");
    box.innerHTML = html;
    for (const one of box.children) one.classList.remove(this.name);
    frame.page.replaceChildren(box);
  }
  /** Take it away, since a kernel answers. */
  end(frame) {
    if (!this.shown) return;
    this.model.off("change:still", this.renew);
    this.dashboard?.classList.remove("nbd-no-kernel");
    frame.showStatus("Loading the plots…");
  }
  close() {
    if (this.renew) this.model.off("change:still", this.renew);
    const known = VIEWS.get(this.name);
    if (known && --known.count === 0) {
      known.style.remove();
      VIEWS.delete(this.name);
    }
  }
}
