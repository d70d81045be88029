/* Colours and options that every chart takes from the style sheet, so that both themes are written down once. */

const NAMES = ["panel", "line", "line-strong", "ink", "soft", "muted", "grid", "up", "down", "mark", "one", "two", "band", "z", "accent"];

export const FREE_BARS = 4; // right of the newest one
/** One width of the price axes for all, so that the same moment stands at the same place in each chart; it grows with the prices. */
export const axis = { px: 76 };

/** By name, as the current theme has them. */
export function colours() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

/** A colour with an alpha from 0 to 1. */
export function faded(colour, alpha) {
  return `${colour}${Math.round(alpha * 255).toString(16).padStart(2, "0")}`;
}

export function chartOptions(paint, clock) {
  return {
    layout: {
      background: { type: "solid", color: paint.panel },
      textColor: paint.muted,
      fontFamily: getComputedStyle(document.body).fontFamily,
      fontSize: 11,
      attributionLogo: true,
      panes: { separatorColor: paint.line, separatorHoverColor: faded(paint.accent, 0.15) },
    },
    grid: { vertLines: { color: paint.grid }, horzLines: { color: paint.grid } },
    crosshair: {
      mode: 0,
      vertLine: { color: paint.muted, width: 1, style: 3, labelBackgroundColor: paint.soft },
      horzLine: { color: paint.muted, width: 1, style: 3, labelBackgroundColor: paint.soft },
    },
    rightPriceScale: { borderColor: paint.line, minimumWidth: axis.px, entireTextOnly: true },
    timeScale: {
      borderColor: paint.line,
      timeVisible: true,
      secondsVisible: true,
      rightOffset: FREE_BARS,
      fixLeftEdge: true,
      minBarSpacing: 0.4,
      tickMarkFormatter: (time, kind) => clock.tick(time, kind),
    },
    localization: { timeFormatter: (time) => clock.full(time) },
  };
}
