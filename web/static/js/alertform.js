/* The form that makes an alert: of any type, with its options; a chart may fill it in. */

import { $, el } from "./dom.js";
import { post } from "./api.js";
import { textOf, usualOf, whatOf } from "./alerttexts.js";
import { notice } from "./notices.js";
import { CONFIG, keyOf, seriesOf } from "./view.js";

const OPTIONS = ["for_bars", "clear", "cooldown_s", "repeat_s"];
const FIELDS = {
  symbol_pair: "alert-subject", alert_type: "alert-type", severity: "alert-severity", note: "alert-note", "condition.threshold": "alert-threshold",
  "condition.timeframe": "alert-timeframe", ...Object.fromEntries(OPTIONS.map((name) => [`condition.${name}`, `alert-${name}`])),
};

export class AlertForm {
  /** `choices()`: {series, symbols, view, last(type)}; `made(alert)`: one was created. */
  constructor({ choices, made }) {
    Object.assign(this, { choices, made });
    for (const option of $("alert-type").options) option.textContent = textOf(option.value);
    $("alert-type").addEventListener("change", () => { this.fill(); this.suggest(); });
    $("alert-form").addEventListener("submit", (event) => { event.preventDefault(); this.create(); });
  }

  get ofPair() { return $("alert-type").selectedOptions[0].dataset.of === "pair"; }

  /** Subjects that fit the chosen type; what is looked at comes first to hand. */
  fill() {
    const { series, symbols, view } = this.choices();
    if (!this.filled && !series.length) this.beginWithPrice();
    this.filled = true;
    const keys = [...new Set(series.map(keyOf))];
    const [names, seen] = this.ofPair ? [keys, keyOf(view)] : [symbols, view.symbol];
    const wanted = [$("alert-subject").value, seen].find((name) => names.includes(name)) ?? names[0];
    $("alert-subject").replaceChildren(...names.map((name) => el("option", { value: name }, this.ofPair ? textOfSeries(name) : name)));
    if (wanted) $("alert-subject").value = wanted;
    else $("alert-subject").append(el("option", { value: "" }, this.ofPair ? "no live pair" : "no symbol"));
  }

  /** There is no pair that an alert could be of. */
  beginWithPrice() {
    $("alert-type").value = "price_above";
    $("alert-threshold").value = "";
  }

  /** A threshold to begin with: the usual one, or where the value stands now. */
  suggest() {
    const type = $("alert-type").value;
    const value = usualOf(type) ?? this.choices().last(type);
    $("alert-threshold").value = value === null ? "" : String(value);
  }

  /** From a chart: {type, threshold} of what is in view. */
  propose({ type, threshold }) {
    const { view } = this.choices();
    $("alert-type").value = type;
    $("alert-subject").replaceChildren();
    this.fill();
    $("alert-threshold").value = String(threshold);
    $("alert-timeframe").value = view.timeframe;
    $("alert-form").scrollIntoView({ block: "center" });
    $("alert-form").querySelector("[type=submit]").focus();
  }

  condition() {
    const condition = { threshold: $("alert-threshold").valueAsNumber, timeframe: $("alert-timeframe").value };
    for (const name of OPTIONS) if ($(`alert-${name}`).value !== "") condition[name] = $(`alert-${name}`).valueAsNumber;
    if ($("alert-once").checked) condition.once = true;
    const { pair, window: bars, method } = seriesOf($("alert-subject").value);
    if (this.ofPair && (bars !== CONFIG.window || method !== "ols")) Object.assign(condition, { window: bars, method });
    return { condition, symbol_pair: pair };
  }

  async create() {
    const [button, fault] = [$("alert-form").querySelector("[type=submit]"), $("alert-fault")];
    for (const id of Object.values(FIELDS)) $(id).removeAttribute("aria-invalid");
    fault.textContent = "";
    button.disabled = true;
    try {
      const body = { alert_type: $("alert-type").value, ...this.condition(), severity: $("alert-severity").value, note: $("alert-note").value };
      const alert = await post("/api/analytics/alerts/create/", body);
      notice(`Alert ${alert.id} is set: ${whatOf(alert)}`);
      await this.made(alert);
    } catch (failure) {
      fault.textContent = failure.message;
      const field = $(FIELDS[failure.field] ?? "");
      if (field?.closest("details")) field.closest("details").open = true;
      field?.setAttribute("aria-invalid", "true");
      field?.focus();
    }
    button.disabled = false;
  }
}

function textOfSeries(key) {
  const { pair, window: bars, method } = seriesOf(key);
  return `${pair.replaceAll("_", "/")}${bars === CONFIG.window && method === "ols" ? "" : ` · ${bars} · ${method}`}`;
}
