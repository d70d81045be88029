/* What is in view: another view is written into the address, and each part that it concerns is told. */

import { $, say } from "./dom.js";
import { emptyPair } from "./empties.js";
import { named } from "./follow.js";
import { Clock } from "./format.js";
import { listen } from "./hearing.js";
import { tellNumbers } from "./numbers.js";
import { page } from "./page.js";
import { pointExports } from "./save.js";
import { writeView } from "./view.js";

export function show(next) {
  const before = page.view;
  page.view = next;
  const { view, research } = page;
  writeView(view);
  page.pickers.fill(view);
  const differs = (...names) => names.some((name) => before[name] !== view[name]);
  if (differs("zone")) setZone();
  if (differs("symbol", "timeframe")) showBars();
  if (differs("entry", "exit")) { page.pairChart.setRules(view); research.backtest.fill(view); }
  if (differs("pair", "timeframe", "window", "method")) { showPair(); research.fill(); }
  if (differs("timeframe", "window")) research.load();
  if (differs("timeframe")) { page.scanner.fill(view.timeframe); page.scanner.load(); }
  if (differs("symbol", "pair", "timeframe")) listen({ goOn: false });
  page.alertForm.fill();
  drawLevels();
  pointAtAll();
}

/** Look at a series of a pair. */
export const look = ({ pair, window, method }) => show({ ...page.view, pair, window, method });

export function showBars() {
  const { view } = page;
  say($("price-title"), view.symbol);
  say($("last"), "–");
  say($("change"), "");
  $("alert-timeframe").value = view.timeframe;
  page.barLoader.restart();
}

export function showPair() {
  const { legs, pairChart, view } = page;
  pairChart.legs = legs ?? ["", ""];
  pairChart.window = view.window;
  say($("pair-title"), legs ? `${legs[0]} on ${legs.slice(1).join(", ")}` : view.pair || "No pair");
  sayFollowed();
  if (legs) page.pairLoader.restart();
  else { pairChart.restart(); pairChart.tell(...emptyPair(view, { symbols: page.book.symbols, legs })); }
  tellNumbers();
}

/** How the series in view is made, and what may be done about it. */
export function sayFollowed() {
  const { book, view } = page;
  const followed = book.live(view);
  say($("pair-formula"), !view.pair ? "" : `${view.method} over ${view.window} bars of ${view.timeframe}${followed ? "" : "; computed when asked for, not live"}`);
  $("pair-again").hidden = $("pair-keep").hidden = Boolean(followed) || !page.legs;
  $("pair-stop").hidden = followed?.origin !== "request";
}

/** Links to all that is stored of what is in view. */
export function pointAtAll() {
  const { legs, view } = page;
  const bars = { symbol: view.symbol, timeframe: view.timeframe };
  pointExports({ bars, ticks: { symbol: view.symbol }, spread: legs && named(view, legs), "alert-events": {} });
}

export function drawLevels() { page.alertLines.draw(page.alerts.all, page.view, page.priceChart.paint); }

function setZone() {
  page.clock = new Clock(page.view.zone);
  say($("zone"), page.clock.short);
  page.alerts.draw();
  dress();
  tellNumbers();
}

/** Theme or zone changed: whatever has colours or moments is drawn anew. */
export function dress() {
  page.priceChart.dress(page.clock);
  page.pairChart.dress(page.clock);
  page.research.dress();
}
