/* Alerts on the charts: the levels of those that are set, and a new one from a click (or the key "a") at a level. */

import { el } from "./dom.js";
import { faded } from "./colours.js";
import { keyOf, CONFIG } from "./view.js";

const STAY_MS = 8000;
const SHOWN = ["active", "triggered", "acknowledged"];

/** The alert that a level of a pane suggests: {type, threshold}, or null. `last`: where the value stands now. */
export function alertAt(chart, pane, level, last, digits = 2) {
  const short = Number(level.toPrecision(4));
  if (chart === "price") return level > 0 ? { type: level >= last ? "price_above" : "price_below", threshold: Number(level.toFixed(digits)) } : null;
  if (pane === "spread") return { type: level >= last ? "spread_above" : "spread_below", threshold: short };
  if (pane === "z") return { type: level >= 0 ? "zscore_high" : "zscore_low", threshold: Math.abs(short) };
  if (pane === "correlation") return Math.abs(level) <= 1 ? { type: "correlation_break", threshold: short } : null;
  if (pane === "pvalue") return level >= 0 && level <= 1 ? { type: "cointegration_lost", threshold: short } : null;
  return null;
}

/** Let a click on panes of a chart offer an alert. `panes`: by index [name, series, last()]; `text(alert)`; `propose(alert)`. */
export function offerAlerts(kind, chart, panes, { text, propose }) {
  let timer;
  const offer = el("button", { type: "button", className: "offer", hidden: true });
  chart.box.append(offer);
  const hide = () => { offer.hidden = true; };
  const at = (index, level) => {
    const [name, , last] = panes[index];
    const digits = kind === "price" ? chart.digits : 2;
    return level === null || level === undefined ? null : alertAt(kind, name, level, last(), digits);
  };
  chart.chart.subscribeClick(({ point, paneIndex }) => {
    hide();
    const pane = point && panes[paneIndex];
    const alert = pane && at(paneIndex, pane[1].coordinateToPrice(point.y));
    if (!alert) return;
    const top = chart.chart.panes()[paneIndex].getHTMLElement().getBoundingClientRect().top - chart.box.getBoundingClientRect().top;
    offer.textContent = `+ Alert: ${text(alert)}`;
    offer.hidden = false;
    offer.style.top = `${Math.max(2, top + point.y - 28)}px`;
    offer.style.left = `${Math.max(4, Math.min(point.x - 20, chart.box.clientWidth - offer.offsetWidth - 84))}px`;
    offer.onclick = () => { hide(); propose(alert); };
    clearTimeout(timer);
    timer = setTimeout(hide, STAY_MS);
  });
  chart.box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
    if (event.key !== "a" || event.target !== chart.box || event.ctrlKey || event.metaKey || event.altKey) return;
    const alert = at(0, panes[0][2]());
    if (alert) propose(alert);
  });
}

/** The levels of alerts that can fire, as lines. */
export class AlertLines {
  /** `targets`: [series, types, ofPair]. */
  constructor(targets) {
    this.targets = targets;
    this.lines = [];
  }

  draw(alerts, view, paint) {
    for (const [series, line] of this.lines) series.removePriceLine(line);
    this.lines = this.targets.flatMap(([series, types, ofPair]) => alerts
      .filter((alert) => SHOWN.includes(alert.status) && types.includes(alert.alert_type) && about(alert, view, ofPair))
      .map((alert) => [series, series.createPriceLine(lineOf(alert, paint))]));
  }
}

function about(alert, view, ofPair) {
  if (!ofPair) return alert.symbol_pair === view.symbol;
  const { window: bars = CONFIG.window, method = "ols", timeframe = alert.timeframe } = alert.condition;
  return timeframe === view.timeframe && keyOf({ pair: alert.symbol_pair, window: bars, method }) === keyOf(view);
}

function lineOf(alert, paint) {
  const { threshold } = alert.condition;
  const price = alert.alert_type === "zscore_low" ? -Math.abs(threshold) : threshold;
  const colour = alert.status === "triggered" ? paint.down : paint.mark;
  return { price, color: faded(colour, 0.9), lineWidth: 1, lineStyle: 1, axisLabelVisible: true, axisLabelColor: colour, axisLabelTextColor: paint.panel, title: `alert ${alert.id}` };
}
