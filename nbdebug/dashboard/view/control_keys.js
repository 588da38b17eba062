// Joined with bokeh_view.js, since anywidget loads a single module.

/** Keys and names of the controls. Ctrl+Z takes back the last change. A slider of ipywidgets has
 *  no name for screen readers, and one on a logarithmic scale speaks its exponent. */
class ControlKeys {
  constructor(el, undo) {
    const dashboard = el.closest(".nbd-dashboard");
    this.rail = dashboard?.querySelector(".nbd-rail");
    this.watcher = new MutationObserver(() => this.write());
    for (const box of dashboard?.querySelectorAll(".nbd-toolbar input") ?? []) {
      box.setAttribute("aria-label", box.title || "Number of steps");
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
      const value = slider.querySelector(".widget-readout")?.textContent.trim();
      if (!handle) continue;
      handle.setAttribute("aria-label", slider.querySelector(".widget-label")?.textContent ?? "");
      if (value) handle.setAttribute("aria-valuetext", value);
    }
  }
  close() {
    this.watcher.disconnect();
    this.dashboard?.removeEventListener("keydown", this.onKey);
  }
}
