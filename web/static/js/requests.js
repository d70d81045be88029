/* Series of pairs that a person asks for: computed once, kept live, stopped. */

import { $, el, say } from "./dom.js";
import { compute, keepLive, stopLive } from "./follow.js";
import { learnSeries } from "./learning.js";
import { notice } from "./notices.js";
import { page } from "./page.js";
import { look } from "./shown.js";

/** What can be done about a series that has no rows. */
export function offers() {
  return el("p", { className: "actions" }, asking("Compute it now", compute, "primary"), asking("Keep it live", keepLive));
}

function asking(text, work, kind = "") {
  const button = el("button", { type: "button", className: kind, onclick: () => make(button, work) }, text);
  return button;
}

/** The buttons beside the title of the pair. */
export function setUpRequests() {
  for (const [id, work] of [["pair-again", compute], ["pair-keep", keepLive], ["pair-stop", stopLive]]) {
    $(id).addEventListener("click", () => make($(id), work));
  }
}

/** From the scan: keep a series live, and look at it. */
export async function followSeries(series, legs) {
  try {
    await keepLive({ ...page.view, ...series }, legs, () => {}, async () => { await learnSeries(); look(series); });
    page.pairLoader.restart();
  } catch (fault) {
    notice(`${named(series.pair)} is not followed: ${fault.message}`);
  }
}

async function make(button, work) {
  const text = button.textContent;
  button.disabled = true;
  try {
    await work(page.view, page.legs, (how) => say(button, how));
    await learnSeries();
    await page.pairLoader.restart();
  } catch (fault) {
    notice(`${named(page.view.pair)} was not computed: ${fault.message}`);
  }
  button.disabled = false;
  say(button, text);
}

const named = (pair) => pair.replaceAll("_", " / ");
