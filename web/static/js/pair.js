/* A pair in five panes over one time axis: spread with bands, z-score, hedge ratio, correlation, and both legs in percent. */

import { $, el, say } from "./dom.js";
import { faded } from "./colours.js";
import { RowsChart } from "./chart.js";
import { Band } from "./band.js";
import { NONE, number, priceDigits, seconds, statistic } from "./format.js";

const { LineSeries, createSeriesMarkers } = window.LightweightCharts;
export const BAND_SDS = 2;
export const Z_THRESHOLD = 2;
const HEIGHTS = [3, 2.4, 1.5, 1.5, 2];
const IN_PERCENT = 2;
const QUIET = { lastValueVisible: false, priceLineVisible: false, crosshairMarkerVisible: false };

export const toPairRow = (body) => ({ ...body, time: seconds(body.timestamp) });

/** [upper, lower] of the band of a row, or null until its window is full. */
export function bandOf(row) {
  if (row.rolling_mean === null || row.rolling_std === null) return null;
  return [row.rolling_mean + BAND_SDS * row.rolling_std, row.rolling_mean - BAND_SDS * row.rolling_std];
}

/** Where a trader would enter (|z| comes past the threshold) and leave (z comes back through 0). */
export function crossings(rows, threshold = Z_THRESHOLD) {
  const marks = [];
  let side = 0;
  for (const { time, z_score: z } of rows) {
    if (z === null) continue;
    if (side === 0 && Math.abs(z) >= threshold) marks.push({ time, enter: true, side: (side = Math.sign(z)) });
    else if (side !== 0 && z * side <= 0) { marks.push({ time, enter: false, side }); side = 0; }
  }
  return marks;
}

export class PairChart extends RowsChart {
  constructor(rows, hooks, clock) {
    super($("pair-chart"), rows, $("pair-golive"), hooks);
    this.make(clock);
    this.addSpread();
    this.addZ();
    this.hedge = this.line("hedge_ratio", {}, 2);
    this.correlation = this.line("correlation", {}, 3);
    this.second = this.line("symbol2_price", { baseLineVisible: false }, 4);
    this.first = this.line("symbol1_price", {}, 4);
    this.first.priceScale().applyOptions({ mode: IN_PERCENT });
    this.chart.panes().forEach((pane, at) => pane.setStretchFactor(HEIGHTS[at]));
    this.legends = HEIGHTS.map(() => this.box.appendChild(el("div", { className: "pane-legend" })));
    new ResizeObserver(() => requestAnimationFrame(() => this.arrange())).observe(this.box);
    this.colour();
  }

  line(name, options, pane) {
    return this.add(LineSeries, { lineWidth: 1.5, ...QUIET, lastValueVisible: true, ...options }, pane, (row) => point(row.time, row[name]));
  }

  addSpread() {
    this.mean = this.line("rolling_mean", { ...QUIET, lineWidth: 1, lineStyle: 2 }, 0);
    this.upper = this.add(LineSeries, { ...QUIET, lineWidth: 1 }, 0, (row) => point(row.time, bandOf(row)?.[0]));
    this.lower = this.add(LineSeries, { ...QUIET, lineWidth: 1 }, 0, (row) => point(row.time, bandOf(row)?.[1]));
    this.spread = this.line("spread", {}, 0);
    this.spread.attachPrimitive(new Band(() => this.rows.all, bandOf, () => faded(this.paint.band, 0.1)));
  }

  addZ() {
    this.z = this.line("z_score", {}, 1);
    this.thresholds = [Z_THRESHOLD, 0, -Z_THRESHOLD].map((price) =>
      this.z.createPriceLine({ price, lineWidth: 1, lineStyle: price ? 2 : 3, axisLabelVisible: price !== 0, title: "" }));
    this.markers = createSeriesMarkers(this.z, []);
    this.z.applyOptions({
      autoscaleInfoProvider: (original) => {
        const found = original()?.priceRange ?? { minValue: 0, maxValue: 0 };
        return { priceRange: { minValue: Math.min(-2.5, found.minValue), maxValue: Math.max(2.5, found.maxValue) } };
      },
    });
  }

  colour() {
    const { one, two, band, z, muted, down } = this.paint;
    for (const edge of [this.mean, this.upper, this.lower]) edge.applyOptions({ color: faded(band, 0.8) });
    this.spread.applyOptions({ color: one });
    this.z.applyOptions({ color: z });
    this.thresholds.forEach((line) => line.applyOptions(line.options().price
      ? { color: faded(down, 0.75), axisLabelColor: down, axisLabelTextColor: this.paint.panel } : { color: faded(muted, 0.6) }));
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
    if (times.some((time) => Math.abs(this.rows.at(time)?.z_score ?? 0) >= Z_THRESHOLD) || this.inside()) this.mark();
  }

  /** True while a position of the marks is open, so that its end is looked for. */
  inside() { return this.marked?.at(-1)?.enter ?? false; }

  mark() {
    this.marked = crossings(this.rows.all);
    const { up, down, muted } = this.paint;
    this.markers.setMarkers(this.marked.map(({ time, enter, side }) => (enter
      ? { time, position: side > 0 ? "aboveBar" : "belowBar", shape: side > 0 ? "arrowDown" : "arrowUp", color: side > 0 ? down : up, size: 0.8 }
      : { time, position: "inBar", shape: "circle", color: muted, size: 0.4 })));
  }

  precision() {
    const rows = this.rows.all.slice(-50);
    const format = (precision) => ({ priceFormat: { type: "price", precision, minMove: 10 ** -precision } });
    this.digits = [priceDigits(rows.map((row) => row.symbol1_price)), priceDigits(rows.map((row) => row.symbol2_price))];
    this.correlation.applyOptions(format(3));
    const ratio = rows.findLast((row) => row.hedge_ratio !== null)?.hedge_ratio ?? 1;
    this.hedge.applyOptions(format(Math.abs(ratio) >= 100 ? 2 : Math.abs(ratio) >= 1 ? 3 : 5));
    const spread = Math.max(...rows.map((row) => Math.abs(row.spread ?? 0)), 0);
    for (const line of [this.spread, this.mean, this.upper, this.lower]) line.applyOptions(format(spread >= 1 || spread === 0 ? 2 : 5));
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
    const [one, two] = this.legs ?? ["", ""];
    const of = (name) => (row ? statistic(row[name]) : NONE);
    const when = pointed ? this.clock.time(row.time) : "";
    write(this.legends[0], [["Spread", of("spread"), "one"], ["mean", of("rolling_mean")], [`± ${BAND_SDS} sd`, row?.rolling_std == null ? NONE : statistic(BAND_SDS * row.rolling_std)], [when, ""]]);
    write(this.legends[1], [["z-score", row?.z_score == null ? NONE : number(row.z_score, 3), "z"], ["entry at", `± ${Z_THRESHOLD}`]]);
    write(this.legends[2], [["Hedge ratio", of("hedge_ratio"), "one"]]);
    write(this.legends[3], [["Correlation", row?.correlation == null ? NONE : number(row.correlation, 4), "two"]]);
    write(this.legends[4], [[one, row ? number(row.symbol1_price, this.digits?.[0]) : NONE, "one"], [two, row ? number(row.symbol2_price, this.digits?.[1]) : NONE, "two"], ...notes(row)]);
  }
}

const point = (time, value) => (value === null || value === undefined ? { time } : { time, value });

function notes(row) {
  const found = [];
  if (row?.carried) found.push([`${row.carried} carried`, ""]);
  if (row?.has_gap) found.push(["uses a bar with a gap", ""]);
  return found;
}

function write(box, parts) {
  while (box.children.length > parts.length) box.lastChild.remove();
  while (box.children.length < parts.length) box.append(el("span", {}, "", el("b")));
  parts.forEach(([name, value, kind = ""], at) => {
    const [text, bold] = box.children[at].childNodes;
    const label = value === "" ? name : `${name} `;
    if (text.data !== label) text.data = label;
    say(bold, value);
    if (bold.className !== kind) bold.className = kind;
  });
}
