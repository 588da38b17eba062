// Joined with bokeh_view.js, since anywidget loads a single module.

/** Legend of one figure as buttons beside its title. A legend of Bokeh reads style sheets whenever
 *  its figure is painted, and no keyboard reaches it. */
class KeyRow {
  constructor(figure, place) {
    this.entries = [];
    this.row = node("span", "nbd-keys");
    const legends = figure.above.filter((model) => model.type === "Legend");
    if (!legends.length) return;
    figure.above = figure.above.filter((model) => !legends.includes(model));
    // The kernel changes the entries: they must stay in the document.
    figure.tags = [...figure.tags, ...legends];
    for (const item of legends.flatMap((legend) => legend.items)) this.add(item);
    if (place.closest(".nbd-overview")) place.insertBefore(this.row, place.firstElementChild);
    else place.after(this.row);
    this.write();
  }
  add(item) {
    const button = node("button", "nbd-key");
    button.type = "button";
    button.title = "Show or hide this line";
    const swatch = node("span", "nbd-swatch");
    const text = node("span");
    button.append(swatch, text);
    button.addEventListener("click", () => {
      const shown = item.renderers.some((renderer) => renderer.visible);
      for (const renderer of item.renderers) renderer.visible = !shown;
      this.write();
    });
    item.change.connect(() => this.write());
    if (item.label?.field) {
      item.renderers[0].data_source.properties.data.change.connect(() => this.write());
    }
    this.entries.push({ item, button, swatch, text });
    this.row.append(button);
  }
  write() {
    for (const { item, button, swatch, text } of this.entries) {
      const [first] = item.renderers;
      const { label } = item;
      const said = label?.field ? first.data_source.get_column(label.field)?.[0] : label?.value ?? label;
      text.textContent = typeof said === "string" ? said : "";
      button.hidden = !item.visible || !text.textContent;
      button.setAttribute("aria-pressed", String(item.renderers.some((one) => one.visible)));
      const glyph = first?.glyph;
      const colour = glyph?.line_color?.value ?? glyph?.line_color ?? glyph?.fill_color?.value ?? glyph?.fill_color;
      const area = glyph && !("line_color" in glyph.properties);
      const paint = area ? glyph.fill_color?.value ?? glyph.fill_color : colour;
      swatch.className = `nbd-swatch ${area ? "nbd-area" : /Scatter/.test(glyph?.type) ? "nbd-point" : ""}`;
      if (typeof paint === "string") swatch.style.setProperty("--nbd-key", paint);
    }
  }
}
