// Joined with bokeh_view.js, since anywidget loads a single module.

/** Keys and names of the controls. Ctrl+Z takes back the last change. A slider of ipywidgets has
 *  no name for screen readers, and one on a logarithmic scale speaks its exponent. */
class ControlKeys {
  constructor(el, undo) {
    const dashboard = el.closest(".nbd-dashboard");
    this.rail = dashboard?.querySelector(".nbd-rail");
    this.watcher = new MutationObserver(() => this.write());
    for (const box of dashboard?.querySelectorAll(".nbd-toolbar :is(input, select)") ?? []) {
      const plain = box.tagName === "SELECT" ? "Unit: steps or epochs" : "Number of steps or epochs";
      box.setAttribute("aria-label", box.title || plain);
    }
    if (!this.rail) return;
    this.onKey = (event) => {
      const typing = event.target.matches?.("input, textarea, [contenteditable=true]");
      if (event.key !== "z" || !(event.ctrlKey || event.metaKey) || event.shiftKey || typing) return;
      event.preventDefault();
      event.stopPropagation();
      undo();
    };
    this.dashboard = dashboard;
    dashboard.addEventListener("keydown", this.onKey);
    this.watcher.observe(this.rail, { subtree: true, childList: true, characterData: true });
    this.write();
  }
  write() {
    for (const slider of this.rail.querySelectorAll(".widget-slider")) {
      const handle = slider.querySelector(".noUi-handle");
      const readout = slider.querySelector(".widget-readout");
      const value = shortNumber(readout?.textContent.trim());
      // Not while somebody types in it.
      if (value && value !== readout.textContent.trim() && readout !== document.activeElement) {
        readout.textContent = value;
      }
      if (!handle) continue;
      const name = slider.querySelector(".widget-label")?.textContent ?? "";
      handle.setAttribute("aria-label", name);
      readout?.setAttribute("role", "textbox");
      readout?.setAttribute("aria-label", `${name}, as a number`);
      if (value) handle.setAttribute("aria-valuetext", value);
    }
    for (const help of this.rail.querySelectorAll(".nbd-control .widget-button")) {
      if (help.title) help.setAttribute("aria-label", help.title);
    }
  }
  close() {
    this.watcher.disconnect();
    this.dashboard?.removeEventListener("keydown", this.onKey);
  }
}

/** A number below 0.0001 with an exponent, as 1.58e-6; another text as it is. */
function shortNumber(text) {
  return /^0\.0000\d*$/.test(text) && Number(text) ? Number(text).toExponential(2) : text;
}
