/* The two charts, where their rows come from, and alerts on them. */

import { textOf } from "./alerttexts.js";
import { emptyBars, emptyPair } from "./empties.js";
import { named } from "./follow.js";
import { AlertLines, offerAlerts } from "./levels.js";
import { link } from "./linked.js";
import { Loader } from "./loader.js";
import { tellNumbers } from "./numbers.js";
import { page } from "./page.js";
import { PairChart, toPairRow } from "./pair.js";
import { PriceChart, toBar } from "./price.js";
import { offers } from "./requests.js";
import { lengthS } from "./view.js";

const stepS = () => lengthS(page.view.timeframe);

export function makeCharts() {
  makePrice();
  makePair();
  page.align = link([page.priceChart, page.pairChart]);
  page.alertLines = linesOf(page);
  offer();
}

function makePrice() {
  page.priceChart = new PriceChart(page.bars, { stepS, older: () => page.barLoader.older(), live: () => page.barLoader.restart(), seen: () => page.align?.() }, page.clock);
  page.barLoader = new Loader({
    path: "/api/ingestion/bars/", rows: page.bars, chart: page.priceChart, stepS,
    query: () => ({ symbol: page.view.symbol, timeframe: page.view.timeframe }),
    pick: (answer) => answer.bars.map(toBar),
    empty: () => emptyBars(page.view, page.book.symbols),
  });
}

function makePair() {
  const hooks = { stepS, older: () => page.pairLoader.older(), live: () => page.pairLoader.restart(), seen: () => { tellNumbers(); page.align?.(); } };
  page.pairChart = new PairChart(page.pairRows, hooks, page.clock);
  page.pairLoader = new Loader({
    path: "/api/analytics/spread/", rows: page.pairRows, chart: page.pairChart, stepS,
    query: () => named(page.view, page.legs ?? []),
    pick: (answer) => answer.analytics.map(toPairRow),
    empty: () => emptyPair(page.view, { symbols: page.book.symbols, legs: page.legs, live: page.book.live(page.view), action: offers() }),
  });
}

function linesOf({ priceChart, pairChart }) {
  return new AlertLines([
    [priceChart.candles, ["price_above", "price_below"], false], [pairChart.spread, ["spread_above", "spread_below"], true],
    [pairChart.z, ["zscore_high", "zscore_low", "zscore_abs"], true], [pairChart.correlation, ["correlation_break"], true],
    [pairChart.pvalue, ["cointegration_lost"], true],
  ]);
}

/** A click at a level of a pane offers an alert; null: where the value stands does not matter there. */
function offer() {
  const { bars, pairRows, priceChart, pairChart } = page;
  const offering = { text: ({ type, threshold }) => `${textOf(type)} ${threshold}`, propose: (alert) => page.alertForm.propose(alert) };
  offerAlerts("price", priceChart, [["price", priceChart.candles, () => bars.last?.close ?? null]], offering);
  offerAlerts("pair", pairChart, [
    ["spread", pairChart.spread, () => pairRows.last?.spread ?? null], ["z", pairChart.z, () => pairRows.last?.z_score ?? null],
    ["hedge", pairChart.hedge, () => null], ["correlation", pairChart.correlation, () => null], ["pvalue", pairChart.pvalue, () => null],
  ], offering);
}
