/* Candles and volume of a symbol. */

import { $, el, say, sayInPlace } from "./dom.js";
import { faded } from "./colours.js";
import { RowsChart } from "./chart.js";
import { number, priceDigits, seconds, volume, whole } from "./format.js";

const { CandlestickSeries, HistogramSeries, createSeriesMarkers } = window.LightweightCharts;
const VOLUME_PART = 0.2;

/** A row of REST or of an event as the chart keeps it; REST tells closed bars alone. */
export const toBar = (body) => ({ closed: true, ...body, time: seconds(body.timestamp) });

export class PriceChart extends RowsChart {
  constructor(rows, hooks, clock) {
    super($("price-chart"), rows, $("price-golive"), hooks);
    this.digits = 2;
    this.make(clock);
    this.candles = this.add(CandlestickSeries, {}, 0, (bar) => this.candle(bar));
    this.volumes = this.add(HistogramSeries, {
      priceScaleId: "volume", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false,
    }, 0, (bar) => ({ time: bar.time, value: bar.volume, color: faded(bar.close >= bar.open ? this.paint.up : this.paint.down, 0.35) }));
    this.volumes.priceScale().applyOptions({ scaleMargins: { top: 1 - VOLUME_PART, bottom: 0 } });
    this.candles.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: VOLUME_PART + 0.04 } });
    this.markers = createSeriesMarkers(this.candles, []);
    this.colour();
  }

  candle(bar) {
    const point = { time: bar.time, open: bar.open, high: bar.high, low: bar.low, close: bar.close };
    if (bar.status !== "gap" && bar.status !== "partial") return point;
    const inside = bar.status === "gap" ? this.paint.mark : this.paint.panel;
    return { ...point, color: inside, borderColor: this.paint.mark, wickColor: this.paint.mark };
  }

  colour() {
    const { up, down } = this.paint;
    this.candles.applyOptions({
      upColor: up, downColor: down, borderUpColor: up, borderDownColor: down, wickUpColor: up, wickDownColor: down,
    });
  }

  drawAll() {
    const closes = this.rows.all.slice(-50).flatMap((bar) => [bar.high, bar.low, bar.close]);
    const digits = priceDigits(closes);
    if (closes.length && digits !== this.digits) {
      this.digits = digits;
      this.candles.applyOptions({ priceFormat: { type: "price", precision: digits, minMove: 10 ** -digits } });
    }
    super.drawAll();
    this.mark();
  }

  drawChanged(times) {
    super.drawChanged(times);
    if (times.some((time) => { const bar = this.rows.at(time); return bar?.revision || bar?.status === "gap"; })) this.mark();
  }

  mark() {
    const { accent, mark } = this.paint;
    this.markers.setMarkers(this.rows.all.flatMap((bar) => [
      ...(bar.revision > 0 ? [{ time: bar.time, position: "aboveBar", shape: "circle", size: 0.5, color: accent }] : []),
      ...(bar.status === "gap" ? [{ time: bar.time, position: "belowBar", shape: "square", size: 0.5, color: mark }] : []),
    ]));
  }

  drawn() {
    const bar = this.rows.last;
    if (!bar || this.rows.detached) return;
    this.tick(bar);
    this.change(bar);
  }

  /** The last price, which goes on while history is looked at. */
  tick(bar) {
    const before = this.rows.detached ? bar.open : this.rows.all.at(-2)?.close ?? bar.open;
    say($("last"), number(bar.close, this.digits));
    const kind = `last ${bar.close > before ? "up" : bar.close < before ? "down" : ""}`;
    if ($("last").className !== kind) $("last").className = kind;
  }

  /** Against the oldest close in view: what the eye compares too. */
  change(bar) {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    const first = this.rows.all[this.rows.find(this.places.timeAt(Math.max(0, Math.ceil(range?.from ?? 0))))];
    if (!first || first === bar) return;
    const percent = (bar.close / first.open - 1) * 100;
    const flat = Math.abs(percent) < 0.005;
    sayInPlace($("change"), `${flat ? "" : percent > 0 ? "+" : "−"}${number(Math.abs(percent), 2)} %`);
    $("change").className = `change ${flat ? "" : percent > 0 ? "up" : "down"}`;
    $("change").title = `since ${this.clock.full(first.time)}, the oldest bar in view`;
  }

  legend(bar) {
    const parts = bar ? [
      ["O", number(bar.open, this.digits)], ["H", number(bar.high, this.digits)], ["L", number(bar.low, this.digits)],
      ["C", number(bar.close, this.digits)], ["Vol", volume(bar.volume)], ["Trades", whole(bar.tick_count)],
      [this.clock.moment(bar.time), bar.closed ? `${bar.status ?? ""}${bar.revision ? `, revision ${bar.revision}` : ""}` : "open"],
    ] : [];
    const box = $("price-legend");
    while (box.children.length > parts.length) box.lastChild.remove();
    while (box.children.length < parts.length) box.append(el("div", {}, el("dt"), el("dd")));
    parts.forEach(([name, value], at) => { say(box.children[at].children[0], name); sayInPlace(box.children[at].children[1], value); });
  }
}
