// Draws plotly figures side by side, or one below the other where the window is narrow. The script of plotly comes
// compressed in the model that the trait `library` names, and is unpacked once for all widgets of a page.
async function unpack(model) {
  const library = await model.widget_manager.get_model(model.get("library").slice("IPY_MODEL_".length));
  const stream = new Blob([library.get("packed")]).stream().pipeThrough(new DecompressionStream("gzip"));
  const module = { exports: {} };
  // The script looks for a loader of modules: it gets this one, whatever else the page has.
  new Function("module", "exports", "define", await new Response(stream).text())(module, module.exports, undefined);
  return module.exports;
}

function render({ model, el }) {
  el.classList.add("ctsm-figures");
  let last = Promise.resolve(), gone = false;

  async function draw() {
    globalThis.ctsmPlotly ??= unpack(model);
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
