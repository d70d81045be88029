/* What alerts are called on the page. Pure. */

import { statistic } from "./format.js";

const TEXTS = {
  zscore_high: ["z-score above", 2], zscore_low: ["z-score below minus", 2], zscore_abs: ["|z-score| above", 2],
  correlation_break: ["correlation below", 0.5], spread_above: ["spread above", null], spread_below: ["spread below", null],
  volume_spike: ["volume over mean of 20, above", 3], price_movement: ["move in % above", 0.5],
  price_above: ["price above", null], price_below: ["price below", null],
  cointegration_lost: ["cointegration lost, p above", 0.05], feed_stale: ["seconds without a trade,", 30], gap: ["missing ids, more than", 0],
};

export const textOf = (type) => TEXTS[type]?.[0] ?? type.replaceAll("_", " ");

/** A threshold to begin with, or null where it depends on where the value stands. */
export const usualOf = (type) => TEXTS[type]?.[1] ?? null;

export const subjectOf = (name) => name.replaceAll("_", " / ");

export function whatOf(alert) {
  const { threshold = usualOf(alert.alert_type) ?? "", window: bars, method } = alert.condition;
  const series = method || (bars && alert.symbol_pair.includes("_")) ? ` (${[bars, method].filter(Boolean).join(" ")})` : "";
  return `${subjectOf(alert.symbol_pair)}${series} ${textOf(alert.alert_type)} ${threshold}`;
}

const OPTIONS = {
  for_bars: (value) => `for ${value} bars`, for_s: (value) => `for ${value} s`, clear: (value) => `over at ${value}`,
  cooldown_s: (value) => `rests ${value} s`, repeat_s: (value) => `repeats each ${value} s`, once: (value) => (value ? "once" : ""),
};

/** "1s bars, for 3 bars, over at 1". */
export function optionsOf(alert) {
  const said = Object.entries(OPTIONS).map(([name, text]) => (alert.condition[name] == null ? "" : text(alert.condition[name])));
  return [`${alert.timeframe} bars`, ...said].filter(Boolean).join(", ");
}

/** A transition in the history, in words. */
export function eventOf(event) {
  const value = event.value === null || event.value === undefined ? "" : ` at ${statistic(event.value)}`;
  const more = [event.silenced ? "silenced" : "", event.details?.late ? "late" : "", event.details?.note ?? ""].filter(Boolean).join(", ");
  return `${event.transition}${value}${more ? ` (${more})` : ""}`;
}
