/* REST pages into Rows: the newest, what was missed, older ones when the view scrolls back. Retries what passes by itself. */

import { get } from "./api.js";
import { LOADING } from "./chart.js";

const PAGE = 1000;
const FRESH_MS = 60000; // a load younger than this only needs what came after it
const OVERLAP_BARS = 5;
const RETRY_MS = [500, 1000, 2000, 4000, 8000];

export class Loader {
  /** `query()`: the series in view; `pick(answer)`: its rows, oldest first; `empty()`: what to show instead of none: [sentence, options]. */
  constructor({ path, rows, chart, query, stepS, pick, empty }) {
    Object.assign(this, { path, rows, chart, query, stepS, pick, empty });
    this.turn = new AbortController();
    this.loadedMs = 0;
  }

  /** Another series is in view. */
  restart() {
    this.turn.abort();
    this.turn = new AbortController();
    this.loadedMs = 0;
    this.failures = 0;
    this.fetchingOlder = false;
    this.rows.journal = null;
    this.chart.restart();
    this.chart.tell(LOADING, { loading: true });
    return this.reload();
  }

  /** The newest page stands in place of what was there. */
  reload() {
    this.rows.note();
    return this.fetch({ limit: PAGE }, (page) => {
      this.rows.replace(page);
      this.chart.atStart = page.length < PAGE;
      if (!this.loadedMs) this.chart.framed = false; // live rows may have come, and been framed, before the page
      this.loadedMs = Date.now();
    });
  }

  /** What may have been missed. */
  catchUp() {
    if (this.rows.detached) return undefined;
    if (!this.rows.length || Date.now() - this.loadedMs > FRESH_MS) return this.reload();
    return this.fetch({ limit: PAGE, start: this.startBefore(this.rows.last.time) }, (page) => page.forEach((row) => this.rows.put(row)));
  }

  /** The newest rows again. */
  renew(bars) {
    if (this.rows.detached || !this.rows.length) return undefined;
    return this.fetch({ limit: bars }, (page) => page.forEach((row) => this.rows.put(row)));
  }

  startBefore(time) { return new Date((time - OVERLAP_BARS * this.stepS()) * 1000).toISOString(); }

  async older() {
    if (this.fetchingOlder || !this.rows.length || this.chart.atStart) return;
    this.fetchingOlder = true;
    const end = new Date(this.rows.first.time * 1000).toISOString();
    await this.fetch({ limit: PAGE, end }, (page) => {
      this.chart.atStart = page.length < PAGE;
      const view = this.chart.chart.timeScale().getVisibleRange();
      if (this.rows.putOlder(page) && view) this.chart.keep(view);
    });
    this.fetchingOlder = false;
  }

  /** One page; a series that is no longer in view is thrown away. */
  async fetch(range, take) {
    const { signal } = this.turn;
    try {
      const answer = await get(this.path, { ...this.query(), ...range, order: "asc" }, signal);
      if (signal.aborted) return;
      this.failures = 0;
      take(this.pick(answer));
      this.refresh();
    } catch (fault) {
      if (signal.aborted) return;
      this.failed(fault, range, take);
    }
  }

  failed(fault, range, take) {
    if (!this.rows.length) {
      const next = fault.passes ? " It is asked again by itself." : "";
      this.chart.tell(`${sentence(fault.message)}${next}`, { loading: fault.passes });
    }
    if (!fault.passes || range.end) return; // scrolling asks for history again
    const delayMs = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
    this.failures += 1;
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.fetch(range, take), delayMs * (0.7 + Math.random() * 0.6));
  }

  /** Rows came, from here or by an event. */
  refresh() {
    if (this.rows.length) this.chart.tell(null);
    else if (this.failures === 0) this.chart.tell(...this.empty());
    this.chart.redraw();
  }
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
