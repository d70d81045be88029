/* What stands on the panes of the pair chart: the values of a row. */

import { el, sayInPlace } from "./dom.js";
import { NONE, number, statistic } from "./format.js";
import { BAND_SDS } from "./trading.js";

/** A list for each pane: [name, value, kind]. `test`: the row whose test of cointegration counts here; `digits`: of both prices. */
export function paneTexts(row, { legs, rules, test, digits, when }) {
  const of = (name) => statistic(row?.[name]);
  const band = row?.rolling_std == null ? NONE : statistic(BAND_SDS * row.rolling_std);
  return [
    [["Spread", of("spread"), "one"], ["mean", of("rolling_mean")], [`± ${BAND_SDS} sd`, band], [when, ""]],
    [["z-score", number(row?.z_score, 3), "z"], ["enter at", `± ${rules.entry}`], ["leave at", `± ${rules.exit}`]],
    [["Hedge ratio", of("hedge_ratio"), "one"]],
    [["Correlation", number(row?.correlation, 4), "two"], ["of returns", number(row?.return_correlation, 4)]],
    [["Cointegration p", number(test?.adf_pvalue, 4), "z"], ["at 5 %", test ? (test.is_cointegrated ? "yes" : "no") : NONE]],
    [["Half-life", row?.half_life == null ? NONE : `${number(row.half_life, 1)} bars`, "one"]],
    [[legs[0], number(row?.symbol1_price, digits[0]), "one"], [legs[1], number(row?.symbol2_price, digits[1]), "two"], ...notes(row)],
  ];
}

function notes(row) {
  const found = [];
  if (row?.carried) found.push([`${row.carried} carried`, ""]);
  if (row?.has_gap) found.push(["uses a bar with a gap", ""]);
  if (row?.revision) found.push([`revision ${row.revision}`, ""]);
  return found;
}

export function write(box, parts) {
  while (box.children.length > parts.length) box.lastChild.remove();
  while (box.children.length < parts.length) box.append(el("span", {}, "", el("b")));
  parts.forEach(([name, value, kind = ""], at) => {
    const [text, bold] = box.children[at].childNodes;
    const label = value === "" ? name : `${name} `;
    if (text.data !== label) text.data = label;
    sayInPlace(bold, value);
    if (bold.className !== kind) bold.className = kind;
  });
}
