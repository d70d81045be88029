/* Live events: what is listened to, and where each event goes. */

import { settled } from "./dom.js";
import { tellNumbers } from "./numbers.js";
import { page } from "./page.js";
import { toPairRow } from "./pair.js";
import { toBar } from "./price.js";

const pairAgain = settled(() => page.pairLoader.reload(), 1500);

export function hear(kind, body) {
  if (kind === "health") page.health.hear(body);
  else if (kind === "alert") page.alerts.hear(body);
  else if (kind.startsWith("bar")) hearBar(kind, body);
  else if (kind.startsWith("spread")) hearPair(kind, body);
}

function hearBar(kind, body) {
  const { bars, view } = page;
  if (body.timeframe !== view.timeframe) return;
  if (kind === "bar.revised" && page.legs?.includes(body.symbol)) pairAgain();
  if (body.symbol !== view.symbol) return;
  if (bars.detached) page.priceChart.tick(body);
  bars.put(toBar(body));
  page.barLoader.refresh();
  tellNumbers();
}

function hearPair(kind, body) {
  const { view } = page;
  page.scanner.hear(body);
  if (body.symbol_pair !== view.pair || body.timeframe !== view.timeframe || body.window !== view.window) return;
  if ((body.method ?? "ols") !== view.method) return;
  if (kind === "spread.revised" && body.spread === undefined) { pairAgain(); return; }
  page.pairRows.put(toPairRow(body));
  page.pairLoader.refresh();
  tellNumbers();
}

/** Events flow, but what came before them was not heard. */
export function joined() {
  page.barLoader.catchUp();
  if (page.legs) page.pairLoader.catchUp();
}

/** One stream a page (browsers keep six connections to a host): what is in view, and whatever alerts are about. */
export function listen({ goOn }) {
  const { alerts, live, scanner, view } = page;
  const about = new Set([view.symbol, view.pair, ...(page.legs ?? []), ...alerts.subjects, ...scanner.pairs].filter(Boolean));
  const query = new URLSearchParams({ topics: "bars,spread,alerts,health", timeframe: view.timeframe, symbols: [...about].sort().join(",") }).toString();
  if (query !== live.query) live.listen(query, { goOn });
}
