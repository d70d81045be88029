/* What the price chart and the pair chart share: rows drawn as series, scrolling back, keyboard, going back to live. */

import { eachFrame, el, prose } from "./dom.js";
import { chartOptions, colours, FREE_BARS } from "./colours.js";
import { Places } from "./places.js";
import { chartIn } from "./timeaxis.js";

const { LineSeries } = window.LightweightCharts;

const UPDATES_AT_MOST = 60; // past it, one setData is cheaper
const NEAR_THE_START = 30; // bars left of the view at which older ones are asked for
export const LOADING = "Loading …";
const BARS_IN_VIEW = { wide: 240, narrow: 90 };

export class RowsChart {
  /** `rows`: Rows; `stepS()`: seconds between two; `older()`: asked for when the view comes near the first row; `live()`: asked for by "Go to live"; `seen()`: told whenever it has drawn. */
  constructor(box, rows, button, { stepS, older, live, seen = () => {} }) {
    Object.assign(this, { box, rows, button, older, live, seen, beside: [], places: new Places(stepS) });
    this.lines = []; // [series, row -> point]
    this.drawnTo = -Infinity;
    this.framed = false;
    this.paint = colours();
    this.redraw = eachFrame(() => this.draw());
    box.addEventListener("keydown", (event) => this.key(event));
    button.addEventListener("click", () => [this, ...this.beside].forEach((chart) => chart.catchUp()));
  }

  make(clock) {
    this.clock = clock;
    this.chart = chartIn(this.box, { autoSize: true, ...chartOptions(this.paint, clock) });
    this.empty = this.chart.addSeries(LineSeries, { priceScaleId: "", lastValueVisible: false, priceLineVisible: false });
    this.chart.subscribeCrosshairMove((move) => this.point(move.time));
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => this.scrolled(range));
  }

  add(kind, options, pane, toPoint) {
    const series = this.chart.addSeries(kind, options, pane);
    this.lines.push([series, toPoint]);
    return series;
  }

  /** Theme or zone changed. */
  dress(clock) {
    this.clock = clock;
    this.paint = colours();
    this.chart.applyOptions(chartOptions(this.paint, clock));
    this.colour();
    this.rows.rebuilt = true;
    this.redraw();
  }

  draw() {
    const { rows } = this;
    const times = [...rows.changed].sort((a, b) => a - b);
    if (!rows.rebuilt && !times.length) return;
    if (rows.rebuilt || times.length > UPDATES_AT_MOST || this.places.isFull) this.drawAll();
    else this.drawChanged(times);
    rows.settle();
    this.drawn();
    this.read();
    this.seen();
  }

  drawAll() {
    const { all } = this.rows;
    this.empty.setData(this.places.lay(all).map(atTime)); // first: what grows at the right moves the view, and rows begin further left
    for (const [series, toPoint] of this.lines) series.setData(all.map(toPoint));
    this.drawnTo = this.rows.last?.time ?? -Infinity;
    if (all.length && !this.framed) this.frame();
  }

  drawChanged(times) {
    for (const time of times) {
      const row = this.rows.at(time);
      if (!row) continue;
      for (const empty of this.places.extend(time)) this.empty.update(atTime(empty));
      for (const [series, toPoint] of this.lines) series.update(toPoint(row), time < this.drawnTo);
      this.drawnTo = Math.max(this.drawnTo, time);
    }
  }

  /** Rows in a view {from, to}, and one more at each end. */
  within({ from, to }) {
    const [first, last] = [from, to].map((index) => this.rows.find(this.places.timeAt(index)));
    return this.rows.all.slice(Math.max(0, first - 1), last + 2);
  }

  /** The first view of a series: its newest bars. */
  frame() {
    const bars = this.box.clientWidth > 700 ? BARS_IN_VIEW.wide : BARS_IN_VIEW.narrow;
    const end = this.places.length + FREE_BARS;
    this.framed = true;
    this.chart.timeScale().setVisibleLogicalRange({ from: end - Math.max(30, Math.min(bars, end)), to: end });
  }

  /** To the newest rows, which have to be loaded again where they were let go. */
  catchUp() { return this.rows.detached ? this.live() : this.goLive(); }

  /** At once: the library's animation ends short of its aim where a frame takes long. */
  goLive() { this.chart.timeScale().scrollToPosition(FREE_BARS, false); }

  /** Newer rows went: the view stays where it is in time. */
  keep(view) {
    this.draw();
    this.chart.timeScale().setVisibleRange(view);
  }

  /** Another series: nothing of the old one may be seen. */
  restart() {
    this.rows.clear();
    this.framed = false;
    this.atStart = false;
    this.draw();
  }

  scrolled(range) {
    if (!range) return;
    this.button.hidden = !(this.rows.detached || range.to < this.places.length - 1);
    if (range.from < NEAR_THE_START && this.rows.length && this.framed && !this.atStart) this.older();
  }

  /** The legend tells of a time from now on; undefined: of the newest row. */
  point(time) {
    this.pointed = time;
    this.read();
  }

  read() {
    const pointed = this.pointed === undefined ? undefined : this.rows.at(this.pointed);
    this.legend(pointed ?? this.rows.last, pointed !== undefined);
  }

  key(event) {
    const scale = this.chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    if (!range || event.ctrlKey || event.metaKey || event.altKey) return;
    const width = range.to - range.from;
    const by = { ArrowLeft: [-0.1, -0.1], ArrowRight: [0.1, 0.1], "+": [0.15, 0], "=": [0.15, 0], "-": [-0.2, 0] }[event.key];
    if (event.key === "End") this.goLive();
    else if (by) scale.setVisibleLogicalRange({ from: range.from + by[0] * width, to: range.to + by[1] * width });
    else return;
    event.preventDefault();
  }

  /** Instead of the chart: a sentence (`code` in backticks) and perhaps a button; null shows the chart. */
  tell(sentence, { loading = false, action = null } = {}) {
    this.cover ??= this.box.appendChild(el("div", { className: "empty", role: "status" }));
    this.cover.hidden = sentence === null;
    this.box.classList.toggle("bare", sentence !== null && sentence !== LOADING);
    if (sentence === null || this.told === sentence) { this.told = sentence; return; }
    this.told = sentence;
    this.cover.classList.toggle("loading", loading);
    this.cover.replaceChildren(el("p", {}, ...prose(sentence)), ...(action ? [action] : []));
  }

  colour() {}

  drawn() {}

  legend() {}
}

const atTime = (time) => ({ time });
