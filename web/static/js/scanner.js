/* The live series at a timeframe, each at its newest row; shown where there is more than one. A click looks at the series. */

import { $, breakable, el, say } from "./dom.js";
import { get } from "./api.js";
import { brief, number } from "./format.js";
import { CONFIG, keyOf } from "./view.js";

const AT_MOST = 40;
const keyOfRow = (row) => keyOf({ pair: row.symbol_pair, window: row.window, method: row.method ?? "ols" });

export class Scanner {
  /** `choose(series)`: look at it. */
  constructor(book, choose) {
    Object.assign(this, { book, choose, timeframe: "" });
    this.rows = new Map();
    this.lines = new Map();
  }

  /** Names of the pairs that it wants to hear of. */
  get pairs() { return [...new Set([...this.lines.values()].map(({ series }) => series.pair))]; }

  /** Lines for the live series of a timeframe. */
  fill(timeframe) {
    const found = this.book.at(timeframe).slice(0, AT_MOST);
    const wanted = found.length > 1 ? found : [];
    if (timeframe !== this.timeframe) this.rows.clear();
    this.timeframe = timeframe;
    this.lines = new Map(wanted.map((series) => [keyOf(series), this.lines.get(keyOf(series)) ?? lineOf(series, this.choose)]));
    for (const key of [...this.rows.keys()]) if (!this.lines.has(key)) this.rows.delete(key);
    $("scanner-rows").replaceChildren(...[...this.lines.values()].map((line) => line.row));
    $("scanner").hidden = !wanted.length;
  }

  /** The newest row of each, in one answer; live events go on from there. */
  async load() {
    const { timeframe } = this;
    if (!this.lines.size) return;
    try {
      const { pairs } = await get("/api/analytics/pairs/", { timeframe, newest: true });
      if (this.timeframe !== timeframe) return;
      for (const { newest, ...series } of pairs) this.take(keyOfRow(series), newest);
    } catch { /* it is asked again with the next load; the strip says why */ }
    this.draw();
  }

  take(key, row) {
    if (row && this.lines.has(key) && !(this.rows.get(key)?.timestamp > row.timestamp)) this.rows.set(key, row);
  }

  hear(row) {
    const key = keyOfRow(row);
    if (row.timeframe === this.timeframe && this.lines.has(key)) this.rows.set(key, { ...this.rows.get(key), ...row });
  }

  draw(view = this.view) {
    this.view = view;
    if (!view) return; // a page that nobody has seen yet has drawn nothing
    for (const [key, { row: line, cells }] of this.lines) {
      const row = this.rows.get(key);
      line.classList.toggle("chosen", key === keyOf(view));
      say(cells[0], number(row?.z_score, 2));
      cells[0].className = row && Math.abs(row.z_score) >= view.entry ? "hot" : "";
      say(cells[1], brief(row?.hedge_ratio));
      say(cells[2], number(row?.correlation, 3));
      say(cells[3], number(row?.adf_pvalue, 3));
    }
  }
}

function lineOf(series, choose) {
  const cells = Array.from({ length: 4 }, () => el("td"));
  const usual = series.window === CONFIG.window && series.method === "ols";
  const button = el("button", { type: "button", className: "pick", onclick: () => choose(series) }, ...breakable(series.pair.replaceAll("_", "/")));
  return { series, row: el("tr", {}, el("th", { scope: "row" }, button, usual ? null : el("small", {}, `${series.window} ${series.method}`)), ...cells), cells };
}
