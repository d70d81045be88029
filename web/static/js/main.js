/* Begin: the parts of the page are made, told of each other, and filled. */

import { $, remember, say } from "./dom.js";
import { AlertForm } from "./alertform.js";
import { Alerts } from "./alerts.js";
import { makeCharts } from "./charts.js";
import { expose } from "./gems.js";
import { Health } from "./health.js";
import { hear, joined, listen } from "./hearing.js";
import { learn, learnSymbols, renew } from "./learning.js";
import { Live } from "./live.js";
import { setUpNotices } from "./notices.js";
import { page } from "./page.js";
import { Pickers } from "./pickers.js";
import { followSeries, setUpRequests } from "./requests.js";
import { Research } from "./research.js";
import { saves } from "./save.js";
import { Scanner } from "./scanner.js";
import { drawLevels, dress, look, pointAtAll, show, showBars, showPair } from "./shown.js";
import { offerSignOut } from "./signout.js";
import { setUpUpload } from "./upload.js";
import { readView } from "./view.js";

const RENEW_MS = 10000;
const LEARN_MS = 60000;
const clock = () => page.clock;

function makeParts() {
  const { book } = page;
  makeCharts();
  page.live = new Live({ hear, joined, changed: () => page.health?.draw() });
  page.health = new Health(page.live);
  page.alerts = new Alerts({ changed: () => { drawLevels(); listen({ goOn: true }); }, clock });
  page.alertForm = new AlertForm({
    choices: () => ({ series: book.all, symbols: book.symbols, view: page.view, last: standsAt }),
    made: () => page.alerts.fetch(),
  });
  page.scanner = new Scanner(book, look);
  page.pickers = new Pickers(book, (changes) => show({ ...page.view, ...changes }));
  page.research = new Research({
    view: () => page.view, book, choose: look, clock, follow: followSeries, rules: ({ entry, exit }) => show({ ...page.view, entry, exit }),
  });
}

/** Where the value stands that a type of alert looks at. */
function standsAt(type) {
  return (type.startsWith("spread") ? page.pairRows.last?.spread : page.bars.last?.close) ?? null;
}

function setUpSaves() {
  const { bars, pairRows, research } = page;
  saves($("price-save"), () => bars.all, () => `${page.view.symbol}_${page.view.timeframe}`);
  saves($("pair-save"), () => pairRows.all, () => `${page.view.pair}_${page.view.timeframe}_${page.view.window}_${page.view.method.replace("+", "_")}`);
  saves($("scan-save"), () => research.scan.found?.pairs ?? [], () => `scan_${page.view.timeframe}_${page.view.window}`);
  saves($("backtest-save"), () => research.backtest.result?.trades ?? [], () => `backtest_${page.view.pair}_${page.view.timeframe}`);
}

function setUpTools() {
  $("zone").addEventListener("click", () => show({ ...page.view, zone: page.view.zone === "utc" ? "local" : "utc" }));
  $("theme").addEventListener("click", () => {
    const other = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    remember("theme", other);
    document.documentElement.dataset.theme = other;
    dispatchEvent(new Event("gems:theme"));
  });
  addEventListener("gems:theme", () => { nameTheme(); dress(); drawLevels(); });
  addEventListener("popstate", () => show(readView()));
}

function nameTheme() { say($("theme"), document.documentElement.dataset.theme === "dark" ? "Light" : "Dark"); }

/** Each part has its first contents; what only the server knows follows. */
function begin() {
  const { view } = page;
  nameTheme();
  say($("zone"), page.clock.short);
  page.pickers.fill(view);
  page.scanner.fill(view.timeframe);
  page.pairChart.setRules(view);
  page.alertForm.fill();
  showBars();
  showPair();
  listen({ goOn: false });
  pointAtAll();
  page.research.fill();
  page.research.load();
  learn();
  page.scanner.load();
  offerSignOut();
  setInterval(learn, LEARN_MS);
  setInterval(() => !document.hidden && renew(), RENEW_MS);
}

makeParts();
setUpNotices();
setUpRequests();
setUpSaves();
setUpTools();
setUpUpload({ done: () => { learnSymbols(); page.barLoader.reload(); } });
begin();
expose(page);
