"use strict";
// Values of the timeline at a crosshair: under the pointer, or moved by the arrow keys.
{
  const data = JSON.parse(document.getElementById("series").textContent);
  const chart = document.getElementById("timeline");
  const readout = chart.querySelector(".readout");
  const figures = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
  const crosses = [...chart.querySelectorAll("svg")].map((svg) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    line.classList.add("cross");
    line.setAttribute("y1", 0);
    line.setAttribute("y2", svg.viewBox.baseVal.height - 20);
    svg.append(line);
    return { svg, line, left: +svg.dataset.left, right: +svg.dataset.right };
  });

  const items = ["time", ...data.lines.map((line) => line.label)].map((label) => {
    const item = document.createElement("li");
    const value = document.createElement("b");
    item.append(`${label} `, value);
    readout.append(item);
    return value;
  });
  items[0].parentNode.firstChild.remove();

  // The nearest sample's value; times ascend.
  const valueAt = ({ times, values }, at) => {
    let low = 0, high = times.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] < at) low = middle + 1; else high = middle;
    }
    if (low > 0 && at - times[low - 1] < times[low] - at) low -= 1;
    return values[low];
  };

  // Of nested phases the innermost.
  const phaseAt = (at) => data.phases
    .filter(({ start, end }) => start <= at && at <= end)
    .sort((a, b) => (a.end - a.start) - (b.end - b.start))[0]?.name ?? "no phase";

  let now = 0;
  const show = (at) => {
    now = Math.min(Math.max(at, 0), data.end);
    for (const { line, left, right } of crosses) {
      const x = left + (right - left) * now / data.end;
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
    }
    const words = [`${now.toFixed(1)} s · ${phaseAt(now)}`];
    data.lines.forEach((line, i) => {
      const value = valueAt(line, now);
      words.push(value === null ? "not known" : `${figures.format(value)} ${line.unit}`);
      items[i + 1].textContent = words[i + 1];
    });
    items[0].textContent = words[0];
    chart.setAttribute("aria-valuenow", now.toFixed(1));
    chart.setAttribute("aria-valuetext",
      words.map((text, i) => (i ? `${data.lines[i - 1].label} ${text}` : text)).join(", "));
  };

  for (const { svg, left, right } of crosses) {
    const follow = (event) => {
      const box = svg.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
      show((x - left) / (right - left) * data.end);
    };
    svg.addEventListener("pointermove", follow);
    svg.addEventListener("pointerdown", follow);
  }
  chart.addEventListener("keydown", (event) => {
    const step = data.end / (event.shiftKey ? 20 : 200);
    const to = { ArrowLeft: now - step, ArrowRight: now + step, Home: 0, End: data.end }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(to);
  });

  Object.entries({
    tabindex: 0, role: "slider", "aria-label": "Time on the timeline, seconds; arrow keys move it",
    "aria-valuemin": 0, "aria-valuemax": data.end.toFixed(1),
  }).forEach(([name, value]) => chart.setAttribute(name, value));
  readout.hidden = false;
  const longest = data.phases.reduce(
    (a, b) => (b.end - b.start > a.end - a.start ? b : a), { start: 0, end: 0 });
  show((longest.start + longest.end) / 2);
}
