// Renders the figures of a page and keeps them in the colours of the page.

const read = (id) => document.getElementById(id)?.textContent ?? "";
const boxes = [...document.querySelectorAll("[data-root]")];
const frame = window.frameElement;
let shown = null;

async function loadLibrary() {
  const bytes = Uint8Array.from(atob(read("nbd-library")), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

/** Background colour [red, green, blue] behind a frame; white if none is set. */
function behind(element) {
  for (let at = element; at; at = at.parentElement) {
    const [r, g, b, alpha = 1] = (getComputedStyle(at).backgroundColor.match(/[\d.]+/g) ?? []).map(Number);
    if (b !== undefined && alpha > 0.5) return [r, g, b];
  }
  return [255, 255, 255];
}

/** Choose light or dark: from the page around a frame, else from the system. */
function chooseTheme() {
  let dark = matchMedia("(prefers-color-scheme: dark)").matches;
  if (frame) {
    // A frame is opaque if its colour scheme differs from that of the page around it.
    const [r, g, b] = behind(frame);
    document.documentElement.style.setProperty("--paper", `rgb(${r}, ${g}, ${b})`);
    dark = 0.299 * r + 0.587 * g + 0.114 * b < 128;
  }
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}

function themeOf(model, c) {
  if (/Axis$/.test(model.type)) {
    return {
      axis_line_color: c.line, major_tick_line_color: c.line, minor_tick_line_color: null,
      major_label_text_color: c.ink, axis_label_text_color: c.faint,
    };
  }
  if (/Grid$/.test(model.type)) return { grid_line_color: model.dimension ? c.grid : null };
  if (model.type === "Legend") return { label_text_color: c.ink, inactive_fill_color: c.paper };
  if (model.type === "Text") return { text_color: c.ink, background_fill_color: c.paper };
  if (model.tags?.includes("ink")) return { line_color: c.ink };
  return null;
}

function paint() {
  // For printing the browser switches to the light scheme, too late to redraw the figures:
  // report.css inverts them.
  if (matchMedia("print").matches) return;
  chooseTheme();
  if (!shown) return;
  const style = getComputedStyle(document.documentElement);
  const colours = Object.fromEntries(
    ["ink", "faint", "line", "grid", "paper"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  for (const model of shown.all_models) {
    const theme = themeOf(model, colours);
    if (theme) model.setv(theme);
  }
}

function watchColours() {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  if (!frame) return;
  const { body, documentElement } = frame.ownerDocument;
  const seen = new MutationObserver(() => {
    paint();
    // JupyterLab marks the body before the style sheet of the new theme is loaded.
    setTimeout(paint, 600);
  });
  for (const one of [body, documentElement]) seen.observe(one, { attributes: true });
  const fit = () => { frame.style.height = `${document.body.offsetHeight + 2}px`; };
  new ResizeObserver(fit).observe(document.body);
}

/** Buttons of the runs hide their run in all figures. */
function listen() {
  for (const button of document.querySelectorAll("[data-run]")) {
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      for (const model of shown?.all_models ?? []) {
        if (model.name === button.dataset.run) model.visible = on;
      }
    });
  }
}

async function main() {
  paint();
  watchColours();
  listen();
  if (!boxes.length) return;
  await loadLibrary();
  const { Document } = Bokeh.require("document");
  shown = Document.from_json(JSON.parse(read("nbd-document")));
  roundLogTicks(shown);
  paint();
  const places = shown.roots().map((root) => boxes.find((box) => box.dataset.root === root.id));
  await Bokeh.embed.add_document_standalone(shown, document.body, places);
  document.documentElement.dataset.ready = "";
}

main().catch((error) => {
  console.error("nbdebug:", error);
  for (const box of boxes) box.textContent = `This plot cannot be shown: ${error.message}`;
});
