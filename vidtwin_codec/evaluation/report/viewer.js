// Two versions of a frame with a divider between them.
(() => {
  const clips = JSON.parse(document.getElementById("views").textContent);
  const get = (id) => document.getElementById(id);
  const clipSelect = get("view-clip"), stage = get("stage"), divider = get("divider"), frame = get("frame");
  const sides = ["left", "right"].map((side) => ({
    side, select: get(`view-${side}`), image: get(`image-${side}`), facts: get(`facts-${side}`),
    badge: stage.querySelector(`.badge.${side}`),
  }));
  const wanted = { left: "vidtwin", right: null };
  if (!clips.length) return;
  get("viewer").hidden = false;
  clipSelect.replaceChildren(...clips.map((clip, index) => new Option(clip.name, index)));

  const clip = () => clips[Number(clipSelect.value)];

  const place = (percent) => {
    const value = Math.min(Math.max(percent, 0), 100);
    divider.style.left = `${value}%`;
    divider.setAttribute("aria-valuenow", Math.round(value));
    divider.setAttribute("aria-valuetext", `${Math.round(value)} % ${sides[0].select.value}`);
    sides[0].image.style.clipPath = `inset(0 ${100 - value}% 0 0)`;
  };

  const draw = () => {
    const index = Number(frame.value);
    get("frame-name").textContent = clip().frames[index];
    frame.setAttribute("aria-valuetext", clip().frames[index]);
    for (const { side, select, image, facts, badge } of sides) {
      const version = clip().versions.find((each) => each.name === select.value);
      image.src = version.images[index];
      image.alt = `${version.name}, ${clip().frames[index].toLowerCase()}`;
      badge.textContent = version.name;
      facts.textContent = `${side === "left" ? "Left" : "Right"}: ${version.facts}`;
    }
    place(Number(divider.getAttribute("aria-valuenow")));
  };

  const open = () => {
    const names = clip().versions.map((version) => version.name);
    for (const { side, select } of sides) {
      select.replaceChildren(...names.map((name) => new Option(name, name)));
      const other = clip().versions.find((version) => !["source", "vidtwin"].includes(version.codec));
      const fallback = side === "left" ? "vidtwin" : (other ?? clip().versions[0]).name;
      select.value = names.includes(wanted[side]) ? wanted[side] : fallback;
    }
    frame.max = clip().frames.length - 1;
    frame.hidden = clip().frames.length < 2;
    frame.value = Math.floor(clip().frames.length / 2);
    const shape = clip().width / clip().height;
    stage.style.aspectRatio = `${clip().width} / ${clip().height}`;
    // a portrait must not be taller than the window, nor a small picture blown up
    stage.style.maxWidth = `min(100%, ${(shape * 80).toFixed(1)}vh, max(28rem, ${1.5 * clip().width}px))`;
    draw();
  };

  const move = (event) => {
    const box = stage.getBoundingClientRect();
    place((100 * (event.clientX - box.left)) / box.width);
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault();
    divider.focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
    move(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (stage.hasPointerCapture(event.pointerId)) move(event);
  });
  divider.addEventListener("keydown", (event) => {
    const now = Number(divider.getAttribute("aria-valuenow"));
    const to = {
      ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1,
      PageDown: now - 10, PageUp: now + 10, Home: 0, End: 100,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    place(to);
  });
  for (const { side, select } of sides) {
    select.addEventListener("change", () => {
      wanted[side] = select.value;
      draw();
    });
  }
  clipSelect.addEventListener("change", open);
  frame.addEventListener("input", draw);
  // the plots' choice of a clip is this one's too; "all" is no clip to look at
  document.addEventListener("clip", (event) => {
    if (event.detail !== "all" && event.detail !== clipSelect.value) {
      clipSelect.value = event.detail;
      open();
    }
  });
  open();
})();
