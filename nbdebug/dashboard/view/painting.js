// Joined with bokeh_view.js, since anywidget loads a single module.

/** Figures that are scrolled out of view keep their data and are painted when they are seen again. */
class Painting {
  constructor() {
    this.figures = new Map();
    this.observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        this.figures.get(target).hold_render = !isIntersecting;
      }
    }, { rootMargin: "100px" });
  }
  add(figure, place) {
    if (!("hold_render" in figure.properties)) return;
    this.figures.set(place, figure);
    this.observer.observe(place);
  }
  close() {
    this.observer.disconnect();
  }
}

/** A line that can be dragged is under no mouse before it is painted; Bokeh raises an error there. */
function hitWhenPainted(views) {
  const draggable = ({ model, _hit_test }) => _hit_test && model.properties.editable;
  for (const view of views.filter(draggable)) {
    const hit = view._hit_test;
    view._hit_test = (x, y) => (view.line ? hit.call(view, x, y) : null);
  }
}

/** Bokeh lays a figure out again at each change of a range that it shares, also where it is not
 * painted, and makes its tool bar again. Leave it as it is until it is seen. */
function laidOutWhenSeen(views) {
  for (const view of views.filter((one) => one.throttled_paint)) {
    const repaint = view.repaint;
    view.repaint = () => {
      if (!view.model.hold_render) repaint.call(view);
    };
  }
}

/** Bokeh writes the style sheets of a figure at each paint, and the browser computes the styles of
 * the page again, though nothing has changed but the last digits. Write those that have. */
function styledWhenChanged(views) {
  const rounded = (css) => css.replace(/\d+\.\d{3,}/g, (number) => Number(number).toFixed(2));
  for (const view of views) {
    for (const sheet of [view.position, view.style, view.parent_style]) {
      if (!sheet?._update) continue;
      const write = sheet._update;
      let written = rounded(sheet.css);
      sheet._update = (css) => {
        const wanted = rounded(css);
        if (wanted === written) return;
        written = wanted;
        write.call(sheet, css);
      };
    }
  }
}

/** Figures of the first view are lower in a short window, where it would not be seen as a whole. */
class Heights {
  constructor() {
    this.figures = new Map();
    // As in the style sheet.
    this.short = window.matchMedia("(max-height: 720px)");
    this.fit = () => this.figures.forEach((tall, figure) => this.set(figure, tall));
    this.short.addEventListener("change", this.fit);
  }
  add(figure, place) {
    if (!place.closest(".nbd-overview")) return;
    this.figures.set(figure, { height: figure.height, place });
    this.fit();
  }
  /** Ticks and title of the axis keep their room, and of the rest half is left. */
  set(figure, { height, place }) {
    const fitting = this.short.matches ? 40 + Math.round((height - 5) * 0.45) : height;
    if (figure.height === fitting) return;
    figure.height = fitting;
    place.style.minHeight = `${fitting}px`;
  }
  close() {
    this.short.removeEventListener("change", this.fit);
  }
}
