/* What is looked at: symbol, timeframe, series of a pair, rules, zone. It lives in the address, so a link shows the same and Back works. */

const page = document.body.dataset;
const list = (text) => text.split(",").filter(Boolean);

/** "Y_X|60|ols" -> {pair, window, method}; as it stands in the page and in the picker. */
export function seriesOf(text) {
  const [pair, window_, method] = text.split("|");
  return { pair, window: Number(window_), method };
}

export const keyOf = ({ pair, window, method }) => `${pair}|${window}|${method}`;

export const CONFIG = Object.freeze({
  symbols: list(page.symbols),
  series: list(page.series).map(seriesOf),
  timeframes: list(page.timeframes),
  window: Number(page.window),
  feed: page.feed,
});

export const METHODS = ["ols", "ols+log", "tls", "tls+log", "kalman", "kalman+log", "huber", "huber+log"];

const LENGTHS_S = { s: 1, m: 60, h: 3600, d: 86400 };
export const lengthS = (timeframe) => Number.parseInt(timeframe, 10) * LENGTHS_S[timeframe.at(-1)];

/** Where a trader enters and leaves, in deviations, unless the address says otherwise. */
const RULES = Object.freeze({ entry: 2, exit: 0.5 });

export function readView() {
  const asked = new URLSearchParams(location.search);
  const name = (key) => asked.get(key)?.trim().toUpperCase();
  const pair = name("pair") || CONFIG.series[0]?.pair || "";
  const usual = CONFIG.series.find((series) => series.pair === pair) ?? { window: CONFIG.window, method: "ols" };
  const window_ = Number(asked.get("window"));
  const method = asked.get("method")?.trim().toLowerCase().replaceAll(" ", "+") ?? "";
  return {
    symbol: name("symbol") || CONFIG.symbols[0] || "",
    pair,
    timeframe: CONFIG.timeframes.includes(asked.get("timeframe")) ? asked.get("timeframe") : CONFIG.timeframes[0],
    window: Number.isInteger(window_) && window_ >= 3 && window_ <= 10000 ? window_ : usual.window,
    method: /^[a-z+]{2,40}$/.test(method) ? method : usual.method,
    ...readRules(asked),
    zone: asked.get("tz") === "local" ? "local" : "utc",
  };
}

/** Both or neither, for one has to be below the other. */
function readRules(asked) {
  const [entry, exit] = ["entry", "exit"].map((key) => (asked.get(key) ? Number(asked.get(key)) : RULES[key]));
  return entry > 0 && entry <= 100 && exit >= 0 && exit < entry ? { entry, exit } : { ...RULES };
}

export function writeView(view) {
  const wanted = new URLSearchParams({ symbol: view.symbol, pair: view.pair, timeframe: view.timeframe, window: view.window, method: view.method });
  for (const key of Object.keys(RULES)) if (view[key] !== RULES[key]) wanted.set(key, view[key]);
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
