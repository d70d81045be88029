/* What entering and leaving at given z-scores would have brought on the series in view: numbers, equity, trades. */

import { $, el, say } from "./dom.js";
import { get } from "./api.js";
import { chartOptions, colours, faded } from "./colours.js";
import { NONE, number, seconds, statistic, whole } from "./format.js";
import { chartIn } from "./timeaxis.js";

const { AreaSeries } = window.LightweightCharts;
const WHOLE_IN_VIEW = { minBarSpacing: 0.001 }; // however many rows, on a phone too
const TRADES_AT_MOST = 100;
const FIELDS = ["entry", "exit", "stop", "cost_bps", "notional"];
const percent = (share) => (share === null ? NONE : `${number(100 * share, 2)} %`);

export class Backtest {
  /** `asked()`: what names the series, or null; `rules({entry, exit})`: told what was played; `clock()`. */
  constructor({ asked, rules, clock }) {
    Object.assign(this, { asked, rules, clock });
    this.result = null;
    $("backtest-form").addEventListener("submit", (event) => { event.preventDefault(); this.run(); });
  }

  fill({ entry, exit }) {
    $("backtest-entry").value = String(entry);
    $("backtest-exit").value = String(exit);
  }

  /** Another series is in view: what was shown is not of it. */
  clear() {
    this.result = null;
    $("backtest-result").hidden = true;
    say($("backtest-fault"), "");
  }

  async run() {
    const series = this.asked();
    if (!series) { say($("backtest-fault"), "Choose a pair of two known symbols first."); return; }
    const given = Object.fromEntries(FIELDS.map((name) => [name, $(`backtest-${name}`).value]).filter(([, value]) => value !== ""));
    const button = $("backtest-form").querySelector("button");
    for (const name of FIELDS) $(`backtest-${name}`).removeAttribute("aria-invalid");
    say($("backtest-fault"), "");
    button.disabled = true;
    try {
      const result = await get("/api/analytics/backtest/", { ...series, ...given });
      if (JSON.stringify(series) === JSON.stringify(this.asked())) this.show(result);
      this.rules({ entry: Number(given.entry), exit: Number(given.exit) });
    } catch (fault) {
      say($("backtest-fault"), fault.message);
      $(`backtest-${fault.field}`)?.setAttribute("aria-invalid", "true");
    }
    button.disabled = false;
  }

  show(result) {
    this.result = result;
    $("backtest-result").hidden = false;
    const cells = [
      ["Return", percent(result.total_return), result.total_return > 0 ? "good" : result.total_return < 0 ? "hot" : ""],
      ["Profit after costs", number(result.profit, 2), ""], ["Costs", number(result.costs, 2), ""],
      ["Sharpe, a year", result.sharpe === null ? NONE : number(result.sharpe, 2), ""], ["Drawdown", percent(result.max_drawdown), ""],
      ["Trades", whole(result.trade_count), ""], ["Won", percent(result.hit_rate), ""], ["In the market", percent(result.exposure), ""],
    ];
    $("backtest-numbers").replaceChildren(...cells.map(([name, value, kind]) => el("div", { className: kind }, el("dt", {}, name), el("dd", {}, value))));
    $("backtest-trades").replaceChildren(...result.trades.slice(-TRADES_AT_MOST).reverse().map((trade) => this.line(trade)));
    this.draw();
    say($("backtest-note"), `${whole(result.rows)} rows of ${result.timeframe}${result.first_at ? ` from ${this.clock().full(seconds(result.first_at))} to ${this.clock().full(seconds(result.last_at))}` : ""}. `
      + "A signal is traded at the closes of the next bar of both legs; nothing is compounded.");
  }

  line(trade) {
    return el("tr", {}, el("th", { scope: "row" }, this.clock().full(seconds(trade.entry_at))), el("td", {}, trade.side), el("td", {}, number(trade.entry_z, 2)),
      el("td", {}, whole(trade.bars)), el("td", {}, trade.reason), el("td", {}, statistic(trade.hedge_ratio)), el("td", { className: trade.profit > 0 ? "good" : "hot" }, number(trade.profit, 2)));
  }

  draw() {
    if (!this.result) return;
    const [paint, clock] = [colours(), this.clock()];
    this.chart ??= chartIn($("backtest-chart"), { autoSize: true, ...chartOptions(paint, clock) });
    this.equity ??= this.chart.addSeries(AreaSeries, { lineWidth: 1.5, priceLineVisible: false });
    this.chart.applyOptions(chartOptions(paint, clock));
    this.chart.timeScale().applyOptions(WHOLE_IN_VIEW);
    this.equity.applyOptions({ lineColor: paint.one, topColor: faded(paint.one, 0.2), bottomColor: faded(paint.one, 0.02) });
    this.equity.setData(this.result.equity.map(({ timestamp, equity }) => ({ time: seconds(timestamp), value: equity })));
    this.chart.timeScale().fitContent();
  }
}
