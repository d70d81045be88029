/* All pairs of the symbols, ranked by a scan; a row is looked at, or followed from now on. */

import { $, breakable, el, say, unpressed } from "./dom.js";
import { get, post } from "./api.js";
import { taskEnds } from "./follow.js";
import { brief, number, seconds } from "./format.js";

const PATH = "/api/analytics/scan/";
const AT_MOST = 100;
const WINDOWS = [20, 2000];
const SIGNIFICANT = 0.05;

export class Scan {
  /** `asked()`: {symbols, timeframe, window}; `choose(series)`; `follow(series, legs)`; `live(series)`; `clock()`. */
  constructor(hooks) {
    Object.assign(this, hooks);
    this.found = null;
    $("scan-start").addEventListener("click", () => this.start());
    $("scan-sort").addEventListener("change", () => this.load());
  }

  get query() {
    const { timeframe, window: bars } = this.asked();
    return { timeframe, window: Math.min(WINDOWS[1], Math.max(WINDOWS[0], bars)) };
  }

  get ranked() { return { ...this.query, sort: $("scan-sort").value }; }

  async start() {
    $("scan-start").disabled = true;
    try {
      const { task_id: taskId } = await post(PATH, { ...this.query, symbols: this.asked().symbols });
      await taskEnds(taskId, (how) => say($("scan-note"), how));
      await this.load();
    } catch (fault) {
      say($("scan-note"), `The scan failed: ${fault.message}`);
    }
    $("scan-start").disabled = false;
  }

  /** The newest finished scan of this timeframe and window. */
  async load() {
    const asked = this.ranked;
    try {
      const found = await get(PATH, { ...asked, limit: AT_MOST });
      if (JSON.stringify(asked) !== JSON.stringify(this.ranked)) return; // another order or window was chosen meanwhile
      this.found = found;
      this.draw();
    } catch (fault) {
      say($("scan-note"), fault.message);
    }
  }

  draw() { unpressed($("scan-rows"), () => this.replace()); }

  replace() {
    if (!this.found) return;
    const { pairs, finished_at: at, pairs_scanned: count, window: bars, timeframe } = this.found;
    $("scan-rows").replaceChildren(...pairs.map((pair, rank) => this.line(pair, rank + 1)));
    $("scan-table").hidden = !pairs.length;
    say($("scan-note"), at === null ? `No scan of ${timeframe} bars over ${bars} of them yet.`
      : `${count} pairs over ${bars} bars of ${timeframe}, scanned ${this.clock().full(seconds(at))}.`);
  }

  line(pair, rank) {
    const series = { pair: pair.symbol_pair, window: this.found.window, method: "ols" };
    const legs = [pair.symbol1, pair.symbol2];
    const name = `${legs[0]}/${legs[1]}`;
    const pick = el("button", { type: "button", className: "pick", onclick: () => this.choose(series) }, ...breakable(name));
    const follow = this.live(series) ? el("span", { className: "muted" }, "live")
      : el("button", { type: "button", className: "pick", "aria-label": `Follow ${name}`, onclick: ({ currentTarget }) => this.add(series, legs, currentTarget) }, "Follow");
    const sure = pair.coint_pvalue !== null && pair.coint_pvalue < SIGNIFICANT;
    return el("tr", {}, el("td", {}, String(rank)), el("th", { scope: "row" }, pick),
      el("td", { className: sure ? "good" : "" }, number(pair.coint_pvalue, 4)), el("td", {}, number(pair.half_life, 1)), el("td", {}, number(pair.z_score, 2)),
      el("td", {}, brief(pair.hedge_ratio)), el("td", {}, number(pair.correlation, 3)), el("td", {}, follow));
  }

  async add(series, legs, button) {
    button.disabled = true;
    await this.follow(series, legs);
    this.draw();
  }
}
