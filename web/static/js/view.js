/* What is looked at: symbol, pair, timeframe, window, zone. It lives in the address, so a link shows the same and Back works. */

const page = document.body.dataset;
const list = (text) => text.split(",").filter(Boolean);

export const CONFIG = Object.freeze({
  symbols: list(page.symbols),
  pairs: list(page.pairs),
  timeframes: list(page.timeframes),
  window: Number(page.window),
  feed: page.feed,
});

const LENGTHS_S = { s: 1, m: 60, h: 3600, d: 86400 };
export const lengthS = (timeframe) => Number.parseInt(timeframe, 10) * LENGTHS_S[timeframe.at(-1)];

export function readView() {
  const asked = new URLSearchParams(location.search);
  const window_ = Number(asked.get("window"));
  const name = (key) => asked.get(key)?.trim().toUpperCase();
  return {
    symbol: name("symbol") || CONFIG.symbols[0] || "",
    pair: name("pair") || CONFIG.pairs[0] || "",
    timeframe: CONFIG.timeframes.includes(asked.get("timeframe")) ? asked.get("timeframe") : CONFIG.timeframes[0],
    window: Number.isInteger(window_) && window_ >= 3 && window_ <= 10000 ? window_ : CONFIG.window,
    zone: asked.get("tz") === "local" ? "local" : "utc",
  };
}

export function writeView(view) {
  const wanted = new URLSearchParams({ symbol: view.symbol, pair: view.pair, timeframe: view.timeframe, window: view.window });
  if (view.zone === "local") wanted.set("tz", "local");
  if (`?${wanted}` !== location.search) history.pushState(null, "", `?${wanted}`);
}

/** The legs [y, x] of a pair name, by the symbols that are known; null if no cut gives two of them. */
export function legsOf(pair, symbols) {
  for (let at = pair.indexOf("_"); at > 0; at = pair.indexOf("_", at + 1)) {
    const legs = [pair.slice(0, at), pair.slice(at + 1)];
    if (legs.every((leg) => symbols.includes(leg)) && legs[0] !== legs[1]) return legs;
  }
  return null;
}

/** Pairs to choose from: those that are followed live, and the other combinations, which are computed when asked for. */
export function pairChoices(symbols) {
  const others = symbols.length > 12 ? [] : symbols.flatMap((y) => symbols.filter((x) => x !== y).map((x) => `${y}_${x}`));
  return { followed: CONFIG.pairs, others: others.filter((pair) => !CONFIG.pairs.includes(pair)) };
}
