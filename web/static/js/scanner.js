/* All pairs that are followed, at their newest row; shown where there is more than one. A click looks at the pair. */

import { $, el, say } from "./dom.js";
import { get } from "./api.js";
import { number, statistic } from "./format.js";
import { Z_THRESHOLD } from "./pair.js";
import { CONFIG, legsOf } from "./view.js";

const AT_MOST = 40;
export const SCANNED = CONFIG.pairs.length > 1 ? CONFIG.pairs.slice(0, AT_MOST) : [];

export class Scanner {
  /** `choose(pair)`: look at it. */
  constructor(choose) {
    $("scanner").hidden = !SCANNED.length;
    this.rows = new Map(SCANNED.map((pair) => [pair, null]));
    this.lines = new Map(SCANNED.map((pair) => [pair, lineOf(pair, choose)]));
    $("scanner-rows").replaceChildren(...[...this.lines.values()].map((line) => line.row));
  }

  /** The newest row of each pair at a timeframe; live events go on from there. */
  async load(timeframe) {
    this.timeframe = timeframe;
    for (const pair of SCANNED) {
      const [symbol1, symbol2] = legsOf(pair, CONFIG.symbols);
      try {
        const { analytics } = await get("/api/analytics/spread/", { symbol1, symbol2, timeframe, limit: 1 });
        if (this.timeframe !== timeframe) return;
        this.rows.set(pair, analytics[0] ?? null);
      } catch { /* it is asked again with the next load; the strip says why */ }
    }
    this.draw();
  }

  hear(row) {
    if (!this.rows.has(row.symbol_pair) || row.timeframe !== this.timeframe || row.window !== CONFIG.window || (row.method ?? "ols") !== (this.rows.get(row.symbol_pair)?.method ?? "ols")) return;
    this.rows.set(row.symbol_pair, { ...this.rows.get(row.symbol_pair), ...row });
  }

  draw(chosen = this.chosen) {
    this.chosen = chosen;
    for (const [pair, row] of this.rows) {
      const { row: line, cells } = this.lines.get(pair);
      line.classList.toggle("chosen", pair === chosen);
      say(cells[0], row ? number(row.z_score, 2) : "–");
      cells[0].className = row && Math.abs(row.z_score) >= Z_THRESHOLD ? "hot" : "";
      say(cells[1], row ? statistic(row.hedge_ratio) : "–");
      say(cells[2], row ? number(row.correlation, 3) : "–");
      say(cells[3], row ? number(row.adf_pvalue, 3) : "–");
    }
  }
}

function lineOf(pair, choose) {
  const cells = Array.from({ length: 4 }, () => el("td"));
  const button = el("button", { type: "button", className: "pick", onclick: () => choose(pair) }, pair.replace("_", "/"));
  return { row: el("tr", {}, el("th", { scope: "row" }, button), ...cells), cells };
}
