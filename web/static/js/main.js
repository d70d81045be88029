/* The page: what is in view, where its rows come from, who draws them. */

import { $, el, eachFrame, remember, say, settled } from "./dom.js";
import { get } from "./api.js";
import { AlertForm } from "./alertform.js";
import { Alerts } from "./alerts.js";
import { textOf } from "./alerttexts.js";
import { compute, keepLive, named, stopLive } from "./follow.js";
import { Clock, number } from "./format.js";
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

function noBars() {
  if (!book.symbols.includes(view.symbol)) {
    return [`There are no trades of \`${view.symbol}\` here. Known: ${book.symbols.map((name) => `\`${name}\``).join(" ") || "none yet"}. Add it to \`GEMS_SYMBOLS\` and start again, or upload a file of its trades.`];
  }
  return [`No bar of ${view.symbol} at ${view.timeframe} yet. The first comes with its first trades; if none come, see \`./gems status\`, or upload a file.`, { loading: true }];
}

function noPairRows() {
  if (!legs()) return [`\`${view.pair}\` is not a pair of two known symbols. Choose one above.`];
  if (book.live(view)) return [`No row of this pair at ${view.timeframe} yet. The first comes when both legs have closed a bar.`, { loading: true }];
  const action = el("p", { className: "actions" }, asked("Compute it now", compute, "primary"), asked("Keep it live", keepLive));
  return [`Nothing is computed yet for this pair at ${view.timeframe} with a window of ${view.window} bars by ${view.method}.`, { action }];
}

/** A button that has a series made. */
function asked(text, work, kind = "") {
  const button = el("button", { type: "button", className: kind, onclick: () => make(button, work) }, text);
  return button;
}

/** From the scan: keep a series live, and look at it. */
async function followSeries(series, names) {
  try {
    await keepLive({ ...view, ...series }, names, () => {});
    await learnSeries();
    look(series);
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
    pairLoader.refresh();
  } catch { /* as above */ }
}

/* Begin */

$("pair-again").addEventListener("click", () => make($("pair-again"), compute));
$("pair-keep").addEventListener("click", () => make($("pair-keep"), keepLive));
$("pair-stop").addEventListener("click", () => make($("pair-stop"), stopLive));
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

const drawnAs = (name) => (name === "candles" ? [priceChart, priceChart.candles] : [pairChart, pairChart[name]]);

/** Where a level of a series stands in the box of its chart: [x, y]. */
function placeOf(name, level) {
  const [chart, series] = drawnAs(name);
  const pane = series.getPane().getHTMLElement().getBoundingClientRect();
  return [chart.box.clientWidth / 2, pane.top - chart.box.getBoundingClientRect().top + series.priceToCoordinate(level)];
}

/** What is drawn, for tests and for the curious: copies, nothing can be changed by them. */
window.gems = Object.freeze({
  view: () => ({ ...view }),
  bars: () => structuredClone(bars.all),
  pairRows: () => structuredClone(pairRows.all),
  drawn: () => structuredClone(Object.fromEntries(
    Object.entries({ candles: priceChart.candles, volumes: priceChart.volumes, spread: pairChart.spread, upper: pairChart.upper, z: pairChart.z, hedge: pairChart.hedge, correlation: pairChart.correlation, pvalue: pairChart.pvalue, halfLife: pairChart.halfLife })
      .map(([name, series]) => [name, series.data()]))),
  marks: () => structuredClone(pairChart.marked ?? []),
  equity: () => structuredClone(research.backtest.equity?.data() ?? []),
  levels: () => alertLines.lines.map(([, line]) => line.options().price),
  placeOf: (name, level) => placeOf(name, level),
  levelAbove: (name) => { const [chart, series] = drawnAs(name); return series.coordinateToPrice(chart.box.clientHeight / 10); },
  live: () => ({ state: live.state, lastId: live.lastId }),
  health: () => structuredClone(health.facts),
});
