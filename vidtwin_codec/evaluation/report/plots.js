"use strict";
// Choosing a clip and a way to run the codecs; reading plots by pointer or keyboard.
(() => {
  const form = document.getElementById("choose");
  const figures = [...document.querySelectorAll("figure.curves")];
  const tip = document.getElementById("tip");

  const choose = () => {
    const clip = document.getElementById("clip").value;
    const variant = form.querySelector("input[name=variant]:checked").value;
    for (const figure of figures) {
      figure.hidden = figure.dataset.clip !== clip || figure.dataset.variant !== variant;
    }
    tip.hidden = true;
    document.dispatchEvent(new CustomEvent("clip", { detail: clip }));
  };
  form.hidden = false;
  form.addEventListener("change", choose);
  form.addEventListener("submit", (event) => event.preventDefault());

  const read = (plot) => [...plot.querySelectorAll(".dot, .aside")].map((dot) => ({
    dot, x: Number(dot.dataset.x), y: Number(dot.dataset.y), line: dot.parentNode.dataset.label,
  }));

  const hide = (plot) => {
    plot.querySelector(".cursor").setAttribute("hidden", "");
    tip.hidden = true;
  };

  const show = (plot, point) => {
    const cursor = plot.querySelector(".cursor");
    const [line, circle] = cursor.children;
    for (const name of ["x1", "x2"]) line.setAttribute(name, point.x);
    circle.setAttribute("cx", point.x);
    circle.setAttribute("cy", point.y);
    cursor.removeAttribute("hidden");
    const title = document.createElement("b");
    title.textContent = point.line;
    const rest = point.dot.dataset.text.split("|").flatMap((text, i) => (i ? [document.createElement("br"), text] : [text]));
    tip.replaceChildren(title, ...rest);
    tip.hidden = false;
    const box = point.dot.getBoundingClientRect();
    const width = tip.offsetWidth, page = document.documentElement.clientWidth;
    const left = box.left + box.width / 2 - width / 2;
    tip.style.left = `${Math.min(Math.max(left, 8), page - width - 8) + scrollX}px`;
    const above = box.top - tip.offsetHeight - 14;
    tip.style.top = `${(above < 4 ? box.bottom + 14 : above) + scrollY}px`;
  };

  for (const plot of document.querySelectorAll(".plot")) {
    const points = read(plot);
    let current = null;
    const near = (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(plot.getScreenCTM().inverse());
      const far = (point) => Math.hypot(point.x - at.x, point.y - at.y);
      current = points.reduce((best, point) => (far(point) < far(best) ? point : best));
      show(plot, current);
    };
    plot.addEventListener("pointermove", near);
    plot.addEventListener("pointerdown", near);
    plot.addEventListener("pointerleave", () => hide(plot));
    plot.addEventListener("blur", () => hide(plot));
    plot.addEventListener("keydown", (event) => {
      const along = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const across = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (event.key === "Escape") return hide(plot);
      if (!along && !across) return;
      event.preventDefault();
      current ??= points[points.length - 1];
      const same = points.filter((point) => point.line === current.line).sort((a, b) => a.x - b.x || a.y - b.y);
      if (along) {
        current = same[Math.min(Math.max(same.indexOf(current) + along, 0), same.length - 1)];
      } else {
        // the nearest point, sideways, of the next curve up or down
        const nearest = [...new Set(points.map((point) => point.line))].filter((line) => line !== current.line)
          .map((line) => points.filter((point) => point.line === line)
            .reduce((a, b) => (Math.abs(b.x - current.x) < Math.abs(a.x - current.x) ? b : a)))
          .filter((point) => Math.sign(point.y - current.y) === across)
          .sort((a, b) => Math.abs(a.y - current.y) - Math.abs(b.y - current.y));
        current = nearest[0] ?? current;
      }
      show(plot, current);
    });
  }
  // after every script has run, so that the viewer hears it
  addEventListener("DOMContentLoaded", choose);
})();
