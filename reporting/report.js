// What a report does beyond being read: sort, filter and copy tables, choose what the figure shows, explain words.
// The page is whole without it. It asks for nothing, and keeps nothing when the page is left.
// One file, longer than others: the page holds its script whole, and this is that script.
"use strict";
(() => {
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const byId = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// ---- Words: the meaning beside what the pointer or the focus is on; Escape puts it away.
const tip = make("div", {id: "tip", role: "tooltip", hidden: ""});
let leaving = 0;

function explain(element, text) {
  clearTimeout(leaving);
  tip.textContent = text;
  tip.hidden = false;
  const box = element.getBoundingClientRect();
  const left = Math.min(box.left, document.documentElement.clientWidth - tip.offsetWidth - 8);
  const below = box.bottom + 6 + tip.offsetHeight < innerHeight;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${below ? box.bottom + 6 : Math.max(4, box.top - tip.offsetHeight - 6)}px`;
}

function leave() {
  clearTimeout(leaving);
  leaving = setTimeout(() => { tip.hidden = true; }, 150);  // time to reach the tip itself
}

function explained(element, text) {
  for (const event of ["mouseenter", "focus"]) element.addEventListener(event, () => explain(element, text()));
  for (const event of ["mouseleave", "blur"]) element.addEventListener(event, leave);
}

function explainWords() {
  document.body.append(tip);
  tip.addEventListener("mouseenter", () => clearTimeout(leaving));
  tip.addEventListener("mouseleave", leave);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
  for (const link of all("a.term")) explained(link, () => byId(link.hash.slice(1)).textContent);
}

// ---- Tables.
const NUMBER = /^[<>]?\s*([+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)(?:\s*[%[(/].*)?$/;
const EMPTY = ["", "-"];
const textOf = (element) => element.textContent.trim().replace(/\s+/g, " ");

function numberOf(text) {
  const found = NUMBER.exec(text);
  return found ? Number(found[1].replaceAll(",", "")) : NaN;
}

function nameOf(table) {
  const details = table.closest("details");
  if (details) return textOf(details.querySelector("summary")).replace(/ \([^)]*\)$/, "");
  let before = table.closest(".scroll");
  while (before && !/^H[23]$/.test(before.tagName)) before = before.previousElementSibling;
  return before ? textOf(before) : "Table";
}

function rowsOf(body) {
  return [...body.rows].filter((row) => !row.classList.contains("kind"));
}

function sortTable(table, column, direction) {
  for (const [place, heading] of [...table.tHead.rows[0].cells].entries()) {
    if (place === column && direction) heading.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
    else heading.removeAttribute("aria-sort");
  }
  for (const body of table.tBodies) {  // each group keeps its heading and its rows
    const keyed = rowsOf(body).map((row) => ({row, text: textOf(row.cells[column]), first: Number(row.dataset.place)}));
    const filled = keyed.filter((one) => !EMPTY.includes(one.text));
    const numbers = filled.every((one) => !Number.isNaN(numberOf(one.text)));
    const compare = (a, b) => numbers
      ? numberOf(a.text) - numberOf(b.text) || b.text.startsWith("<") - a.text.startsWith("<")
      : a.text.localeCompare(b.text, "en", {numeric: true});
    keyed.sort((a, b) => {
      if (!direction) return a.first - b.first;
      const empty = EMPTY.includes(a.text) - EMPTY.includes(b.text);  // what is empty stays last
      return empty || direction * compare(a, b) || a.first - b.first;
    });
    body.append(...keyed.map((one) => one.row));
  }
}

function makeSortable(table) {
  for (const body of table.tBodies) rowsOf(body).forEach((row, place) => { row.dataset.place = place; });
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = make("button", {type: "button", class: "sort"}, ...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const next = {ascending: -1, descending: 0}[heading.getAttribute("aria-sort")] ?? 1;
      sortTable(table, column, next);
    });
    const term = byId(heading.dataset.term);
    if (term) {
      button.setAttribute("aria-describedby", term.id);
      explained(button, () => term.textContent);
    }
  });
}

function filterTable(table, words, state) {
  let shown = 0, count = 0;
  for (const body of table.tBodies) {
    const kind = body.querySelector("tr.kind");
    const group = kind ? textOf(kind).toLowerCase() : "";
    let here = 0;
    for (const row of rowsOf(body)) {
      const text = `${group} ${[...row.cells].map(textOf).join(" ").toLowerCase()}`;
      row.hidden = !words.every((word) => text.includes(word));
      here += !row.hidden;
      count += 1;
    }
    if (kind) kind.hidden = here === 0;
    shown += here;
  }
  state.textContent = words.length ? `${shown} of ${count} rows` : "";
}

// What a table shows: headings, and lines that are a group's title (one string) or a row's fields.
function shownIn(table) {
  const heads = [...table.tHead.rows[0].cells].map(textOf);
  const lines = [];
  for (const row of all("tbody tr", table)) {
    if (row.hidden) continue;
    lines.push(row.classList.contains("kind") ? textOf(row) : [...row.cells].map(textOf));
  }
  const numeric = heads.map((_, column) => lines.every((line) =>
    typeof line === "string" || EMPTY.includes(line[column]) || !Number.isNaN(numberOf(line[column]))));
  return {heads, lines, numeric};
}

const latexText = (text) => text.replace(/[\\{}&%$#_^~<>]/g, (letter) => ({
  "\\": "\\textbackslash{}", "^": "\\textasciicircum{}", "~": "\\textasciitilde{}", "<": "$<$", ">": "$>$",
}[letter] ?? `\\${letter}`));

function toLatex({heads, lines, numeric}) {
  const row = (fields) => `${fields.map(latexText).join(" & ")} \\\\`;
  const body = lines.map((line) => typeof line === "string"
    ? `\\multicolumn{${heads.length}}{l}{\\textit{${latexText(line)}}} \\\\` : row(line));
  const columns = numeric.map((one) => one ? "r" : "l").join("");
  return ["% needs \\usepackage{booktabs}", `\\begin{tabular}{${columns}}`, "\\toprule", row(heads), "\\midrule", ...body,
    "\\bottomrule", "\\end{tabular}", ""].join("\n");
}

function toMarkdown({heads, lines, numeric}) {
  const row = (fields) => `| ${fields.map((text) => text.replace(/[\\|<*_`]/g, "\\$&")).join(" | ")} |`;
  const body = lines.map((line) => row(typeof line === "string" ? [line, ...heads.slice(1).map(() => "")] : line));
  return [row(heads), `|${numeric.map((one) => one ? "---:" : "---").join("|")}|`, ...body, ""].join("\n");
}

// A group's title is a column of its own. Text that a spreadsheet would run is led by an apostrophe.
function toCsv({heads, lines}) {
  const field = (text) => {
    const safe = EMPTY.includes(text) ? "" : /^[=+@\t\r-]/.test(text) && Number.isNaN(numberOf(text)) ? `'${text}` : text;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const grouped = lines.some((line) => typeof line === "string");
  let group = "";
  const rows = [];
  for (const line of lines) {
    if (typeof line === "string") group = line;
    else rows.push(grouped ? [group, ...line] : line);
  }
  return [grouped ? ["Group", ...heads] : heads, ...rows].map((row) => `${row.map(field).join(",")}\n`).join("");
}

const FORMS = {LaTeX: toLatex, Markdown: toMarkdown, CSV: toCsv};

async function copy(text, tools, state) {
  tools.parentNode.querySelector(":scope > textarea.copied")?.remove();
  try {
    await navigator.clipboard.writeText(text);
    state.textContent = "copied";
  } catch {  // no clipboard for this page: the text, selected
    const area = make("textarea", {class: "copied", readonly: "", rows: "8", "aria-label": "The table as text"});
    area.value = text;
    area.addEventListener("keydown", (event) => { if (event.key === "Escape") area.remove(); });
    tools.after(area);
    area.focus();
    area.select();
    state.textContent = "selected below: press Ctrl+C or Cmd+C";
  }
}

function equipTable(table) {
  const name = nameOf(table), scroll = table.closest(".scroll");
  const tools = make("div", {class: "tools", role: "group", "aria-label": name});
  const state = make("span", {role: "status"});
  if (all("tbody tr:not(.kind)", table).length > 4) {
    const input = make("input", {type: "search", size: "14"});
    input.addEventListener("input", () => filterTable(table, input.value.toLowerCase().split(/\s+/).filter(Boolean), state));
    tools.append(make("label", {}, "Filter rows ", input));
  }
  const forms = make("span", {}, "Copy as");
  for (const [form, write] of Object.entries(FORMS)) {
    const button = make("button", {type: "button", "aria-label": `Copy as ${form}: ${name}`}, form);
    button.addEventListener("click", () => copy(write(shownIn(table)), tools, state));
    forms.append(" ", button);
  }
  tools.append(forms, state);
  scroll.before(tools);
  for (const [attribute, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", name]])
    scroll.setAttribute(attribute, value);  // it scrolls, by keyboard too
  makeSortable(table);
}

// ---- The figure: a row with its interval for each cell or pair, of one attack and metric.
function svg(root, tag, attributes, ...children) {
  const element = document.createElementNS(root.namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function ticks(low, high) {
  const raw = (high - low) / 5, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= raw);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const found = [];
  for (let place = Math.ceil(low / step - 1e-9); place * step <= high + step * 1e-9; place += 1)
    found.push([place * step, (place * step).toFixed(digits)]);
  return found;
}

function drawChoice(box, data) {
  const root = box.querySelector("svg"), state = box.querySelector("[role=status]");
  const [view, attack, metric, order] = all("select", box).map((one) => one.value);
  const {guessing, names, rows, title} = data.views[view];
  const [, metricTitle, scale] = data.metrics.find(([name]) => name === metric);
  const attackTitle = data.attacks.find(([name]) => name === attack)[1];
  const own = [...(rows[attack]?.[metric] ?? [])];
  if (order === "value") own.sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  const unit = scale === 100 ? " %" : "", difference = view !== "0";
  const shown = (value) => (difference && value > 0 ? "+" : "") + (scale * value).toFixed(scale === 100 ? 2 : 3);
  const what = `${attackTitle}, ${metricTitle}${unit ? ` (${difference ? "points" : "%"})` : ""}`;
  root.replaceChildren();
  root.setAttribute("aria-label", `${what}: ${title}`);
  state.textContent = own.length ? `${what}: ${title}. ${own.length} rows.` : `${what}: not known here. ${title}`;
  if (!own.length) {
    root.setAttribute("height", 0);
    return;
  }
  const width = box.clientWidth, narrow = width < 620, height = narrow ? 36 : 24, left = narrow ? 6 : Math.min(330, width * 0.36);
  const level = guessing[metric];
  const ends = own.flatMap(([, mean, low, high]) => [mean, low, high]).concat(level ?? []).filter((one) => one !== null);
  let low = Math.min(...ends) * scale, high = Math.max(...ends) * scale;
  const pad = (high - low || 0.1) * 0.04;
  [low, high] = [low - pad, high + pad];
  const x = (value) => left + 6 + (scale * value - low) / (high - low) * (width - left - 26);
  const bottom = own.length * height + 6;
  root.setAttribute("width", width);
  root.setAttribute("height", bottom + 40);
  const line = (name, x1, y1, x2, y2) => svg(root, "line", {class: name, x1, y1, x2, y2});
  for (const [value, written] of ticks(low, high)) {
    const at = x(value / scale);
    root.append(line("grid", at, 0, at, bottom), svg(root, "text", {x: at, y: bottom + 16, "text-anchor": "middle"}, written));
  }
  root.append(svg(root, "text", {x: (left + width) / 2, y: bottom + 34, "text-anchor": "middle"}, what));
  if (level !== undefined && level !== null) root.append(line("guess", x(level), 0, x(level), bottom));
  own.forEach(([name, mean, from, to, note], place) => {
    const [noted, filled] = data.notes[note], top = place * height, y = narrow ? top + 26 : top + height / 2;
    const interval = from === null ? "" : ` [${shown(from)}, ${shown(to)}]`;
    const said = `${names[name]}: ${shown(mean)}${interval}${unit && (difference ? " points" : unit)}${noted && `; ${noted}`}`;
    const row = svg(root, "g", {class: "row", role: "img", tabindex: place ? -1 : 0, "aria-label": said});
    row.append(svg(root, "rect", {class: "hit", x: 0, y: top, width, height}));
    const label = svg(root, "text", narrow ? {x: 6, y: top + 14} : {x: left - 8, y: y + 4, "text-anchor": "end"}, names[name]);
    row.append(label);
    if (from !== null) row.append(line("interval", x(from), y, x(to), y));
    row.append(svg(root, "circle", {class: filled ? "dot" : "dot hollow", cx: x(mean), cy: y, r: 4.5}));
    root.append(row);
    const room = narrow ? width - 12 : left - 14;  // no name is cut by the frame: it is shortened, and whole in the tip
    for (let length = names[name].length; length > 4 && label.getComputedTextLength() > room; length -= 1)
      label.textContent = `${names[name].slice(0, length - 1)}…`;
    explained(row, () => said);
  });
}

function makeChoice(box, data) {
  const pick = (label, options, chosen) => {
    const select = make("select");
    for (const [value, title] of options) select.append(new Option(title, value, value === chosen, value === chosen));
    box.querySelector(".tools").append(make("label", {}, `${label} `, select));
    select.addEventListener("change", () => drawChoice(box, data));
  };
  pick("Show", data.views.map((view, place) => [String(place), view.title]), "0");
  pick("Attack", data.attacks, data.attack);
  pick("Metric", data.metrics, "auc");
  pick("Order", [["table", "as in the tables"], ["value", "highest first"]], "table");
  box.querySelector(".tools").append(make("span", {role: "status", class: "unseen"}));
  box.querySelector("svg").addEventListener("keydown", (event) => {  // one stop of the tabulator, then arrows
    const rows = all("g.row", box), step = {ArrowDown: 1, ArrowUp: -1}[event.key];
    const next = rows[rows.indexOf(document.activeElement) + step];
    if (!next) return;
    event.preventDefault();
    for (const row of rows) row.setAttribute("tabindex", row === next ? 0 : -1);
    next.focus();
  });
  let drawn = 0;
  new ResizeObserver(() => {
    if (box.clientWidth !== drawn && box.clientWidth) {
      drawn = box.clientWidth;
      drawChoice(box, data);
    }
  }).observe(box);
}

function makeChoices() {
  const boxes = all(".choice"), held = JSON.parse(byId("choices").textContent);
  if (!boxes.length) return;
  for (const hidden of all(".scripted")) hidden.hidden = false;
  boxes.forEach((box, place) => makeChoice(box, held[place]));
}

// ---- Colours, contents, wide pictures.
function makeTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)"), root = document.documentElement;
  const button = make("button", {type: "button", id: "theme"});
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const name = () => { button.textContent = isDark() ? "Light page" : "Dark page"; };
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; name(); });
  dark.addEventListener("change", name);
  name();
  document.querySelector("main").prepend(button);
}

function markSection() {
  const links = all("nav a");
  const mark = () => {
    const atEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 2;
    const passed = links.filter((link) => !link.hidden && byId(link.hash.slice(1)).getBoundingClientRect().top < 120);
    const current = atEnd ? links.at(-1) : passed.at(-1);
    for (const link of links) {
      if (link === current) link.setAttribute("aria-current", "location");
      else link.removeAttribute("aria-current");
    }
  };
  addEventListener("scroll", mark, {passive: true});
  addEventListener("resize", mark);
  mark();
}

function makeEnlargeable(figure) {
  const frame = figure.querySelector(".frame");
  const button = make("button", {type: "button", class: "enlarge", "aria-pressed": "false"}, "Enlarge the figure");
  button.setAttribute("aria-label", `Enlarge the figure: ${figure.querySelector("img").alt}`);
  button.addEventListener("click", () => {
    const large = figure.classList.toggle("large");
    button.setAttribute("aria-pressed", large);
    frame.tabIndex = large ? 0 : -1;
  });
  frame.after(button);
}

makeTheme();
makeChoices();
all(".scroll > table").forEach(equipTable);
all("figure.wide").forEach(makeEnlargeable);
explainWords();
markSection();
})();
