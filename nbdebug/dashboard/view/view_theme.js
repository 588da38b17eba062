// Concatenated before bokeh_view.js, since anywidget loads a single module.

/** Colours of the page's theme, resolved as the canvas needs them. */
function pageColours(el) {
  const probe = document.createElement("span");
  el.append(probe);
  const resolve = (value) => {
    probe.style.color = "";
    probe.style.color = value;
    return getComputedStyle(probe).color;
  };
  const colours = {
    ink: resolve("var(--jp-ui-font-color1, currentcolor)"),
    faint: resolve("var(--jp-ui-font-color2, currentcolor)"),
    line: resolve("var(--jp-border-color1, #bdbdbd)"),
    grid: resolve("var(--jp-border-color2, #e0e0e0)"),
    paper: resolve("var(--jp-layout-color0, #ffffff)"),
  };
  probe.remove();
  return colours;
}

function themeOf(model, c) {
  if (/Axis$/.test(model.type)) {
    return {
      axis_line_color: c.line, major_tick_line_color: c.line, minor_tick_line_color: null,
      major_label_text_color: c.ink, axis_label_text_color: c.faint,
    };
  }
  // A hidden grid must stay hidden: it would cover the marks of changes and notes.
  if (/Grid$/.test(model.type)) return model.grid_line_color && { grid_line_color: c.grid };
  if (model.type === "Legend") return { label_text_color: c.ink, inactive_fill_color: c.paper };
  if (model.tags?.includes("ink")) return { line_color: c.ink };
  // Over a line of the plot the words would be crossed out.
  if (model.type === "Label") {
    return { text_color: c.faint, background_fill_color: c.paper, background_fill_alpha: 0.8 };
  }
  // Its own paper is white on every page.
  if (model.type === "Toolbar") return { styles: { "background-color": c.paper } };
  if (model.type === "Text") return { text_color: c.ink };
  return null;
}

// Colours of the palette (Okabe, Ito) that are too faint on one of the papers: 3:1 or more on both.
const TONES = {
  dark: { "#0072b2": "#4c9fe0", "#56b4e9": "#a9dbfa", "#d55e00": "#f0803c", "#009e73": "#17b98a" },
  light: { "#e69f00": "#b87a00", "#56b4e9": "#3698d1" },
};
const TINTED = ["line_color", "fill_color", "text_color"];

/** Draw a model in the tone of its colours for this paper; `own` holds the colours of the kernel. */
function tint(model, own, dark) {
  const colours = own.get(model) ?? own.set(model, {}).get(model);
  for (const key of TINTED) {
    if (!(key in model.properties)) continue;
    const now = model[key]?.value ?? model[key];
    if (typeof now !== "string" && !colours[key]) continue;
    colours[key] ??= now.toLowerCase();
    const tone = TONES[dark ? "dark" : "light"][colours[key]] ?? colours[key];
    if (now !== tone) model.setv({ [key]: tone });
  }
}

/** Tell if a colour, as the browser resolves it, is dark. */
function isDark(colour) {
  const [red, green, blue] = colour.match(/[\d.]+/g)?.map(Number) ?? [255, 255, 255];
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 110;
}
