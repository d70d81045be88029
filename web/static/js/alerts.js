/* Alerts: the form, the list, and notices when one is triggered. */

import { $, el, settled } from "./dom.js";
import { get, post, remove } from "./api.js";
import { seconds, statistic } from "./format.js";
import { announce, notice } from "./notices.js";

const TEXTS = {
  zscore_high: ["z-score above", 2], zscore_low: ["z-score below minus", 2], zscore_abs: ["|z-score| above", 2],
  correlation_break: ["correlation below", 0.5], spread_above: ["spread above", null], spread_below: ["spread below", null],
  volume_spike: ["volume over mean of 20, above", 3], price_movement: ["move in % above", 0.5],
  price_above: ["price above", null], price_below: ["price below", null],
  cointegration_lost: ["cointegration lost, p above", 0.05], feed_stale: ["seconds without a trade,", 30], gap: ["missing ids, more than", 0],
};
const FIELDS = { symbol_pair: "alert-subject", alert_type: "alert-type", "condition.threshold": "alert-threshold", "condition.timeframe": "alert-timeframe" };
const AT_MOST = 200;

/** Transitions that people are told of at once; the others are in the list and the history. */
const TOLD = { triggered: "", repeated: "Still", cleared: "Over:", expired: "Expired:" };
const thresholdOf = (alert) => alert.condition.threshold ?? TEXTS[alert.alert_type]?.[1] ?? "";

const textOf = (type) => TEXTS[type]?.[0] ?? type.replaceAll("_", " ");

export class Alerts {
  /** `choices()`: {pairs, symbols, view, last(name)}; `subjects(names)`: told what the alerts in the list are about. */
  constructor({ choices, subjects, clock }) {
    Object.assign(this, { choices, subjects, clock });
    this.all = [];
    this.load = settled(() => this.fetch(), 250);
    for (const option of $("alert-type").options) option.textContent = textOf(option.value);
    $("alert-type").addEventListener("change", () => { this.fill(); this.suggest(); });
    $("alert-form").addEventListener("submit", (event) => { event.preventDefault(); this.create(); });
    this.fetch();
  }

  /** Subjects that fit the chosen type; what is looked at comes first to hand. */
  fill() {
    const { pairs, symbols, view } = this.choices();
    const ofPair = $("alert-type").selectedOptions[0].dataset.of === "pair";
    const names = ofPair ? pairs : symbols;
    const wanted = [$("alert-subject").value, ofPair ? view.pair : view.symbol].find((name) => names.includes(name)) ?? names[0];
    $("alert-subject").replaceChildren(...names.map((name) => el("option", { value: name }, name.replace("_", "/"))));
    if (wanted) $("alert-subject").value = wanted;
  }

  /** A threshold to begin with: the usual one, or where the value stands now. */
  suggest() {
    const usual = TEXTS[$("alert-type").value]?.[1];
    const now = this.choices().last($("alert-type").value);
    $("alert-threshold").value = usual ?? (now === null ? "" : String(now));
  }

  async create() {
    const [button, fault] = [$("alert-form").querySelector("button"), $("alert-fault")];
    for (const id of Object.values(FIELDS)) $(id).removeAttribute("aria-invalid");
    fault.textContent = "";
    button.disabled = true;
    const condition = { threshold: $("alert-threshold").valueAsNumber, timeframe: $("alert-timeframe").value };
    if ($("alert-once").checked) condition.once = true;
    try {
      const made = await post("/api/analytics/alerts/create/", { alert_type: $("alert-type").value, symbol_pair: $("alert-subject").value, condition });
      notice(`Alert ${made.id} is set: ${made.symbol_pair.replace("_", " / ")} ${textOf(made.alert_type)} ${thresholdOf(made)}`);
      await this.fetch();
    } catch (failure) {
      fault.textContent = failure.message;
      const field = $(FIELDS[failure.field] ?? "");
      field?.setAttribute("aria-invalid", "true");
      field?.focus();
    }
    button.disabled = false;
  }

  async fetch() {
    try {
      this.all = (await get("/api/analytics/alerts/", { limit: AT_MOST })).alerts;
      this.failures = 0;
    } catch (failure) {
      this.failures = (this.failures ?? 0) + 1;
      if (!this.all.length) $("alert-list").replaceChildren(el("li", { className: "none" }, `The alerts can not be read: ${failure.message}`));
      setTimeout(this.load, Math.min(15000, 1000 * 2 ** this.failures));
      return;
    }
    this.draw();
    this.subjects([...new Set(this.all.filter((alert) => alert.status !== "expired").map((alert) => alert.symbol_pair))]);
  }

  draw() {
    const items = this.all.map((alert) => this.item(alert));
    $("alert-list").replaceChildren(...(items.length ? items : [el("li", { className: "none" }, "None yet. An alert is looked at whenever a bar closes, and told here at once.")]));
  }

  item(alert) {
    const what = `${alert.symbol_pair.replace("_", " / ")} ${textOf(alert.alert_type)} ${thresholdOf(alert)}`;
    const fired = alert.triggered_at ? `last ${this.clock().full(seconds(alert.triggered_at))} at ${statistic(alert.trigger_value)}` : "not triggered yet";
    const gone = el("button", { type: "button", className: "quiet", "aria-label": `Delete alert ${alert.id}: ${what}`, onclick: () => this.delete(alert, gone) }, "Delete");
    return el("li", { "data-id": String(alert.id) },
      el("p", {}, what, el("small", {}, `${alert.timeframe} bars${alert.condition.once ? ", once" : ""}; ${fired}`)),
      el("span", { className: `chip ${alert.status}` }, alert.status), gone);
  }

  async delete(alert, button) {
    button.disabled = true;
    try {
      await remove(`/api/analytics/alerts/${alert.id}/delete/`);
    } catch (failure) {
      if (failure.status !== 404) notice(`Alert ${alert.id} was not deleted: ${failure.message}`);
    }
    await this.fetch();
  }

  /** A live event. */
  hear(event) {
    this.load();
    const what = `${event.symbol_pair.replace("_", " / ")} ${textOf(event.alert_type)} ${event.threshold}`;
    if (!(event.transition in TOLD) || event.silenced) return;
    const now = ["triggered", "repeated"].includes(event.transition) && event.value !== null ? `: now ${statistic(event.value)}` : "";
    announce(`${TOLD[event.transition]} ${what}${now}`.trim(), `${event.timeframe} bar of ${this.clock().full(seconds(event.timestamp))}`, event.transition);
  }
}
