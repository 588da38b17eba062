// Joined with bokeh_view.js, since anywidget loads a single module.

/** Numbers of one figure as CSV: a row for each point, with the name of its line. */
function figureAsCsv(root) {
  const named = new Map();
  const models = [...root.references()];
  for (const legend of models.filter((model) => model.type === "Legend")) {
    for (const item of legend.items) {
      item.renderers.forEach((renderer, index) => {
        // A line may have a band around it, with a source of its own.
        const label = item.label?.value ?? item.label ?? "";
        const name = typeof label === "string" ? label : "";
        if (named.has(renderer.data_source)) return;
        named.set(renderer.data_source, index && name ? `${name} (${index + 1})` : name);
      });
    }
  }
  const sources = models.filter((model) => model.type === "ColumnDataSource" && length(model) > 0);
  const columns = [...new Set(sources.flatMap((source) => Object.keys(source.data)))];
  const rows = [["line", ...columns]];
  sources.forEach((source, index) => {
    const name = named.get(source) || `source ${index + 1}`;
    for (let row = 0; row < length(source); row++) {
      rows.push([name, ...columns.map((column) => source.get_column(column)?.[row] ?? "")]);
    }
  });
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

function length(source) {
  return Math.max(0, ...Object.values(source.data).map((column) => column.length));
}

/** A field; a text that a spreadsheet would take for a formula begins with an apostrophe. */
function cell(value) {
  if (typeof value === "number") return Number.isFinite(value) ? String(value) : "";
  const text = String(value);
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function saveText(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** Tells of the end of a long run by a notification of the browser, once the viewer asked so. */
class Bell {
  constructor() {
    this.since = null;
    this.box = document.createElement("label");
    this.box.className = "nbd-bell";
    this.box.title = "Show a notification of the browser when a run of more than 30 seconds ends or stops";
    this.check = document.createElement("input");
    this.check.type = "checkbox";
    this.check.addEventListener("change", () => this.onCheck());
    this.box.append(this.check, "Notify");
    this.box.hidden = !("Notification" in window);
  }
  async onCheck() {
    if (!this.check.checked || Notification.permission === "granted") return;
    this.check.checked = (await Notification.requestPermission()) === "granted";
  }
  hear({ state, text }) {
    const running = state === "running";
    const began = this.since;
    this.since = running ? began ?? Date.now() : null;
    if (running || began === null || Date.now() - began < 30000) return;
    if (this.check.checked) new Notification("nbdebug", { body: text });
  }
}
