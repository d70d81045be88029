/* The lower panels together: heat map, scan and backtest of what is in view. */

import { Backtest } from "./backtest.js";
import { HeatMap } from "./heatmap.js";
import { Scan } from "./scan.js";
import { named } from "./follow.js";

export class Research {
  /** `view()`; `book`; `choose(series)`: look at it; `follow(series, legs)`; `rules({entry, exit})`; `clock()`. */
  constructor({ view, book, choose, follow, rules, clock }) {
    Object.assign(this, { view, book });
    const asked = () => ({ symbols: book.symbols, timeframe: view().timeframe, window: view().window });
    this.heat = new HeatMap({ asked, clock, choose: (y, x) => choose(this.either(y, x)) });
    this.scan = new Scan({ asked, clock, choose, follow, live: (series) => book.live({ ...view(), ...series }) });
    this.backtest = new Backtest({ asked: () => this.series(), rules, clock });
  }

  /** What names the series in view for a backtest; null where its legs are not known. */
  series() {
    const legs = this.book.legs(this.view().pair);
    return legs && named(this.view(), legs);
  }

  /** The live series of two symbols, in whichever order there is one; else the one that would be computed. */
  either(y, x) {
    const { timeframe, window, method } = this.view();
    const live = this.book.at(timeframe).filter((series) => [`${y}_${x}`, `${x}_${y}`].includes(series.pair));
    return live.find((series) => series.window === window && series.method === method) ?? live[0] ?? { pair: `${y}_${x}`, window, method };
  }

  /** Another series is in view. */
  fill() {
    this.backtest.fill(this.view());
    this.backtest.clear();
  }

  /** Another timeframe or window. */
  load() {
    this.heat.load();
    this.scan.load();
  }

  /** Theme or zone changed. */
  dress() {
    this.heat.draw();
    this.scan.draw();
    if (this.backtest.result) this.backtest.show(this.backtest.result);
  }
}
