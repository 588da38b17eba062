// Joined with bokeh_view.js, since anywidget loads a single module.

/** Figures that are scrolled out of view keep their data and are painted when they are seen again. */
class Painting {
  constructor(document, panels) {
    this.figures = new Map();
    this.observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        this.figures.get(target).hold_render = !isIntersecting;
      }
    }, { rootMargin: "100px" });
    for (const figure of document.roots()) {
      const place = panels.find((panel) => panel.root === figure.id)?.plot;
      if (!place || !("hold_render" in figure.properties)) continue;
      this.figures.set(place, figure);
      this.observer.observe(place);
    }
  }
  close() {
    this.observer.disconnect();
  }
}

/** A line that can be dragged is under no mouse before it is painted; Bokeh raises an error there. */
function hitWhenPainted(document) {
  const draggable = ({ model, _hit_test }) => _hit_test && model.properties.editable;
  for (const view of document.views_manager?.query?.(draggable) ?? []) {
    const hit = view._hit_test;
    view._hit_test = (x, y) => (view.line ? hit.call(view, x, y) : null);
  }
}
