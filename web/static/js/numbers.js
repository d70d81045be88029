/* The pair in numbers, at its newest row. */

import { $, eachFrame, el, say } from "./dom.js";
import { NONE, number, statistic } from "./format.js";
import { page } from "./page.js";
import { tested } from "./trading.js";

function verdict(test) {
  if (!test || test.is_cointegrated === null) return ["Cointegrated", NONE, ""];
  return test.is_cointegrated ? ["Cointegrated", "yes, at 5 %", "good"] : ["Cointegrated", "no, at 5 %", ""];
}

/** Numbers of what is in view, at the next frame: the pair's, the live pairs', and the price in the title of the page. */
export const tellNumbers = eachFrame(() => {
  const { bars, clock, pairRows, view } = page;
  showNumbers(pairRows, clock, view);
  page.scanner.draw(view);
  document.title = bars.last ? `${number(bars.last.close, page.priceChart.digits)} ${view.symbol} · GEMS` : "GEMS";
});

/** The newest of `rows`; its z-score stands out from `entry` on. */
function showNumbers(rows, clock, { entry }) {
  const row = rows.last;
  const test = tested(rows.all);
  const cells = [
    ["z-score", row ? number(row.z_score, 3) : NONE, row && Math.abs(row.z_score) >= entry ? "hot" : ""],
    ["Spread", row ? statistic(row.spread) : NONE, ""],
    ["Hedge ratio", row ? statistic(row.hedge_ratio) : NONE, ""],
    ["Correlation", row ? number(row.correlation, 4) : NONE, ""],
    ["Cointegration p-value", test ? number(test.adf_pvalue, 4) : NONE, ""],
    verdict(test),
    ["Intercept", row ? statistic(row.intercept) : NONE, ""],
    ["Spread sd", row ? statistic(row.rolling_std) : NONE, ""],
  ];
  cells.push(
    ["Half-life, bars", row ? number(row.half_life, 1) : NONE, ""],
    ["Correlation of returns", row ? number(row.return_correlation, 4) : NONE, ""],
    ["Hurst exponent", test ? number(test.hurst, 3) : NONE, ""],
    ["Variance ratio", test ? number(test.variance_ratio, 3) : NONE, ""],
  );
  if (row && row.innovation_z != null) cells.push(["Innovation z", number(row.innovation_z, 3), ""], ["Method", row.method, ""]);
  const box = $("numbers");
  while (box.children.length > cells.length) box.lastChild.remove();
  while (box.children.length < cells.length) box.append(el("div", {}, el("dt"), el("dd")));
  cells.forEach(([name, value, kind], at) => {
    say(box.children[at].children[0], name);
    say(box.children[at].children[1], value);
    if (box.children[at].className !== kind) box.children[at].className = kind;
  });
  say($("numbers-at"), row ? clock.moment(row.time) : "");
  say($("numbers-note"), note(row, test, clock));
}

function note(row, test, clock) {
  const parts = [];
  if (test?.coint_at) parts.push(`Engle-Granger at the bar of ${clock.full(Date.parse(test.coint_at) / 1000)}.`);
  if (row && row.z_score === null) parts.push("The window is not full yet.");
  if (row?.carried) parts.push(`Leg ${row.carried} has no bar here: its last close was carried.`);
  if (row?.has_gap) parts.push("A bar with a gap was used.");
  return parts.join(" ");
}
