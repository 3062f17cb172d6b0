// What the votes say, at the end of the page: the same figures as `pistachio review DIR --report` prints.

const digits = (value, count = 2) => (value === null ? "–" : minus(value.toFixed(count)));
const range = (low, high) => (low === null ? "" : `${digits(low)} to ${digits(high)}`);

function tile(label, value, under = "") {
  return make("div", {}, make("dt", {}, label), make("dd", {}, make("b", {}, value), under));
}

function line(cells, kind = "td") {
  return make("tr", {}, ...cells.map((cell, i) => {
    const [text, classes] = Array.isArray(cell) ? cell : [cell, ""];
    const head = i === 0 || kind === "th";
    return make(head ? "th" : "td", { className: classes, ...(head && { scope: kind === "th" ? "col" : "row" }) }, text);
  }));
}

function confusion(report) {
  const table = make("table", { className: "confusion" });
  table.append(make("caption", { className: "unseen" }, "Gate against your votes"));
  table.append(make("thead", {}, line(["", ["you approved", "n"], ["you rejected", "n"]], "th")));
  table.append(make("tbody", {},
    line(["gate approved", [String(report.both_approved), "agree"], String(report.only_gate)]),
    line(["gate rejected", String(report.only_person), [String(report.both_rejected), "agree"]])));
  return table;
}

function suggestions(report) {
  const table = make("table", {});
  table.append(make("thead", {}, line(
    ["score", ["threshold", "n"], ["95% interval", "n"], ["Youden’s J", "n"], "conf/thresholds"], "th")));
  table.append(make("tbody", {}, ...report.suggestions.map((each) => line([
    each.score.replace("_", " "), [digits(each.threshold), "n"], [range(each.low, each.high), "n"],
    [digits(each.youden), "n"], each.line ? make("code", {}, each.line) : make("span", { className: "muted" }, "does not tell your votes apart"),
  ]))));
  return make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Thresholds" }, table);
}

function gatePanel(report) {
  const parts = [make("dl", { className: "tiles" },
    tile("approved", String(report.approved), "by you"), tile("rejected", String(report.rejected), "by you"),
    ...(report.compared ? [
      tile("same as the gate", `${Math.round((100 * (report.both_approved + report.both_rejected)) / report.compared)}%`,
        `of ${report.compared} blind votes`),
      tile("Cohen’s kappa", digits(report.kappa), range(report.kappa_low, report.kappa_high)),
    ] : []))];
  if (report.remarks.length) parts.push(make("ul", { className: "warnings" }, ...report.remarks.map((one) => make("li", {}, one))));
  if (report.compared) parts.push(
    make("h3", {}, "Gate and you"), make("div", {}, confusion(report)), make("h3", {}, "Thresholds that would match you best"), suggestions(report),
    make("p", { className: "hint" }, "J is 0 at chance and 1 where the score divides your votes perfectly. Intervals are a bootstrap over pictures. Nothing is changed: write a line into conf/thresholds/default.yaml yourself."));
  return parts;
}

function preferencePanel(report) {
  const total = Math.max(1, report.voted), part = (count) => `${(100 * count) / total}%`;
  const bar = make("div", { className: "bar-of", ariaHidden: "true" }, make("i"), make("i", { className: "tie" }));
  bar.children[0].style.width = part(report.first_won);
  bar.children[1].style.width = part(report.ties);
  return [
    bar, make("div", { className: "ends" }, make("span", {}, `${report.first} ${report.first_won}`),
      make("span", { className: "muted" }, `ties ${report.ties}`), make("span", {}, `${report.second} ${report.second_won}`)),
    make("dl", { className: "tiles" },
      tile(`share for ${report.first}`, report.share === null ? "–" : `${Math.round(100 * report.share)}%`,
        `${range(report.low, report.high)}, of the decided pairs`),
      tile("sign test", `p = ${digits(report.p, 3)}`, "two-sided, ties left out"),
      tile("pairs", `${report.voted}`, `of ${report.pairs}`)),
    ...(report.remarks.length ? [make("ul", { className: "warnings" }, ...report.remarks.map((one) => make("li", {}, one)))] : []),
  ];
}

function fillPanel(report, actions) {
  const title = report.kind === "gate" ? "All voted on" : `${report.first} against ${report.second}`;
  byId("panel").replaceChildren(
    make("h2", {}, title), ...(report.kind === "gate" ? gatePanel(report) : preferencePanel(report)),
    make("div", { className: "actions" }, ...actions));
}
