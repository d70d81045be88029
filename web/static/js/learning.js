/* What changes while the page is open, and whoever changed it: symbols, series of pairs, rows whose event never came. */

import { get } from "./api.js";
import { listen } from "./hearing.js";
import { tellNumbers } from "./numbers.js";
import { page } from "./page.js";
import { pointAtAll, sayFollowed, showPair } from "./shown.js";
import { CONFIG } from "./view.js";

const RENEW_BARS = 300;

export async function learnSymbols() {
  const { book, pickers, research } = page;
  try {
    const { symbols: known } = await get("/api/ingestion/stats/");
    const all = [...new Set([...CONFIG.symbols, ...known])].sort();
    if (all.join() === book.symbols.join()) return;
    const hadLegs = Boolean(page.legs);
    book.symbols = all;
    pickers.fill(page.view);
    page.alertForm.fill();
    research.heat.load();
    if (!hadLegs && page.legs) showPair();
    page.barLoader.refresh();
  } catch { /* the strip says why, and it is asked again */ }
}

/** Series may be added and removed by anybody. */
export async function learnSeries() {
  const { book, research, scanner } = page;
  try {
    const hadLegs = Boolean(page.legs);
    if (!(await book.load())) return;
    page.pickers.fill(page.view);
    page.alertForm.fill();
    research.scan.draw();
    scanner.fill(page.view.timeframe);
    scanner.load();
    listen({ goOn: true });
    if (!hadLegs && page.legs) showPair();
    else sayFollowed();
    pointAtAll();
    page.pairLoader.refresh();
  } catch { /* as above */ }
}

export const learn = () => learnSymbols().then(learnSeries);

/** The newest rows again: tests of a pair reach rows that were told before, and an event that never came would stay a hole. */
export function renew() {
  page.barLoader.renew(RENEW_BARS);
  if (page.legs) page.pairLoader.renew(RENEW_BARS)?.then(tellNumbers);
  page.scanner.load();
  page.research.heat.load();
}
