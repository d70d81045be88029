/* The page: what is in view, where its rows come from, who draws them. */

import { $, el, eachFrame, remember, say, settled } from "./dom.js";
import { get, post } from "./api.js";
import { Alerts } from "./alerts.js";
import { Clock, number } from "./format.js";
import { Health } from "./health.js";
import { Live } from "./live.js";
import { link } from "./linked.js";
import { Loader } from "./loader.js";
import { setUpNotices } from "./notices.js";
import { showNumbers } from "./numbers.js";
import { PairChart, toPairRow } from "./pair.js";
import { PriceChart, toBar } from "./price.js";
import { Rows } from "./rows.js";
import { SCANNED, Scanner } from "./scanner.js";
import { setUpUpload } from "./upload.js";
import { CONFIG, legsOf, lengthS, pairChoices, readView, writeView } from "./view.js";

const RENEW_MS = 10000;
const RENEW_BARS = 300;

let view = readView();
let clock = new Clock(view.zone);
let symbols = [...CONFIG.symbols];
let alertSubjects = [];
const bars = new Rows();
const pairRows = new Rows();

const priceChart = new PriceChart(bars, { older: () => barLoader.older(), live: () => barLoader.restart() }, clock);
const pairChart = new PairChart(pairRows, { older: () => pairLoader.older(), live: () => pairLoader.restart() }, clock);

const barLoader = new Loader({
  path: "/api/ingestion/bars/", rows: bars, chart: priceChart, stepS: () => lengthS(view.timeframe),
  query: () => ({ symbol: view.symbol, timeframe: view.timeframe }),
  pick: (answer) => answer.bars.map(toBar),
  empty: noBars,
});
const pairLoader = new Loader({
  path: "/api/analytics/spread/", rows: pairRows, chart: pairChart, stepS: () => lengthS(view.timeframe),
  query: () => {
    const [symbol1, symbol2] = legsOf(view.pair, symbols) ?? ["", ""];
    return { symbol1, symbol2, timeframe: view.timeframe, window: view.window };
  },
  pick: (answer) => answer.analytics.map(toPairRow),
  empty: noPairRows,
});

link([priceChart, pairChart], () => lengthS(view.timeframe));

const live = new Live({ hear, joined: () => { barLoader.catchUp(); if (legsOf(view.pair, symbols)) pairLoader.catchUp(); }, changed: () => health?.draw() });
const health = new Health(live);
const alerts = new Alerts({
  choices: () => ({ pairs: CONFIG.pairs, symbols, view, last: lastOf }),
  subjects: (names) => { alertSubjects = names; listen({ goOn: true }); },
  clock: () => clock,
});
const scanner = new Scanner((pair) => show({ ...view, pair }));
const pairAgain = settled(() => pairLoader.reload(), 1500);
const numbers = eachFrame(() => {
  showNumbers(pairRows, clock);
  scanner.draw(view.pair);
  const bar = bars.last;
  document.title = bar ? `${number(bar.close, priceChart.digits)} ${view.symbol} · GEMS` : "GEMS";
});

function lastOf(type) {
  if (type.startsWith("spread")) return pairRows.last?.spread ?? null;
  return bars.last?.close ?? null;
}

/* Live events */

function hear(kind, body) {
  if (kind === "health") health.hear(body);
  else if (kind === "alert") alerts.hear(body);
  else if (kind.startsWith("bar")) hearBar(kind, body);
  else if (kind.startsWith("spread")) hearPair(kind, body);
}

function hearBar(kind, body) {
  if (body.timeframe !== view.timeframe) return;
  if (kind === "bar.revised" && legsOf(view.pair, symbols)?.includes(body.symbol)) pairAgain();
  if (body.symbol !== view.symbol) return;
  if (bars.detached) priceChart.tick(body);
  bars.put(toBar(body));
  barLoader.refresh();
  numbers();
}

function hearPair(kind, body) {
  scanner.hear(body);
  if (body.symbol_pair !== view.pair || body.timeframe !== view.timeframe || body.window !== view.window) return;
  if ((body.method ?? "ols") !== (pairRows.last?.method ?? "ols")) return;
  if (kind === "spread.revised" && body.spread === undefined) { pairAgain(); return; }
  pairRows.put(toPairRow(body));
  pairLoader.refresh();
  numbers();
}

/** One stream a page (browsers keep six connections to a host): what is in view, and whatever alerts are about. */
function listen({ goOn }) {
  const about = new Set([view.symbol, view.pair, ...(legsOf(view.pair, symbols) ?? []), ...alertSubjects, ...SCANNED].filter(Boolean));
  const query = new URLSearchParams({ topics: "bars,spread,alerts,health", timeframe: view.timeframe, symbols: [...about].sort().join(",") }).toString();
  if (query !== live.query) live.listen(query, { goOn });
}

/* Instead of rows */

function noBars() {
  if (!symbols.includes(view.symbol)) {
    return [`There are no trades of \`${view.symbol}\` here. Known: ${symbols.map((name) => `\`${name}\``).join(" ") || "none yet"}. Add it to \`GEMS_SYMBOLS\` and start again, or upload a file of its trades.`];
  }
  return [`No bar of ${view.symbol} at ${view.timeframe} yet. The first comes with its first trades; if none come, see \`./gems status\`, or upload a file.`, { loading: true }];
}

function noPairRows() {
  if (!legsOf(view.pair, symbols)) return [`\`${view.pair}\` is not a pair of two known symbols. Choose one above.`];
  const asUsual = CONFIG.pairs.includes(view.pair) && view.window === CONFIG.window;
  if (asUsual) return [`No row of this pair at ${view.timeframe} yet. The first comes when both legs have closed a bar.`, { loading: true }];
  return [`Nothing is computed yet for this pair at ${view.timeframe} with a window of ${view.window} bars.`, { action: computeButton() }];
}

function computeButton() {
  const button = el("button", { type: "button", className: "primary", onclick: () => compute(button) }, "Compute it now");
  return button;
}

async function compute(button) {
  const text = button.textContent;
  button.disabled = true;
  const [symbol1, symbol2] = legsOf(view.pair, symbols);
  try {
    const { task_id: taskId } = await post("/api/analytics/compute-spread/", { symbol1, symbol2, timeframe: view.timeframe, window: view.window });
    for (let state = "queued"; state !== "done";) {
      await new Promise((resume) => { setTimeout(resume, 500); });
      const task = await get(`/api/tasks/${taskId}/`);
      state = task.state;
      say(button, `${state}, ${Math.round(100 * task.progress)} %`);
      if (state === "failed") throw new Error(task.error);
    }
    await pairLoader.restart();
  } catch (fault) {
    pairChart.tell(fault.message, { action: computeButton() });
  }
  button.disabled = false;
  say(button, text);
}

/* What is in view */

function show(next) {
  const before = view;
  view = next;
  writeView(view);
  fillPickers();
  const differs = (...names) => names.some((name) => before[name] !== view[name]);
  if (differs("zone")) setZone();
  if (differs("symbol", "timeframe")) showBars();
  if (differs("pair", "timeframe", "window")) showPair();
  if (differs("timeframe")) scanner.load(view.timeframe);
  if (differs("symbol", "pair", "timeframe")) listen({ goOn: false });
  alerts.fill();
}

function showBars() {
  say($("price-title"), view.symbol);
  for (const id of ["last", "change"]) say($(id), id === "last" ? "–" : "");
  $("alert-timeframe").value = view.timeframe;
  barLoader.restart();
}

function showPair() {
  const legs = legsOf(view.pair, symbols);
  pairChart.legs = legs ?? ["", ""];
  pairChart.window = view.window;
  say($("pair-title"), legs ? `${legs[0]} on ${legs[1]}` : view.pair);
  const followed = CONFIG.pairs.includes(view.pair) && view.window === CONFIG.window;
  say($("pair-formula"), `rolling OLS over ${view.window} bars of ${view.timeframe}${followed ? "" : "; computed when asked for, not live"}`);
  $("pair-again").hidden = followed || !legs;
  if (legs) pairLoader.restart();
  else { pairChart.restart(); pairChart.tell(...noPairRows()); }
  numbers();
}

function setZone() {
  clock = new Clock(view.zone);
  say($("zone"), clock.short);
  priceChart.dress(clock);
  pairChart.dress(clock);
  alerts.draw();
  numbers();
}

function fillPickers() {
  const option = (name) => el("option", { value: name }, name.replace("_", " / "));
  const { followed, others } = pairChoices(symbols);
  const known = (names, name) => (names.includes(name) || !name ? names : [name, ...names]);
  const filled = JSON.stringify([symbols, view.symbol, view.pair]);
  if (filled !== fillPickers.filled) {
    fillPickers.filled = filled;
    $("pick-symbol").replaceChildren(...known(symbols, view.symbol).map(option));
    const groups = others.length ? [el("optgroup", { label: "Live" }, ...followed.map(option)), el("optgroup", { label: "On request" }, ...others.map(option))] : followed.map(option);
    $("pick-pair").replaceChildren(...([...followed, ...others].includes(view.pair) || !view.pair ? [] : [option(view.pair)]), ...groups);
  }
  const windows = [...$("pick-window").options].map((each) => Number(each.value));
  if (!windows.includes(view.window)) $("pick-window").prepend(el("option", { value: String(view.window) }, String(view.window)));
  $("pick-symbol").value = view.symbol;
  $("pick-pair").value = view.pair;
  $("pick-window").value = String(view.window);
  document.querySelector(`#pick-timeframe input[value="${view.timeframe}"]`).checked = true;
}

async function learnSymbols() {
  try {
    const { symbols: known } = await get("/api/ingestion/stats/");
    const all = [...new Set([...CONFIG.symbols, ...known])].sort();
    if (all.join() === symbols.join()) return;
    const hadLegs = Boolean(legsOf(view.pair, symbols));
    symbols = all;
    fillPickers();
    alerts.fill();
    if (!hadLegs && legsOf(view.pair, symbols)) showPair();
    barLoader.refresh();
  } catch { /* the strip says why, and it is asked again */ }
}

/* Begin */

$("pickers").addEventListener("change", () => show({
  ...view, symbol: $("pick-symbol").value, pair: $("pick-pair").value, window: Number($("pick-window").value),
  timeframe: document.querySelector("#pick-timeframe input:checked").value,
}));
$("pickers").addEventListener("submit", (event) => event.preventDefault());
$("pair-again").addEventListener("click", () => compute($("pair-again")));
$("zone").addEventListener("click", () => show({ ...view, zone: view.zone === "utc" ? "local" : "utc" }));
$("theme").addEventListener("click", () => {
  const other = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  remember("theme", other);
  document.documentElement.dataset.theme = other;
  dispatchEvent(new Event("gems:theme"));
});
addEventListener("gems:theme", () => { nameTheme(); priceChart.dress(clock); pairChart.dress(clock); });
addEventListener("popstate", () => show(readView()));

function nameTheme() { say($("theme"), document.documentElement.dataset.theme === "dark" ? "Light" : "Dark"); }

nameTheme();
setUpNotices();
setUpUpload({ done: () => { learnSymbols(); barLoader.reload(); } });
fillPickers();
say($("zone"), clock.short);
alerts.fill();
showBars();
showPair();
listen({ goOn: false });
learnSymbols();
scanner.load(view.timeframe);
setInterval(learnSymbols, 60000);
setInterval(() => !document.hidden && renew(), RENEW_MS);

/** The newest rows again: tests of a pair reach rows that were told before, and an event that never came would stay a hole. */
function renew() {
  barLoader.renew(RENEW_BARS);
  if (legsOf(view.pair, symbols)) pairLoader.renew(RENEW_BARS)?.then(numbers);
  scanner.load(view.timeframe);
}

/** What is drawn, for tests and for the curious: copies, nothing can be changed by them. */
window.gems = Object.freeze({
  view: () => ({ ...view }),
  bars: () => structuredClone(bars.all),
  pairRows: () => structuredClone(pairRows.all),
  drawn: () => structuredClone(Object.fromEntries(
    Object.entries({ candles: priceChart.candles, volumes: priceChart.volumes, spread: pairChart.spread, upper: pairChart.upper, z: pairChart.z })
      .map(([name, series]) => [name, series.data()]))),
  live: () => ({ state: live.state, lastId: live.lastId }),
  health: () => structuredClone(health.facts),
});
