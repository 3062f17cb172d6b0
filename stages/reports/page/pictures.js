// The pictures: order, line, how many are shown.
function startPictures(list) {
  const cards = [...list.children];
  const first = 12;
  const state = { order: list.dataset.judge, bar: Number(byId("bar").value), only: false, all: false };
  const number = (card, key) => Number(card.dataset[key]);
  const apart = (card) => -Math.abs(number(card, "similarity") - number(card, "second"));
  const closest = (card) => card.dataset.closeness === undefined ? Infinity : -number(card, "closeness");
  const rank = (card) =>
    state.order === "apart" ? apart(card) : state.order === "closeness" ? closest(card) : number(card, state.order);

  function draw() {
    const ordered = [...cards].sort((a, b) => rank(a) - rank(b) || number(a, "place") - number(b, "place"));
    const below = (card) => number(card, list.dataset.judge) < state.bar;
    const wanted = ordered.filter((card) => !state.only || below(card));
    const shown = new Set(state.all ? wanted : wanted.slice(0, first));
    ordered.forEach((card) => {
      card.hidden = !shown.has(card);
      card.querySelector(".below").hidden = !below(card);
    });
    list.append(...ordered);
    const count = cards.filter(below).length;
    byId("bar-value").textContent = state.bar.toFixed(2);
    byId("picture-count").textContent = `${count} of ${cards.length} pictures lie below ${state.bar.toFixed(2)}; ${shown.size} are shown.`;
    byId("more").hidden = state.all || wanted.length <= first;
    byId("more").textContent = `Show all ${wanted.length}`;
  }

  byId("order").addEventListener("change", (event) => { state.order = event.target.value; draw(); });
  byId("bar").addEventListener("input", (event) => { state.bar = Number(event.target.value); draw(); });
  byId("only").addEventListener("change", (event) => { state.only = event.target.checked; draw(); });
  byId("more").addEventListener("click", () => {
    state.all = true;
    draw();
    const next = list.children[first];
    next.tabIndex = -1;
    next.focus();
  });
  byId("picture-controls").hidden = false;
  draw();
}
