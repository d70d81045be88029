/* What the facts of `/api/health/` mean: a level for each, and for what is wrong a sentence that says what to do. Pure. */

import { over, whole } from "./format.js";

const EXPECTED = [
  ["producer", "bad", "No live trades are taken in"],
  ["writer_", "bad", "Ticks are not stored"],
  ["aggregator_", "bad", "Bars and pairs stand still"],
  ["tasks", "warn", "Rebuilds, cointegration tests and tasks wait"],
  ["importer", "warn", "Uploads wait"],
];
const SILENT_S = 12;

/** `[level, sentence]` of whatever is wrong, worst first. Ages are coarse, so that a sentence stands still while it is read out. */
export function verdicts(facts, symbols) {
  const found = [...processes(facts.processes), ...readers(facts.stream), ...feed(facts, symbols), ...counts(facts)];
  return found.sort((a, b) => (a[0] === "bad" ? 0 : 1) - (b[0] === "bad" ? 0 : 1));
}

export const level = (value, warn, bad) => (value === null || value === undefined ? "" : value >= bad ? "bad" : value >= warn ? "warn" : "ok");
export const LIMITS = { writersLagS: [2, 15], barsLagS: [6, 30], lastTradeS: [60, 600] };

function processes(told) {
  const found = [];
  for (const [name, how, effect] of EXPECTED) {
    const alive = told.filter((process) => process.name.startsWith(name));
    const shown = name.replace(/_$/, "");
    if (!alive.length) found.push([how, `No ${shown} has reported for 30 s. ${effect}. It is restarted by itself; see \`./gems status\` and \`./gems logs\`.`]);
    for (const process of alive) {
      if (process.age_s > SILENT_S) found.push(["warn", `${process.name} has said nothing for ${over(process.age_s)}. See \`./gems logs ${process.name}\`.`]);
    }
  }
  return found;
}

function readers(stream) {
  const found = [];
  const writers = level(stream.writers_lag_s, ...LIMITS.writersLagS);
  const bars = level(stream.aggregator_lag_s, ...LIMITS.barsLagS);
  if (writers === "warn" || writers === "bad") found.push([writers, `Ticks are stored ${over(stream.writers_lag_s)} late. If it grows, raise \`GEMS_WRITERS\`; if it stands, see \`./gems logs writer_0\`.`]);
  if (bars === "warn" || bars === "bad") found.push([bars, `Bars and pairs are ${over(stream.aggregator_lag_s)} behind. An import is caught up with by itself; else see \`./gems logs aggregator_0\`.`]);
  return found;
}

function feed(facts, symbols) {
  const found = [];
  const producer = facts.processes.find((process) => process.name === "producer")?.facts ?? {};
  if (producer.connected === 0) found.push(["bad", "The producer has no connection to the exchange. It tries again by itself; see `./gems logs producer`."]);
  if (producer.spool_bytes > 0) found.push(["warn", `${whole(producer.spool_bytes / 1e6)} MB of trades wait in the producer's spool until Redis takes them.`]);
  if (producer.catching) found.push(["ok", `The producer fetches what was missed (${producer.catching}).`]);
  return found.concat(quiet(facts, symbols));
}

/** One sentence for all silent symbols; none where nobody listens to the exchange, for that is said already. */
function quiet(facts, symbols) {
  const alive = facts.processes.some((process) => process.name === "producer" && process.facts.connected !== 0);
  const silent = symbols.filter((symbol) => facts.last_trade_age_s[symbol] >= LIMITS.lastTradeS[0]);
  if (!alive || !silent.length) return [];
  const shortest = Math.min(...silent.map((symbol) => facts.last_trade_age_s[symbol]));
  const all = silent.length === symbols.length;
  return [[level(shortest, ...LIMITS.lastTradeS), `No trade of ${silent.slice(0, 5).join(", ")}${silent.length > 5 ? ` and ${silent.length - 5} more` : ""} for ${over(shortest)}. ${all ? "The exchange sends nothing: see `./gems logs producer`." : "The market may be quiet."}`]];
}

function counts(facts) {
  const found = [];
  if (facts.gaps_open > 0) found.push(["warn", `${plural(facts.gaps_open, "hole")} in the trade ids: the bars over them are marked “gap”. Look: \`./gems psql -- -c "select * from gaps where state = 'open'"\`.`]);
  if (facts.dead_letters > 0) found.push(["warn", `${plural(facts.dead_letters, "row")} could not be stored. Look: \`./gems psql -- -c "select * from dead_letters order by id desc limit 10"\`.`]);
  return found;
}

const plural = (count, noun) => `${whole(count)} ${noun}${count === 1 ? "" : "s"}`;
