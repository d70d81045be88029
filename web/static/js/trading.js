/* What a trader reads off pair rows: the band around the spread, entries and exits. Pure. */

export const BAND_SDS = 2;

/** [upper, lower] of the band of a row, or null until its window is full. */
export function bandOf(row) {
  if (row.rolling_mean === null || row.rolling_std === null) return null;
  return [row.rolling_mean + BAND_SDS * row.rolling_std, row.rolling_mean - BAND_SDS * row.rolling_std];
}

/** Where a trader would enter (|z| is at `entry` or past it) and leave (z is back within `exit` of zero, or through it). */
export function crossings(rows, { entry, exit }) {
  const marks = [];
  let side = 0;
  for (const { time, z_score: z } of rows) {
    if (z === null || z === undefined) continue;
    if (side === 0 && Math.abs(z) >= entry) marks.push({ time, enter: true, side: (side = Math.sign(z)) });
    else if (side !== 0 && z * side <= exit) { marks.push({ time, enter: false, side }); side = 0; }
  }
  return marks;
}

/** The newest row at or before an index that a test of cointegration has reached, or null: tests are made every few bars. */
export function tested(rows, from = rows.length - 1, lookBack = 600) {
  for (let at = Math.min(from, rows.length - 1); at >= Math.max(0, from - lookBack); at -= 1) {
    if (rows[at].adf_pvalue !== null && rows[at].adf_pvalue !== undefined) return rows[at];
  }
  return null;
}
