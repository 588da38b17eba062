// Concatenated before view_frame.js, since anywidget loads a single module.

/** The box of one panel: title, place of the plot, and what is said below it. */
class PanelBox {
  /** Build the box; in the overview its help is the tooltip of the title. */
  constructor(panel, brief) {
    const box = node("section", panel.wide ? "nbd-panel nbd-wide" : "nbd-panel");
    const title = node("div", "nbd-title", panel.title);
    box.dataset.panel = panel.name;
    const plot = node("div", "nbd-plot");
    const note = node("div", "nbd-note");
    box.setAttribute("aria-label", panel.title);
    if (brief) title.title = panel.help;
    else title.append(node("span", "nbd-help", panel.help));
    title.hidden = !panel.title;
    note.setAttribute("role", "status");
    plot.style.minHeight = `${panel.height}px`;
    const body = node("div", "nbd-stage");
    body.append(plot, note);
    const actions = node("div", "nbd-advice");
    actions.hidden = true;
    const refusal = node("div", "nbd-refusal");
    refusal.setAttribute("role", "alert");
    box.append(title, body, actions, refusal);
    Object.assign(this, { box, title, plot, note, actions, refusal, root: null });
  }
  /** Say what it holds: a plot, whose numbers can be saved, or sections of HTML with buttons. */
  fill({ name, height, root }, frame) {
    const { plot, title } = this;
    this.root = root;
    plot.style.minHeight = `${height}px`;
    if (root) {
      const save = node("button", "nbd-save", "CSV");
      const said = this.box.getAttribute("aria-label");
      Object.assign(save, { type: "button", title: `Save the numbers of this plot: ${said}` });
      save.setAttribute("aria-label", `CSV of ${said}`);
      save.addEventListener("click", () => frame.save(name, root));
      title.append(save);
      return;
    }
    plot.addEventListener("click", (event) => frame.onClick(event, name));
    plot.addEventListener("keydown", (event) => frame.onFieldKey(event));
    // A section that is rewritten between press and release would lose the click.
    plot.addEventListener("pointerdown", () => { frame.pointerDown = true; });
  }
}

/** What takes the keyboard's focus inside of a figure; Bokeh hides it in nested shadow roots. */
function canvasesOf(element) {
  const inner = [...element.querySelectorAll("*")].filter((one) => one.shadowRoot);
  return inner.flatMap(({ shadowRoot: root }) =>
    [...root.querySelectorAll(".bk-events"), ...canvasesOf(root)]);
}

function fieldsOf(element) {
  return [...(element?.querySelectorAll("[data-field]") ?? [])];
}

/** Identity of a button, field or summary, kept when its section is rewritten. */
function identityOf(element) {
  const { command, fields, value, field } = element.dataset;
  if (field) return field;
  if (command) return `${command}=${fields}`;
  return value ? `fill=${value}` : element.parentElement?.dataset.key;
}

function node(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text) made.textContent = text;
  return made;
}
