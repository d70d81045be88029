/* What stands where there are no rows: a sentence that says why and what to do, and options for `RowsChart.tell`. */

export function emptyBars(view, symbols) {
  if (!symbols.includes(view.symbol)) {
    return [`There are no trades of \`${view.symbol}\` here. Known: ${symbols.map((name) => `\`${name}\``).join(" ") || "none yet"}. Add it to \`GEMS_SYMBOLS\` and start again, or upload a file of its trades.`];
  }
  return [`No bar of ${view.symbol} at ${view.timeframe} yet. The first comes with its first trades; if none come, see \`./gems status\`, or upload a file.`, { loading: true }];
}

/** `live`: the series in the list of those that are kept up to date, or undefined; `action`: what can be done otherwise. */
export function emptyPair(view, { legs, live, action }) {
  if (!legs) return [`\`${view.pair}\` is not a pair of two known symbols. Choose one above.`];
  if (live) return [`No row of this pair at ${view.timeframe} yet. The first comes when both legs have closed a bar.`, { loading: true }];
  return [`Nothing is computed yet for this pair at ${view.timeframe} with a window of ${view.window} bars by ${view.method}.`, { action }];
}
