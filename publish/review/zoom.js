// Real pixels: one of the picture's is one of the screen's, or a whole number of them where it is smaller than its place.
// Both pictures of a pair move together.

const zoom = { on: false, scale: 1, x: 0, y: 0, moved: false };

function views() {
  return [...document.querySelectorAll(".view")];
}

function zoomScale(view, image) {
  const fit = Math.min(view.clientWidth / image.naturalWidth, view.clientHeight / image.naturalHeight);
  const real = 1 / window.devicePixelRatio;
  return real > fit ? real : real * Math.ceil((fit * 1.25) / real);
}

function placeZoomed() {
  for (const view of views()) {
    const image = view.querySelector("img");
    if (!zoom.on || !image || !image.naturalWidth) continue;
    const width = image.naturalWidth * zoom.scale, height = image.naturalHeight * zoom.scale;
    const rangeX = Math.max(0, (width - view.clientWidth) / 2), rangeY = Math.max(0, (height - view.clientHeight) / 2);
    zoom.x = Math.min(rangeX, Math.max(-rangeX, zoom.x));
    zoom.y = Math.min(rangeY, Math.max(-rangeY, zoom.y));
    image.style.width = `${width}px`;
    image.style.height = `${height}px`;
    image.style.transform = `translate(calc(-50% + ${zoom.x}px), calc(-50% + ${zoom.y}px))`;
  }
}

function setZoom(on, at) {
  const view = at || views()[0], image = view && view.querySelector("img");
  zoom.on = Boolean(on && image && image.naturalWidth);
  byId("stage").classList.toggle("zoomed", zoom.on);
  for (const each of views()) for (const one of each.querySelectorAll("img")) one.removeAttribute("style");
  document.querySelector('[data-do="zoom"]').setAttribute("aria-pressed", zoom.on);
  byId("zoom-label").hidden = !zoom.on;
  if (!zoom.on) return;
  zoom.scale = zoomScale(view, image);
  [zoom.x, zoom.y] = [0, 0];
  byId("zoom-label").textContent = `${Math.round(zoom.scale * window.devicePixelRatio * 100)}%`;
  placeZoomed();
}

function zoomAt(view, event) {
  const image = view.querySelector("img");
  const box = view.getBoundingClientRect();
  const fit = Math.min(view.clientWidth / image.naturalWidth, view.clientHeight / image.naturalHeight);
  const off = [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
  setZoom(true, view);
  [zoom.x, zoom.y] = off.map((value) => value - (value / fit) * zoom.scale);
  placeZoomed();
}

function pan(x, y) {
  zoom.x += x;
  zoom.y += y;
  placeZoomed();
}

function listenToPointer(view) {
  let held = null;
  view.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    held = [event.clientX, event.clientY];
    zoom.moved = false;
    if (zoom.on) {
      view.setPointerCapture(event.pointerId);
      view.classList.add("held");
    }
  });
  view.addEventListener("pointermove", (event) => {
    if (!held || !zoom.on) return;
    const [x, y] = [event.clientX - held[0], event.clientY - held[1]];
    if (!zoom.moved && Math.hypot(x, y) < 4) return;
    zoom.moved = true;
    held = [event.clientX, event.clientY];
    pan(x, y);
  });
  const release = () => {
    held = null;
    view.classList.remove("held");
  };
  view.addEventListener("pointerup", release);
  view.addEventListener("pointercancel", release);
  view.addEventListener("click", (event) => {
    if (zoom.moved) zoom.moved = false;
    else if (zoom.on) setZoom(false);
    else if (view.querySelector("img")) zoomAt(view, event);
  });
}

window.addEventListener("resize", () => zoom.on && setZoom(true));
