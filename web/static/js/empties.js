/* What stands where there are no rows: a sentence that says why and what to do, and options for `RowsChart.tell`. */

export function emptyBars(view, symbols) {
  if (!symbols.includes(view.symbol)) {
    return [`There are no trades of \`${view.symbol}\` here. Known: ${symbols.map((name) => `\`${name}\``).join(" ") || "none yet"}. Add it to \`GEMS_SYMBOLS\` and start again, or upload a file of its trades.`];
  }
  return [`No bar of ${view.symbol} at ${view.timeframe} yet. The first comes with its first trades; if none come, see \`./gems status\`, or upload a file.`, { loading: true }];
}

function noPair(symbols) {
  if (symbols.length < 2) return ["A pair needs two symbols, and one is known here. Start with two or more in `--symbols`, or upload a file of another's trades."];
  return ["No pair is chosen. Choose one above, or scan all pairs below."];
}

/** `symbols`: all that are known; `live`: the series in the list of those that are kept up to date, or undefined; `action`: what can be done otherwise. */
export function emptyPair(view, { symbols, legs, live, action }) {
  if (!view.pair) return noPair(symbols);
  if (!legs) return [`\`${view.pair}\` is not a pair of two known symbols. Choose one above.`];
  if (live) return [`No row of this pair at ${view.timeframe} yet. The first comes when both legs have closed a bar.`, { loading: true }];
  return [`Nothing is computed yet for this pair at ${view.timeframe} with a window of ${view.window} bars by ${view.method}.`, { action }];
}
