/* The page: what is in view, where its rows come from, who draws them. */

import { $, el, eachFrame, remember, say, settled } from "./dom.js";
import { get } from "./api.js";
import { AlertForm } from "./alertform.js";
import { Alerts } from "./alerts.js";
import { textOf } from "./alerttexts.js";
import { emptyBars, emptyPair } from "./empties.js";
import { compute, keepLive, named, stopLive } from "./follow.js";
import { Clock, number } from "./format.js";
import { expose } from "./gems.js";
import { Health } from "./health.js";
import { Live } from "./live.js";
import { AlertLines, offerAlerts } from "./levels.js";
import { link } from "./linked.js";
import { Loader } from "./loader.js";
import { notice, setUpNotices } from "./notices.js";
import { showNumbers } from "./numbers.js";
import { PairChart, toPairRow } from "./pair.js";
import { Pickers } from "./pickers.js";
import { PriceChart, toBar } from "./price.js";
import { Research } from "./research.js";
import { Rows } from "./rows.js";
import { pointExports, saves } from "./save.js";
import { Scanner } from "./scanner.js";
import { SeriesBook } from "./series.js";
import { setUpUpload } from "./upload.js";
import { CONFIG, lengthS, readView, writeView } from "./view.js";

const RENEW_MS = 10000;
const RENEW_BARS = 300;

let view = readView();
let clock = new Clock(view.zone);
const book = new SeriesBook();
const bars = new Rows();
const pairRows = new Rows();

const priceChart = new PriceChart(bars, { older: () => barLoader.older(), live: () => barLoader.restart() }, clock);
const pairChart = new PairChart(pairRows, { older: () => pairLoader.older(), live: () => pairLoader.restart(), seen: () => numbers() }, clock);

const barLoader = new Loader({
  path: "/api/ingestion/bars/", rows: bars, chart: priceChart, stepS: () => lengthS(view.timeframe),
  query: () => ({ symbol: view.symbol, timeframe: view.timeframe }),
  pick: (answer) => answer.bars.map(toBar),
  empty: noBars,
});
const pairLoader = new Loader({
  path: "/api/analytics/spread/", rows: pairRows, chart: pairChart, stepS: () => lengthS(view.timeframe),
  query: () => named(view, legs() ?? []),
  pick: (answer) => answer.analytics.map(toPairRow),
  empty: noPairRows,
});

link([priceChart, pairChart], () => lengthS(view.timeframe));

const live = new Live({ hear, joined: () => { barLoader.catchUp(); if (legs()) pairLoader.catchUp(); }, changed: () => health?.draw() });
const health = new Health(live);
const alertLines = new AlertLines([
  [priceChart.candles, ["price_above", "price_below"], false], [pairChart.spread, ["spread_above", "spread_below"], true],
  [pairChart.z, ["zscore_high", "zscore_low", "zscore_abs"], true], [pairChart.correlation, ["correlation_break"], true],
  [pairChart.pvalue, ["cointegration_lost"], true],
]);
const alerts = new Alerts({ changed: () => { drawLevels(); listen({ goOn: true }); }, clock: () => clock });
const alertForm = new AlertForm({
  choices: () => ({ series: book.all, symbols: book.symbols, view, last: lastOf }),
  made: () => alerts.fetch(),
});
const offering = { text: ({ type, threshold }) => `${textOf(type)} ${threshold}`, propose: (alert) => alertForm.propose(alert) };
offerAlerts("price", priceChart, [["price", priceChart.candles, () => bars.last?.close ?? null]], offering);
offerAlerts("pair", pairChart, [
  ["spread", pairChart.spread, () => pairRows.last?.spread ?? null], ["z", pairChart.z, () => pairRows.last?.z_score ?? null], ["hedge", pairChart.hedge, () => null],
  ["correlation", pairChart.correlation, () => null], ["pvalue", pairChart.pvalue, () => null],
], offering);
const look = ({ pair, window, method }) => show({ ...view, pair, window, method });
const scanner = new Scanner(book, look);
const pickers = new Pickers(book, (changes) => show({ ...view, ...changes }));
const research = new Research({
  view: () => view, book, choose: look, clock: () => clock, follow: followSeries, rules: ({ entry, exit }) => show({ ...view, entry, exit }),
});
const pairAgain = settled(() => pairLoader.reload(), 1500);
const numbers = eachFrame(() => {
  showNumbers(pairRows, clock, view);
  scanner.draw(view);
  const bar = bars.last;
  document.title = bar ? `${number(bar.close, priceChart.digits)} ${view.symbol} · GEMS` : "GEMS";
});

function drawLevels() { alertLines.draw(alerts.all, view, priceChart.paint); }

/** The legs of the pair in view, y first; null where nobody knows them. */
function legs() { return book.legs(view.pair); }

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
  if (kind === "bar.revised" && legs()?.includes(body.symbol)) pairAgain();
  if (body.symbol !== view.symbol) return;
  if (bars.detached) priceChart.tick(body);
  bars.put(toBar(body));
  barLoader.refresh();
  numbers();
}

function hearPair(kind, body) {
  scanner.hear(body);
  if (body.symbol_pair !== view.pair || body.timeframe !== view.timeframe || body.window !== view.window) return;
  if ((body.method ?? "ols") !== view.method) return;
  if (kind === "spread.revised" && body.spread === undefined) { pairAgain(); return; }
  pairRows.put(toPairRow(body));
  pairLoader.refresh();
  numbers();
}

/** One stream a page (browsers keep six connections to a host): what is in view, and whatever alerts are about. */
function listen({ goOn }) {
  const about = new Set([view.symbol, view.pair, ...(legs() ?? []), ...alerts.subjects, ...scanner.pairs].filter(Boolean));
  const query = new URLSearchParams({ topics: "bars,spread,alerts,health", timeframe: view.timeframe, symbols: [...about].sort().join(",") }).toString();
  if (query !== live.query) live.listen(query, { goOn });
}

/* Instead of rows */

function noBars() { return emptyBars(view, book.symbols); }

function noPairRows() {
  const action = el("p", { className: "actions" }, asked("Compute it now", compute, "primary"), asked("Keep it live", keepLive));
  return emptyPair(view, { legs: legs(), live: book.live(view), action });
}

/** A button that has a series made. */
function asked(text, work, kind = "") {
  const button = el("button", { type: "button", className: kind, onclick: () => make(button, work) }, text);
  return button;
}

/** From the scan: keep a series live, and look at it. */
async function followSeries(series, names) {
  try {
    await keepLive({ ...view, ...series }, names, () => {}, async () => { await learnSeries(); look(series); });
    pairLoader.restart();
  } catch (fault) {
    notice(`${series.pair.replaceAll("_", " / ")} is not followed: ${fault.message}`);
  }
}

async function make(button, work) {
  const text = button.textContent;
  button.disabled = true;
  try {
    await work(view, legs(), (how) => say(button, how));
    await learnSeries();
    await pairLoader.restart();
  } catch (fault) {
    notice(`${view.pair.replaceAll("_", " / ")} was not computed: ${fault.message}`);
  }
  button.disabled = false;
  say(button, text);
}

/* What is in view */

function show(next) {
  const before = view;
  view = next;
  writeView(view);
  pickers.fill(view);
  const differs = (...names) => names.some((name) => before[name] !== view[name]);
  if (differs("zone")) setZone();
  if (differs("symbol", "timeframe")) showBars();
  if (differs("entry", "exit")) { pairChart.setRules(view); research.backtest.fill(view); }
  if (differs("pair", "timeframe", "window", "method")) { showPair(); research.fill(); }
  if (differs("timeframe", "window")) research.load();
  if (differs("timeframe")) { scanner.fill(view.timeframe); scanner.load(); }
  if (differs("symbol", "pair", "timeframe")) listen({ goOn: false });
  alertForm.fill();
  drawLevels();
  pointAtAll();
}

function pointAtAll() {
  const bars = { symbol: view.symbol, timeframe: view.timeframe };
  pointExports({ bars, ticks: { symbol: view.symbol }, spread: legs() && named(view, legs()), "alert-events": {} });
}

function showBars() {
  say($("price-title"), view.symbol);
  for (const id of ["last", "change"]) say($(id), id === "last" ? "–" : "");
  $("alert-timeframe").value = view.timeframe;
  barLoader.restart();
}

function showPair() {
  const names = legs();
  pairChart.legs = names ?? ["", ""];
  pairChart.window = view.window;
  say($("pair-title"), names ? `${names[0]} on ${names.slice(1).join(", ")}` : view.pair);
  sayFollowed();
  if (names) pairLoader.restart();
  else { pairChart.restart(); pairChart.tell(...noPairRows()); }
  numbers();
}

/** How the series in view is made, and what may be done about it. */
function sayFollowed() {
  const followed = book.live(view);
  say($("pair-formula"), `${view.method} over ${view.window} bars of ${view.timeframe}${followed ? "" : "; computed when asked for, not live"}`);
  $("pair-again").hidden = $("pair-keep").hidden = Boolean(followed) || !legs();
  $("pair-stop").hidden = followed?.origin !== "request";
}

function setZone() {
  clock = new Clock(view.zone);
  say($("zone"), clock.short);
  priceChart.dress(clock);
  pairChart.dress(clock);
  alerts.draw();
  research.dress();
  numbers();
}

async function learnSymbols() {
  try {
    const { symbols: known } = await get("/api/ingestion/stats/");
    const all = [...new Set([...CONFIG.symbols, ...known])].sort();
    if (all.join() === book.symbols.join()) return;
    const hadLegs = Boolean(legs());
    book.symbols = all;
    pickers.fill(view);
    alertForm.fill();
    research.heat.load();
    if (!hadLegs && legs()) showPair();
    barLoader.refresh();
  } catch { /* the strip says why, and it is asked again */ }
}

/** Series may be added and removed by anybody while the page is open. */
async function learnSeries() {
  try {
    const hadLegs = Boolean(legs());
    if (!(await book.load())) return;
    pickers.fill(view);
    alertForm.fill();
    research.scan.draw();
    scanner.fill(view.timeframe);
    scanner.load();
    listen({ goOn: true });
    if (!hadLegs && legs()) showPair();
    else sayFollowed();
    pointAtAll();
    pairLoader.refresh();
  } catch { /* as above */ }
}

/* Begin */

$("pair-again").addEventListener("click", () => make($("pair-again"), compute));
$("pair-keep").addEventListener("click", () => make($("pair-keep"), keepLive));
$("pair-stop").addEventListener("click", () => make($("pair-stop"), stopLive));
saves($("price-save"), () => bars.all, () => `${view.symbol}_${view.timeframe}`);
saves($("pair-save"), () => pairRows.all, () => `${view.pair}_${view.timeframe}_${view.window}_${view.method.replace("+", "_")}`);
saves($("scan-save"), () => research.scan.found?.pairs ?? [], () => `scan_${view.timeframe}_${view.window}`);
saves($("backtest-save"), () => research.backtest.result?.trades ?? [], () => `backtest_${view.pair}_${view.timeframe}`);
$("zone").addEventListener("click", () => show({ ...view, zone: view.zone === "utc" ? "local" : "utc" }));
$("theme").addEventListener("click", () => {
  const other = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  remember("theme", other);
  document.documentElement.dataset.theme = other;
  dispatchEvent(new Event("gems:theme"));
});
addEventListener("gems:theme", () => { nameTheme(); priceChart.dress(clock); pairChart.dress(clock); drawLevels(); research.dress(); });
addEventListener("popstate", () => show(readView()));

function nameTheme() { say($("theme"), document.documentElement.dataset.theme === "dark" ? "Light" : "Dark"); }

nameTheme();
setUpNotices();
setUpUpload({ done: () => { learnSymbols(); barLoader.reload(); } });
pickers.fill(view);
scanner.fill(view.timeframe);
pairChart.setRules(view);
say($("zone"), clock.short);
alertForm.fill();
showBars();
showPair();
listen({ goOn: false });
pointAtAll();
research.fill();
research.load();
learnSymbols().then(learnSeries);
scanner.load();
setInterval(() => learnSymbols().then(learnSeries), 60000);
setInterval(() => !document.hidden && renew(), RENEW_MS);

/** The newest rows again: tests of a pair reach rows that were told before, and an event that never came would stay a hole. */
function renew() {
  barLoader.renew(RENEW_BARS);
  if (legs()) pairLoader.renew(RENEW_BARS)?.then(numbers);
  scanner.load();
  research.heat.load();
}

expose({ view: () => view, bars, pairRows, priceChart, pairChart, alertLines, research, live, health });
