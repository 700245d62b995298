// Draws plotly figures side by side, below each other where the window is narrow. The part of plotly.js that they need
// travels compressed with this file, so that no network is asked, and is unpacked once for all widgets of a page.
const PACKED = "@PLOTLY@";

async function unpack() {
  const bytes = Uint8Array.from(atob(PACKED), c => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const module = { exports: {} };
  // The library looks for a loader of modules: this one is ours, whatever else the page has.
  new Function("module", "exports", "define", await new Response(stream).text())(module, module.exports, undefined);
  return module.exports;
}

function render({ model, el }) {
  el.classList.add("ctsm-figures");
  let last = Promise.resolve(), gone = false;

  async function draw() {
    globalThis.ctsmPlotly ??= unpack();
    const Plotly = await globalThis.ctsmPlotly;
    if (gone) return;
    const figures = model.get("figures");
    while (el.children.length > figures.length) {
      Plotly.purge(el.lastChild);
      el.lastChild.remove();
    }
    while (el.children.length < figures.length) el.append(document.createElement("div"));
    for (const [number, figure] of figures.entries()) {
      const place = el.children[number];
      place.setAttribute("role", "img");
      place.setAttribute("aria-label", (figure.layout.meta || {}).alt || "figure");
      if (!place.clientWidth) continue; // in a tab that nobody looks at; it is drawn when it gets a size
      const layout = { ...figure.layout, width: place.clientWidth, autosize: false };
      await Plotly.react(place, figure.data, layout, { displaylogo: false, displayModeBar: false });
    }
    el.dataset.drawn = String(Number(el.dataset.drawn || 0) + 1);
  }

  const queue = () => (last = last.then(draw).catch(error => console.error(error)));
  let width = 0;
  const watch = new ResizeObserver(() => {
    if (el.clientWidth === width) return;
    width = el.clientWidth;
    queue();
  });
  watch.observe(el);
  model.on("change:figures", queue);
  queue();
  return () => {
    gone = true;
    watch.disconnect();
    model.off("change:figures", queue);
  };
}

export default { render };
