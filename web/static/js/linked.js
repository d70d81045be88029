/* Charts of one time frame side by side: the one under the pointer (or with the focus) leads, the others show the same moments.
 * Where none is touched the first leads, so that what comes live leaves the same moment one above the other. */

/** `charts`: RowsCharts; `stepS()`: seconds between two bars. Answers what is to be called when one has drawn. */
export function link(charts, stepS) {
  const [first, ...others] = charts;
  const align = () => {
    const range = charts.some(leads) ? null : first.chart.timeScale().getVisibleLogicalRange();
    if (range) others.forEach((other) => follow(first.rows, other, range, stepS(), { within: true }));
  };
  first.chart.timeScale().subscribeVisibleLogicalRangeChange(align);
  for (const leader of charts) {
    const followers = charts.filter((chart) => chart !== leader);
    leader.beside = followers;
    leader.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && leads(leader)) followers.forEach((follower) => follow(leader.rows, follower, range, stepS()));
    });
    leader.chart.subscribeCrosshairMove((move) => {
      if (move.sourceEvent) followers.forEach((follower) => follower.point(move.time)); // its legend alone
    });
  }
  return align;
}

const leads = ({ box }) => box.matches(":hover") || box === document.activeElement;

/** `within`: not to where the follower has no rows, such as a pair that was computed yesterday beside a live price. */
function follow(rows, follower, range, stepS, { within = false } = {}) {
  if (!rows.length || !follower.rows.length) return;
  const width = range.to - range.from;
  const to = indexAt(follower.rows, timeAt(rows, range.to, stepS), stepS);
  if (within && (to < width || to - width / 2 > follower.rows.length)) return;
  follower.chart.timeScale().setVisibleLogicalRange({ from: to - width, to });
}

/** The moment at an index; before the first row and after the last one it goes on evenly. */
function timeAt(rows, index, stepS) {
  const edge = Math.min(rows.length - 1, Math.max(0, Math.floor(index)));
  return rows.all[edge].time + (index - edge) * stepS;
}

function indexAt(rows, time, stepS) {
  if (time >= rows.last.time) return rows.length - 1 + (time - rows.last.time) / stepS;
  if (time <= rows.first.time) return (time - rows.first.time) / stepS;
  const at = rows.find(time);
  return rows.all[at].time === time ? at : at - 1 + Math.min(1, (time - rows.all[at - 1].time) / stepS);
}
