/* Charts of one time frame side by side: the one under the pointer (or with the focus) leads, the others show the same moments. */

/** `charts`: RowsCharts; `stepS()`: seconds between two bars. */
export function link(charts, stepS) {
  for (const leader of charts) {
    const followers = charts.filter((chart) => chart !== leader);
    leader.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && leads(leader)) followers.forEach((follower) => follow(leader.rows, follower, range, stepS()));
    });
    leader.chart.subscribeCrosshairMove((move) => {
      if (move.sourceEvent) followers.forEach((follower) => follower.point(move.time)); // its legend alone
    });
  }
}

const leads = ({ box }) => box.matches(":hover") || box === document.activeElement;

function follow(rows, follower, range, stepS) {
  if (!rows.length || !follower.rows.length) return;
  const to = indexAt(follower.rows, timeAt(rows, range.to, stepS), stepS);
  follower.chart.timeScale().setVisibleLogicalRange({ from: to - (range.to - range.from), to });
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
