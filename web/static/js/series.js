/* The series of pairs that are kept up to date, as GET /api/analytics/pairs/ lists them; the page's own settings until it has answered. */

import { get } from "./api.js";
import { CONFIG, keyOf, legsOf } from "./view.js";

const MOST_ON_REQUEST = 12; // symbols; past it their combinations are no list to choose from

export class SeriesBook {
  constructor() {
    this.symbols = [...CONFIG.symbols];
    this.all = CONFIG.timeframes.flatMap((timeframe) => CONFIG.series.map((series) => ({ ...series, timeframe, legs: legsOf(series.pair, this.symbols), origin: "settings" })));
  }

  /** Ask again; true if anything is different now. */
  async load() {
    const { pairs } = await get("/api/analytics/pairs/");
    const all = pairs.map(({ symbol_pair: pair, symbols: legs, timeframe, window, method, origin }) => ({ pair, legs, timeframe, window, method, origin }));
    const differs = JSON.stringify(all) !== JSON.stringify(this.all);
    this.all = all;
    return differs;
  }

  at(timeframe) { return this.all.filter((series) => series.timeframe === timeframe); }

  /** The live series that is in view, or undefined. */
  live(view) { return this.at(view.timeframe).find((series) => keyOf(series) === keyOf(view)); }

  /** The legs of a pair or basket, y first; null where neither the list nor the known symbols say them. */
  legs(pair) { return this.all.find((series) => series.pair === pair)?.legs ?? legsOf(pair, this.symbols); }

  /** Names of all live pairs, each once. */
  get names() { return [...new Set(this.all.map((series) => series.pair))]; }

  /** Names of the other combinations of the known symbols, which are computed when asked for. */
  others() {
    if (this.symbols.length > MOST_ON_REQUEST) return [];
    const all = this.symbols.flatMap((y) => this.symbols.filter((x) => x !== y).map((x) => `${y}_${x}`));
    return all.filter((pair) => !this.names.includes(pair));
  }
}
