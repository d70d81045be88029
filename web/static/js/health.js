/* The health strip: facts from live events, by REST while those are silent, and the state of the live line itself. */

import { $, el, prose, say, sayInPlace } from "./dom.js";
import { get, UNREACHABLE } from "./api.js";
import { age, NONE, number, whole } from "./format.js";
import { level, LIMITS, verdicts } from "./verdict.js";
import { CONFIG } from "./view.js";

const SILENT_MS = 5000;
const LOOK_MS = 1000;
const LIVE_TEXTS = { live: "live", connecting: "connecting", retrying: "reconnecting" };
const UNKNOWN = { rate: null, stream: {}, last_trade_age_s: {} }; // dashes hold the places until facts come
const GRACE_MS = 2500; // a line that is back this soon was never worth a sentence

export class Health {
  constructor(live) {
    this.live = live;
    this.facts = null;
    this.heardMs = 0;
    this.fault = null;
    setInterval(() => this.look(), LOOK_MS);
    this.look();
  }

  /** A live event; while the facts can not be gathered it holds an error, a sentence, instead. */
  hear(facts) {
    this.heardMs = Date.now();
    this.fault = facts.error ? { message: facts.error, status: 503 } : null;
    if (!facts.error) this.facts = facts;
    this.draw();
  }

  /** Live health has gone silent, or has not begun: ask, so that the reason can be shown. */
  async look() {
    if (!this.asking && !document.hidden && Date.now() - this.heardMs > SILENT_MS) {
      this.asking = true;
      try {
        this.hear(await get("/api/health/"));
      } catch (fault) {
        this.fault = fault;
      }
      this.asking = false;
    }
    this.draw();
  }

  found() {
    const found = [];
    if (this.fault?.status === 0) found.push(["bad", `${UNREACHABLE} If it does not come back in some seconds, start it with \`./gems up\`, or see \`./gems logs web\`.`]);
    else if (this.fault) found.push(["bad", `${this.fault.message}. Nothing is lost: trades wait in the stream or in the spool. See \`./gems status\`.`]);
    else if (this.live.state !== "live" && Date.now() - this.live.since > GRACE_MS) {
      found.push(["warn", "The live line is down and is opened again by itself; what was missed is fetched then."]);
    }
    if (this.facts && !this.fault) found.push(...verdicts(this.facts, CONFIG.symbols));
    return found;
  }

  draw() {
    const found = this.found();
    const text = found.map(([how, sentence]) => how + sentence).join("\n");
    if (text !== this.said) {
      this.said = text;
      $("strip").dataset.level = found.some(([how]) => how === "bad") ? "bad" : found.some(([how]) => how === "warn") ? "warn" : "ok";
      $("verdicts").replaceChildren(...found.filter(([how]) => how !== "ok").map(([how, sentence]) => el("li", { className: how }, ...prose(sentence))));
    }
    this.gauges(factGauges(this.facts ?? UNKNOWN));
  }

  gauges(gauges) {
    const state = this.live.state;
    const all = [["Stream", LIVE_TEXTS[state], state === "live" ? "ok" : "warn"], ...gauges];
    const box = $("gauges");
    while (box.children.length > all.length) box.lastChild.remove();
    while (box.children.length < all.length) box.append(el("li", { className: "gauge" }, el("span"), el("b")));
    all.forEach(([name, value, how], at) => {
      const item = box.children[at];
      say(item.children[0], name);
      (at ? sayInPlace : say)(item.children[1], value);
      if (item.className !== `gauge ${how}`) item.className = `gauge ${how}`;
      if (item.dataset.name !== name) item.dataset.name = name;
    });
  }
}

const counted = (count) => (count > 0 ? "warn" : count === 0 ? "ok" : "");

function factGauges(facts) {
  const { stream } = facts;
  return [
    ["Trades", facts.rate === null ? NONE : `${number(facts.rate, facts.rate < 100 ? 1 : 0)}/s`, facts.rate > 0 ? "ok" : ""],
    ["Store lag", age(stream.writers_lag_s), level(stream.writers_lag_s, ...LIMITS.writersLagS)],
    ["Bar lag", age(stream.aggregator_lag_s), level(stream.aggregator_lag_s, ...LIMITS.barsLagS)],
    ["Pending", whole(stream.pending), ""],
    ["Late", whole(facts.late), ""],
    ["Gaps", whole(facts.gaps_open), counted(facts.gaps_open)],
    ["Dead letters", whole(facts.dead_letters), counted(facts.dead_letters)],
    ...CONFIG.symbols.slice(0, 8).map((symbol) => [symbol, age(facts.last_trade_age_s[symbol]), level(facts.last_trade_age_s[symbol], ...LIMITS.lastTradeS)]),
  ];
}
