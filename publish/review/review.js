// The review: one item at a time.  A vote counts when the server has answered; until then the picture stays.

const MARKS = { approve: "✓", reject: "✕", left: "L", right: "R", tie: "=" };
const SAID = { approve: "approved", reject: "rejected", left: "left is better", right: "right is better", tie: "a tie" };
const KEYS = {
  single: { a: "approve", ArrowRight: "approve", r: "reject", ArrowLeft: "reject" },
  pairs: { 1: "left", ArrowLeft: "left", 2: "right", ArrowRight: "right", 0: "tie" },
  both: { u: "undo", Backspace: "undo", " ": "skip", z: "zoom", s: "scores", ArrowDown: "next", ArrowUp: "previous", "?": "help" },
};
const STEP = 80; // px by which an arrow moves a zoomed picture
const AHEAD = 2; // pictures that are fetched before they are looked at
const review = { items: [], current: null, shownAt: 0, busy: false, seen: new Set(), images: new Map(), filter: "all" };

async function ask(path, body) {
  const how = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {};
  const answer = await fetch(path, { ...how, signal: AbortSignal.timeout(15000) });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.what || `the server says ${answer.status}`);
  return said;
}

// Not randomUUID: some browsers keep it from pages without TLS.
const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

function say(text) {
  byId("live").textContent = text;
}

function alarm(text) {
  byId("alarm").textContent = text;
  byId("alarm").hidden = !text;
}

const gone = (error) => (error instanceof TypeError || error.name === "TimeoutError"
  ? "Not saved: the server does not answer. Start `pistachio review` again and open the address it prints; every vote that was answered is kept."
  : `Not saved: ${error.message}`);

const unvoted = (item) => !item.vote;
const inFilter = (item) => review.filter === "all" || (review.filter === "unvoted" ? unvoted(item) : item.disagrees);
const listed = () => review.items.filter((item) => item.id === review.current || inFilter(item));
const find = (id) => review.items.find((item) => item.id === id);
const place = (item) => review.items.indexOf(item) + 1;

function imagesOf(item) {
  if (!review.images.has(item.id)) {
    review.images.set(item.id, item.pictures.map((name, i) => {
      const side = item.pictures.length > 1 ? `, ${i ? "right" : "left"}` : "";
      const alt = `Picture ${place(item)} of ${review.items.length}${side}${item.prompt ? `: ${item.prompt}` : ""}`;
      return make("img", { alt, draggable: false, src: `pictures/${name}` });
    }));
    // What was looked at long ago is let go.
    if (review.images.size > 12) review.images.delete([...review.images.keys()].find((id) => id !== review.current));
  }
  return review.images.get(item.id);
}

async function show(id) {
  const item = find(id);
  if (!item) return;
  review.current = id;
  review.shownAt = 0;
  showPanel(false);
  setZoom(false);
  const images = imagesOf(item), names = images.length > 1 ? ["Left", "Right"] : [""];
  byId("frames").replaceChildren(...images.map((image, i) => {
    const view = make("div", { className: "view" }, image);
    listenToPointer(view);
    return make("figure", { className: "frame" }, view, ...(names[i] ? [make("figcaption", {}, names[i])] : []));
  }));
  byId("prompt").textContent = item.prompt;
  byId("stage").classList.add("loading");
  byId("stage").setAttribute("aria-busy", "true");
  draw();
  const scores = showScores();
  const loaded = await Promise.allSettled(images.map((image) => image.decode()));
  await scores;
  if (review.current !== id) return;
  byId("stage").classList.remove("loading");
  byId("stage").setAttribute("aria-busy", "false");
  if (loaded.some((one) => one.status === "rejected")) {
    review.images.delete(id);
    alarm("This picture cannot be shown; space skips it.");
    return;
  }
  review.shownAt = performance.now();
  say(`Picture ${place(item)} of ${review.items.length}${item.vote ? `, ${SAID[item.vote]}` : ""}`);
  for (const next of ahead(item)) imagesOf(next);
}

function showPanel(on) {
  byId("panel").hidden = !on;
  for (const part of ["stage", "prompt"]) byId(part).hidden = on;
  document.body.classList.toggle("done", on);
}

function ahead(item) {
  const rest = [...review.items.slice(place(item)), ...review.items.slice(0, place(item))];
  return rest.filter((each) => !each.vote && each !== item).slice(0, AHEAD);
}

function draw() {
  const voted = review.items.filter((item) => item.vote).length, item = find(review.current);
  byId("progress").max = review.items.length;
  byId("progress").value = voted;
  byId("count").textContent = `${voted} of ${review.items.length}`;
  for (const button of document.querySelectorAll(".vote")) button.setAttribute("aria-pressed", Boolean(item) && item.vote === button.dataset.do);
  document.querySelector('[data-do="undo"]').disabled = !review.undoable;
  const stamp = byId("stamp");
  stamp.hidden = !item || !item.vote;
  stamp.className = item && item.vote ? item.vote : "";
  stamp.textContent = item && item.vote ? `${MARKS[item.vote]} ${SAID[item.vote]}` : "";
  drawStrip();
}

function drawStrip() {
  const strip = byId("strip"), wanted = listed();
  const have = new Map([...strip.children].map((entry) => [entry.dataset.id, entry]));
  const entries = wanted.map((item) => have.get(item.id) || thumb(item));
  if (entries.length !== strip.children.length || entries.some((entry, i) => strip.children[i] !== entry)) strip.replaceChildren(...entries);
  for (const [i, item] of wanted.entries()) {
    const button = entries[i].firstElementChild, current = item.id === review.current;
    button.className = item.vote ? `said ${item.vote}` : "";
    button.dataset.mark = MARKS[item.vote] || "";
    button.setAttribute("aria-label", `Picture ${place(item)}, ${SAID[item.vote] || "no vote"}`);
    button.tabIndex = current || (!find(review.current) && i === 0) ? 0 : -1;
    if (!current) button.removeAttribute("aria-current");
    else if (!button.hasAttribute("aria-current")) {
      button.setAttribute("aria-current", "true");
      strip.scrollLeft = entries[i].offsetLeft - strip.clientWidth / 2 + entries[i].clientWidth / 2 - strip.offsetLeft;
    }
  }
}

function thumb(item) {
  const image = make("img", { alt: "", loading: "lazy", src: `thumbs/${item.id}` });
  const button = make("button", { type: "button", onclick: () => show(item.id) }, image);
  const entry = make("li", { className: item.pictures.length > 1 ? "double" : "" }, button);
  entry.dataset.id = item.id;
  return entry;
}

async function showScores() {
  const gate = byId("gate"), item = find(review.current);
  gate.hidden = !review.scores || !item;
  document.querySelector('[data-do="scores"]').setAttribute("aria-pressed", Boolean(review.scores));
  if (gate.hidden) return;
  review.seen.add(item.id);
  try {
    const said = await ask(`items/${item.id}/gate`);
    if (review.current !== item.id) return;
    const facts = Object.entries(said.scores).filter(([, value]) => value !== "" && value !== null);
    gate.replaceChildren(
      make("span", { className: `chip ${said.approved ? "improved" : "regressed"}` }, said.approved ? "gate approved" : "gate rejected"),
      ...(said.reasons.length ? [make("ul", {}, ...said.reasons.map((reason) => make("li", {}, reason)))] : []),
      make("dl", { className: "facts" }, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name.replace(/_/g, " ")),
        make("dd", {}, typeof value === "number" && !Number.isInteger(value) ? digits(value) : String(value))))));
  } catch (error) {
    gate.replaceChildren(make("p", {}, "This picture has no record."));
  }
}

async function send(path, body) {
  if (review.busy) return null;
  review.busy = true;
  byId("stage").setAttribute("aria-busy", "true");
  try {
    const answer = await ask(path, { id: newId(), ...body });
    alarm("");
    Object.assign(find(answer.item.id), answer.item);
    [review.undoable, review.open] = [answer.undoable, answer.open];
    return find(answer.item.id);
  } catch (error) {
    alarm(gone(error));
    return null;
  } finally {
    review.busy = false;
    byId("stage").setAttribute("aria-busy", "false");
  }
}

async function vote(choice) {
  const item = find(review.current);
  if (!item || !review.shownAt || review.busy) return;
  const told = review.seen.has(item.id) || review.filter === "disagreements";
  const milliseconds = Math.round(performance.now() - review.shownAt);
  const sent = await send("votes", { item: item.id, vote: choice, scores_shown: told, milliseconds });
  if (!sent) return;
  say(SAID[choice]);
  await advance(1, review.filter === "disagreements" ? inFilter : unvoted);
}

// On to the next one that is wanted, round the end; the report where all have a vote.
async function advance(step, wanted) {
  const item = find(review.current), from = item ? review.items.indexOf(item) : -1, count = review.items.length;
  for (let i = 1; i <= count; i++) {
    const each = review.items[(from + step * i + count * 2) % count];
    if (each !== item && wanted(each)) return show(each.id);
  }
  return review.items.every((each) => each.vote) ? finish() : draw();
}

async function undo() {
  const item = await send("undo", {});
  if (!item) return;
  await show(item.id);
  say(`Taken back: picture ${place(item)}`);
}

async function finish() {
  review.current = null;
  showPanel(true);
  byId("gate").hidden = true;
  byId("panel").replaceChildren(make("p", { className: "muted" }, "Counting …"));
  draw();
  try {
    const report = await ask("items/report");
    const again = make("button", { type: "button", onclick: () => show(review.items[0].id) }, "Look at them again");
    const apart = review.items.find((item) => item.disagrees);
    const differ = make("button", { type: "button", onclick: () => chooseFilter("disagreements") }, "Look at the disagreements");
    fillPanel(report, apart ? [differ, again] : [again]);
    say("All voted on");
  } catch (error) {
    byId("panel").replaceChildren(make("p", {}, `No report: ${error.message}`));
  }
  byId("panel").focus();
}

const DEEDS = {
  undo, skip: () => advance(1, review.filter === "disagreements" ? inFilter : unvoted),
  next: () => advance(1, inFilter), previous: () => advance(-1, inFilter), zoom: () => setZoom(!zoom.on),
  scores: () => {
    if (!review.gate) return null;
    review.scores = !review.scores;
    return showScores();
  },
  help: () => byId("help").showModal(),
};

function perform(name) {
  return DEEDS[name] ? DEEDS[name]() : vote(name);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open || event.target.closest("select")) return;
  const onButton = event.target.closest("button, a, summary");
  if (onButton && (event.key === " " || event.key === "Enter")) return;
  if (zoom.on && event.key.startsWith("Arrow")) {
    event.preventDefault();
    pan(STEP * ((event.key === "ArrowLeft") - (event.key === "ArrowRight")), STEP * ((event.key === "ArrowUp") - (event.key === "ArrowDown")));
    return;
  }
  if (zoom.on && event.key === "Escape") setZoom(false);
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const deed = KEYS[review.pairs ? "pairs" : "single"][key] || KEYS.both[key];
  if (!deed || (!byId("panel").hidden && (event.key === "ArrowDown" || event.key === "ArrowUp" || event.key === " "))) return;
  event.preventDefault();
  if (!event.repeat || deed === "next" || deed === "previous") perform(deed); // a key held down votes once
}

function fill(state) {
  Object.assign(review, { ...state, items: state.items });
  const kinds = { single: !state.pairs, pairs: state.pairs, gate: state.gate };
  for (const part of document.querySelectorAll("[data-for]")) part.toggleAttribute("data-hidden", !kinds[part.dataset.for]);
  document.querySelector('option[data-for="gate"]')?.toggleAttribute("disabled", !state.gate);
  document.body.classList.toggle("blind", state.pairs);
  byId("title").textContent = state.name;
  document.title = `Review: ${state.name}`;
  byId("notices").hidden = !state.notices.length;
  byId("notices").replaceChildren(...state.notices.slice(0, 3).map((text) => make("li", {}, text)));
}

async function refresh() {
  if (document.hidden || review.busy) return;
  try {
    const state = await ask("items/state");
    if (review.busy) return;
    fill(state);
    draw();
  } catch (error) { /* the next vote says so */ }
}

function chooseFilter(filter) {
  review.filter = byId("filter").value = filter;
  const item = find(review.current), first = review.items.find(inFilter);
  say(`${review.items.filter(inFilter).length} to show`);
  if (first && !(item && inFilter(item))) show(first.id);
  else draw();
}

async function start() {
  document.addEventListener("keydown", onKey);
  document.addEventListener("visibilitychange", refresh);
  for (const button of document.querySelectorAll("[data-do]")) {
    button.addEventListener("click", (event) => {
      if (event.detail) byId("stage").focus({ preventScroll: true }); // else space would press it again
      perform(button.dataset.do);
    });
  }
  byId("help-button").addEventListener("click", DEEDS.help);
  byId("filter").addEventListener("change", (event) => chooseFilter(event.target.value));
  try {
    fill(await ask("items/state"));
  } catch (error) {
    alarm(`The review cannot be loaded: ${error.message}`);
    return;
  }
  if (review.start) await show(review.start);
  else await finish();
}

start();
