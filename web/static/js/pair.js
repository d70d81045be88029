/* A pair in seven panes over one time axis: spread with bands, z-score with entries and exits, hedge ratio, correlation, p-value of
 * cointegration, half-life, and both legs in percent. */

import { $, el, say } from "./dom.js";
import { faded } from "./colours.js";
import { RowsChart } from "./chart.js";
import { Band } from "./band.js";
import { axisFormat, priceDigits, seconds } from "./format.js";
import { paneTexts, write } from "./pairlegend.js";
import { bandOf, crossings, tested } from "./trading.js";

const { LineSeries, createSeriesMarkers } = window.LightweightCharts;
const HEIGHTS = [3, 2.4, 1.4, 1.4, 1.4, 1.4, 2];
const LEGEND_PART = 0.34; // of a pane of height 1: its legend stands there, above the line
const [IN_LOGS, IN_PERCENT, WITH_STEPS] = [1, 2, 1];
const SIGNIFICANT = 0.05;
const QUIET = { lastValueVisible: false, priceLineVisible: false, crosshairMarkerVisible: false };

export const toPairRow = (body) => ({ ...body, time: seconds(body.timestamp) });

export class PairChart extends RowsChart {
  constructor(rows, hooks, clock) {
    super($("pair-chart"), rows, $("pair-golive"), hooks);
    Object.assign(this, { legs: ["", ""], rules: { entry: 2, exit: 0.5 }, digits: [2, 2] });
    this.make(clock);
    this.addSpread();
    this.addZ();
    this.hedge = this.line("hedge_ratio", {}, 2);
    this.correlation = this.line("correlation", {}, 3);
    this.returns = this.line("return_correlation", { ...QUIET, lineWidth: 1 }, 3);
    this.addTests();
    this.second = this.line("symbol2_price", { baseLineVisible: false }, 6);
    this.first = this.line("symbol1_price", {}, 6);
    this.first.priceScale().applyOptions({ mode: IN_PERCENT });
    this.chart.panes().forEach((pane, at) => this.shape(pane, HEIGHTS[at]));
    this.legends = HEIGHTS.map(() => this.box.appendChild(el("div", { className: "pane-legend" })));
    new ResizeObserver(() => requestAnimationFrame(() => this.arrange())).observe(this.box);
    this.colour();
  }

  shape(pane, height) {
    pane.setStretchFactor(height);
    for (const series of pane.getSeries()) series.priceScale().applyOptions({ scaleMargins: { top: LEGEND_PART / height, bottom: 0.1 } });
  }

  line(name, options, pane) {
    return this.add(LineSeries, { lineWidth: 1.5, ...QUIET, lastValueVisible: true, ...options }, pane, (row) => point(row.time, row[name]));
  }

  addSpread() {
    this.mean = this.line("rolling_mean", { ...QUIET, lineWidth: 1, lineStyle: 2 }, 0);
    this.upper = this.add(LineSeries, { ...QUIET, lineWidth: 1 }, 0, (row) => point(row.time, bandOf(row)?.[0]));
    this.lower = this.add(LineSeries, { ...QUIET, lineWidth: 1 }, 0, (row) => point(row.time, bandOf(row)?.[1]));
    this.spread = this.line("spread", {}, 0);
    this.spread.attachPrimitive(new Band((range) => this.within(range), bandOf, () => faded(this.paint.band, 0.1)));
  }

  addZ() {
    this.z = this.line("z_score", {}, 1);
    this.thresholds = [];
    this.markers = createSeriesMarkers(this.z, []);
    this.z.applyOptions({
      autoscaleInfoProvider: (original) => {
        const found = original()?.priceRange ?? { minValue: 0, maxValue: 0 };
        const least = this.rules.entry + 0.5;
        return { priceRange: { minValue: Math.min(-least, found.minValue), maxValue: Math.max(least, found.maxValue) } };
      },
    });
  }

  addTests() {
    this.pvalue = this.line("adf_pvalue", { lineType: WITH_STEPS, autoscaleInfoProvider: () => ({ priceRange: { minValue: 0, maxValue: 1 } }) }, 4);
    this.significant = this.pvalue.createPriceLine({ price: SIGNIFICANT, lineWidth: 1, lineStyle: 2, axisLabelVisible: true, title: "" });
    this.halfLife = this.add(LineSeries, { ...QUIET, lineWidth: 1.5, lastValueVisible: true }, 5, (row) => point(row.time, row.half_life > 0 ? row.half_life : null));
    this.halfLife.priceScale().applyOptions({ mode: IN_LOGS });
  }

  /** Other thresholds: {entry, exit}. */
  setRules(rules) {
    this.rules = rules;
    this.dress(this.clock);
  }

  drawThresholds() {
    const { down, muted, panel } = this.paint;
    const { entry, exit } = this.rules;
    for (const line of this.thresholds) this.z.removePriceLine(line);
    this.thresholds = [...new Set([entry, -entry, exit, -exit, 0])].filter((price) => !Object.is(price, -0)).map((price) => this.z.createPriceLine({
      price, lineWidth: 1, lineStyle: Math.abs(price) === entry ? 2 : 3, title: "", axisLabelVisible: Math.abs(price) === entry,
      color: faded(Math.abs(price) === entry ? down : muted, 0.7), axisLabelColor: down, axisLabelTextColor: panel,
    }));
  }

  colour() {
    const { one, two, band, z, muted, down } = this.paint;
    for (const edge of [this.mean, this.upper, this.lower]) edge.applyOptions({ color: faded(band, 0.8) });
    this.spread.applyOptions({ color: one });
    this.z.applyOptions({ color: z });
    this.drawThresholds();
    this.pvalue.applyOptions({ color: z });
    this.significant.applyOptions({ color: faded(down, 0.75), axisLabelColor: down, axisLabelTextColor: this.paint.panel });
    this.halfLife.applyOptions({ color: one });
    this.returns.applyOptions({ color: faded(band, 0.8) });
    this.correlation.applyOptions({ color: two });
    this.hedge.applyOptions({ color: one });
    this.first.applyOptions({ color: one, baseLineColor: faded(muted, 0.5), baseLineStyle: 3 });
    this.second.applyOptions({ color: two });
  }

  drawAll() {
    this.precision();
    super.drawAll();
    this.mark();
  }

  drawChanged(times) {
    super.drawChanged(times);
    if (times.some((time) => Math.abs(this.rows.at(time)?.z_score ?? 0) >= this.rules.entry) || this.inside()) this.mark();
  }

  /** True while a position of the marks is open, so that its end is looked for. */
  inside() { return this.marked?.at(-1)?.enter ?? false; }

  mark() {
    this.marked = crossings(this.rows.all, this.rules);
    const { up, down, muted } = this.paint;
    this.markers.setMarkers(this.marked.map(({ time, enter, side }) => (enter
      ? { time, position: side > 0 ? "aboveBar" : "belowBar", shape: side > 0 ? "arrowDown" : "arrowUp", color: side > 0 ? down : up, size: 0.8 }
      : { time, position: "inBar", shape: "circle", color: muted, size: 0.4 })));
  }

  precision() {
    const rows = this.rows.all.slice(-50);
    const format = (precision) => ({ priceFormat: { type: "price", precision, minMove: 10 ** -precision } });
    this.digits = [priceDigits(rows.map((row) => row.symbol1_price)), priceDigits(rows.map((row) => row.symbol2_price))];
    for (const line of [this.correlation, this.returns, this.pvalue]) line.applyOptions(format(3));
    this.halfLife.applyOptions(format(1));
    const ratio = Math.abs(rows.findLast((row) => row.hedge_ratio !== null)?.hedge_ratio ?? 1);
    this.hedge.applyOptions({ priceFormat: axisFormat(ratio, ratio >= 100 ? 2 : 3) });
    const spread = Math.max(...rows.map((row) => Math.abs(row.spread ?? 0)), 0);
    for (const line of [this.spread, this.mean, this.upper, this.lower]) line.applyOptions({ priceFormat: axisFormat(spread) });
  }

  /** Each legend stands on its pane. */
  arrange() {
    const top = this.box.getBoundingClientRect().top;
    this.chart.panes().forEach((pane, at) => {
      const element = pane.getHTMLElement();
      if (element) this.legends[at].style.top = `${element.getBoundingClientRect().top - top + 5}px`;
    });
  }

  /** Before the windows are full there is little to see: say how long it takes. */
  filling() {
    const row = this.rows.last;
    const missing = row && row.z_score === null && this.atStart ? 2 * this.window - 1 - this.rows.length : 0;
    this.note ??= this.box.appendChild(el("p", { className: "filling" }));
    this.note.hidden = missing <= 0;
    say(this.note, missing <= 0 ? "" : row.hedge_ratio === null
      ? `The window of ${this.window} bars is not full: the hedge ratio comes in ${this.window - this.rows.length} bars, the z-score in ${missing}.`
      : `The z-score comes when the window holds ${this.window} spreads, in ${missing} bars.`);
  }

  drawn() {
    this.filling();
    if (this.arranged || !this.rows.length) return;
    this.arranged = true;
    requestAnimationFrame(() => requestAnimationFrame(() => this.arrange()));
  }

  legend(row, pointed) {
    const test = row ? tested(this.rows.all, this.rows.find(row.time)) : null;
    const when = pointed ? this.clock.moment(row.time) : "";
    const texts = paneTexts(row, { legs: this.legs, rules: this.rules, test, digits: this.digits, when });
    texts.forEach((parts, at) => write(this.legends[at], parts));
  }
}

const point = (time, value) => (value === null || value === undefined ? { time } : { time, value });
