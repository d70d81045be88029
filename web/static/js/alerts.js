/* Alerts: the list with what can be done about each, its history, and notices when one is triggered. */

import { $, el, settled, unpressed } from "./dom.js";
import { get, post, remove } from "./api.js";
import { eventOf, optionsOf, subjectOf, textOf, whatOf } from "./alerttexts.js";
import { seconds, statistic } from "./format.js";
import { announce, notice } from "./notices.js";

const AT_MOST = 200;
const EVENTS_AT_MOST = 20;
const PATH = "/api/analytics/alerts";

/** Transitions that people are told of at once; the others are in the list and the history. */
const TOLD = { triggered: "", repeated: "Still", cleared: "Over:", expired: "Expired:" };
const GONE = ["expired", "resolved"];

export class Alerts {
  /** `changed(alerts)`: told when the list is another; `clock()`. */
  constructor({ changed, clock }) {
    Object.assign(this, { changed, clock });
    this.all = [];
    this.histories = new Map(); // by alert, or "all": the events that are shown below it
    this.load = settled(() => this.fetch(), 250);
    $("alert-history").addEventListener("click", () => this.toggle("all"));
    this.fetch();
  }

  async fetch() {
    const turn = this.turn = (this.turn ?? 0) + 1;
    try {
      const { alerts } = await get(`${PATH}/`, { limit: AT_MOST });
      if (turn !== this.turn) return; // it was asked again since: that answer is newer, though it may have come sooner
      this.all = alerts.sort((a, b) => (b.status === "triggered") - (a.status === "triggered") || b.id - a.id);
      this.failures = 0;
      await Promise.all([...this.histories.keys()].map((key) => this.read(key)));
    } catch (failure) {
      if (turn !== this.turn) return;
      this.failures = (this.failures ?? 0) + 1;
      if (!this.all.length) $("alert-list").replaceChildren(el("li", { className: "none" }, `The alerts can not be read: ${failure.message}`));
      setTimeout(this.load, Math.min(15000, 1000 * 2 ** this.failures));
      return;
    }
    this.draw();
    this.changed(this.all);
  }

  /** What alerts that can still fire are about. */
  get subjects() { return [...new Set(this.all.filter((alert) => !GONE.includes(alert.status)).map((alert) => alert.symbol_pair))]; }

  draw() { unpressed($("alert-list"), () => this.replace()); }

  replace() {
    const focused = document.activeElement?.closest("#alert-list li") && [document.activeElement.closest("li").dataset.id, document.activeElement.dataset.do];
    const items = this.all.map((alert) => this.item(alert));
    $("alert-list").replaceChildren(...(items.length ? items : [el("li", { className: "none" }, "None yet. An alert is looked at whenever a bar closes, and told here at once. A click on a chart makes one at that level.")]));
    if (focused) $("alert-list").querySelector(`li[data-id="${focused[0]}"] [data-do="${focused[1]}"]`)?.focus();
    $("alert-events").replaceChildren(...(this.histories.has("all") ? [this.history("all")] : []));
    $("alert-history").setAttribute("aria-expanded", String(this.histories.has("all")));
  }

  item(alert) {
    const what = whatOf(alert);
    const fired = alert.triggered_at ? `last ${this.clock().full(seconds(alert.triggered_at))} at ${statistic(alert.trigger_value)}` : "not triggered yet";
    const silent = alert.silenced_until ? `; silent until ${this.clock().full(seconds(alert.silenced_until))}` : "";
    const button = (name, text, work) => el("button", { type: "button", className: "quiet", "data-do": name, "aria-label": `${text} alert ${alert.id}: ${what}`, onclick: (event) => work(event.currentTarget) }, text);
    const act = (name) => (pressed) => this.act(alert, name, pressed);
    return el("li", { "data-id": String(alert.id), className: alert.status },
      el("p", {}, what, el("small", {}, `${optionsOf(alert)}; ${fired}${silent}`), alert.note ? el("small", { className: "said" }, alert.note) : null),
      el("span", { className: "chips" }, el("span", { className: `chip ${alert.status}` }, alert.status), el("span", { className: `chip ${alert.severity}` }, alert.severity)),
      el("span", { className: "deeds" },
        alert.status === "triggered" ? button("ack", "Acknowledge", act("ack")) : null,
        alert.status === "paused" ? button("resume", "Resume", act("resume")) : GONE.includes(alert.status) ? null : button("pause", "Pause", act("pause")),
        button("history", this.histories.has(alert.id) ? "Hide history" : "History", () => this.toggle(alert.id)),
        button("delete", "Delete", act("delete"))),
      this.histories.has(alert.id) ? this.history(alert.id) : null);
  }

  history(key) {
    const events = this.histories.get(key);
    const line = (event) => el("li", {},
      el("time", { datetime: event.timestamp }, this.clock().full(seconds(event.timestamp))),
      el("span", {}, key === "all" ? `${subjectOf(event.symbol_pair)} ${textOf(event.alert_type)}: ${eventOf(event)}` : eventOf(event)));
    return el("ol", { className: "events", "aria-label": key === "all" ? "History of all alerts" : `History of alert ${key}` },
      ...(events.length ? events.map(line) : [el("li", {}, "Nothing has happened yet.")]));
  }

  async toggle(key) {
    if (this.histories.delete(key)) { this.draw(); return; }
    try {
      await this.read(key);
    } catch (failure) {
      notice(`The history can not be read: ${failure.message}`);
    }
    this.draw();
  }

  async read(key) {
    const path = key === "all" ? `${PATH}/events/` : `${PATH}/${key}/events/`;
    try {
      this.histories.set(key, (await get(path, { limit: EVENTS_AT_MOST })).events);
    } catch (failure) {
      this.histories.delete(key);
      if (failure.status !== 404) throw failure;
    }
  }

  async act(alert, name, button) {
    button.disabled = true;
    try {
      if (name === "delete") await remove(`${PATH}/${alert.id}/delete/`);
      else await post(`${PATH}/${alert.id}/${name}/`, {});
    } catch (failure) {
      if (failure.status !== 404) notice(`Alert ${alert.id}: ${failure.message}`);
    }
    if (name === "delete") this.histories.delete(alert.id);
    await this.fetch();
  }

  /** A live event. */
  hear(event) {
    this.load();
    const what = `${subjectOf(event.symbol_pair)} ${textOf(event.alert_type)} ${event.threshold}`;
    if (!(event.transition in TOLD) || event.silenced) return;
    const now = ["triggered", "repeated"].includes(event.transition) && event.value !== null ? `: now ${statistic(event.value)}` : "";
    announce(`${TOLD[event.transition]} ${what}${now}`.trim(), `${event.timeframe} bar of ${this.clock().full(seconds(event.timestamp))}`, event.transition);
  }
}
