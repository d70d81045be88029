/* Correlations of all symbols as a table whose cells are coloured; a click looks at the two symbols as a pair. */

import { $, el, say, unpressed } from "./dom.js";
import { get } from "./api.js";
import { number, seconds } from "./format.js";

const MOST_SYMBOLS = 16; // past it the cells are too small to be read
const short = (symbol) => symbol.replace(/(USDT|USDC|USD)$/, "");

export class HeatMap {
  /** `asked()`: {symbols, timeframe, window}; `choose(y, x)`; `clock()`. */
  constructor({ asked, choose, clock }) {
    Object.assign(this, { asked, choose, clock });
    this.matrix = null;
    $("heat-of").addEventListener("change", () => this.draw());
  }

  async load() {
    const { symbols, timeframe, window: bars } = this.asked();
    if (symbols.length < 2) { this.tell("There are fewer than two symbols."); return; }
    const key = `${timeframe} ${bars}`;
    try {
      const matrix = await get("/api/analytics/correlation/", { symbols: symbols.slice(0, MOST_SYMBOLS).join(","), timeframe, window: bars });
      const now = this.asked();
      if (key !== `${now.timeframe} ${now.window}`) return;
      this.matrix = matrix;
      this.draw();
    } catch (fault) {
      if (!this.matrix || !fault.passes) this.tell(fault.message);
    }
  }

  tell(sentence) {
    this.matrix = null;
    $("heat").replaceChildren();
    say($("heat-note"), sentence);
  }

  draw() { unpressed($("heat"), () => this.replace()); }

  replace() {
    if (!this.matrix) return;
    const { symbols, window: bars, as_of: asOf, carried } = this.matrix;
    const values = this.matrix[$("heat-of").value];
    const head = el("tr", {}, el("td"), ...symbols.map((symbol) => el("th", { scope: "col", title: symbol }, short(symbol))));
    const lines = symbols.map((y, row) => el("tr", {}, el("th", { scope: "row", title: y }, short(y)), ...symbols.map((x, at) => this.cell(y, x, values[row][at]))));
    const focused = document.activeElement?.closest("#heat button")?.dataset.pair;
    $("heat").replaceChildren(el("thead", {}, head), el("tbody", {}, ...lines));
    if (focused) $("heat").querySelector(`[data-pair="${focused}"]`)?.focus();
    const left = this.asked().symbols.length - MOST_SYMBOLS;
    const late = Object.entries(carried).filter(([, rows]) => rows > bars / 10).map(([symbol]) => symbol);
    say($("heat-note"), asOf === null ? `There are not ${bars} bars of all symbols yet.`
      : `The last ${bars} bars up to ${this.clock().full(seconds(asOf))}${left > 0 ? `, of the first ${MOST_SYMBOLS} of ${MOST_SYMBOLS + left} symbols` : ""}.${late.length ? ` Often carried forward: ${late.join(", ")}.` : ""}`);
  }

  cell(y, x, value) {
    if (y === x) return el("td", { className: "same" }, "1");
    const text = number(value, 2);
    const button = el("button", { type: "button", "data-pair": `${y}_${x}`, "aria-label": `${y} on ${x}: ${text}`, onclick: () => this.choose(y, x) }, text);
    const cell = el("td", {}, button);
    if (value !== null) cell.style.backgroundColor = `color-mix(in srgb, var(${value < 0 ? "--down" : "--one"}) ${Math.round(60 * Math.abs(value))}%, transparent)`;
    return cell;
  }
}
