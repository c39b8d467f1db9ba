"use strict";
// Draws the page's figures: each in its own place, in the reader's colours, as wide as the screen.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 700px)");
  const touch = matchMedia("(pointer: coarse)");
  const looks = JSON.parse(document.getElementById("looks").textContent);
  const config = { displayModeBar: false, displaylogo: false, responsive: true };
  let printing = false;

  const places = [...document.querySelectorAll("figure[data-figure]")].map((figure) => ({
    box: figure.querySelector(".plot"),
    text: figure.querySelector("script").textContent,
  }));

  function layoutOf(spec) {
    const { template } = dark.matches && !printing ? looks.dark : looks.light;
    const layout = { ...spec.layout, template, autosize: true };
    delete layout.width;
    if (touch.matches) layout.dragmode = false; // a finger scrolls the page
    if (narrow.matches) slim(spec, layout);
    return layout;
  }

  function slim(spec, layout) {
    layout.margin = { ...layout.margin, l: 4, r: 8 };
    layout.font = { ...layout.font, size: 11 };
    const names = spec.data.filter((one) => one.name && one.showlegend !== false && !one.legendgroup)
      .map((one) => one.name);
    if (names.length < 2 || layout.showlegend === false) return;
    const columns = Math.max(...names.map((name) => name.length)) > 20 ? 1 : 2;
    layout.legend = {
      ...layout.legend, font: { size: 10 }, maxheight: 1,
      entrywidthmode: "fraction", entrywidth: columns === 2 ? 0.45 : 0.95,
    };
    layout.height = (layout.height ?? 380) + 19 * Math.ceil(names.length / columns);
  }

  function draw(place) {
    const spec = JSON.parse(place.text);
    window.Plotly.react(place.box, spec.data, layoutOf(spec), config);
  }

  function drawAll() {
    places.forEach(draw);
  }

  function drawOneByOne(index) {
    if (index >= places.length) return;
    draw(places[index]);
    setTimeout(() => drawOneByOne(index + 1));
  }

  drawOneByOne(0);
  for (const change of [dark, narrow, touch]) change.addEventListener("change", drawAll);
  addEventListener("beforeprint", () => { printing = true; drawAll(); });
  addEventListener("afterprint", () => { printing = false; drawAll(); });
})();
