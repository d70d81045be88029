/* Charts of one time frame side by side: the one under the pointer (or with the focus) leads, the others show the same moments.
 * Where none is touched the first leads, so that what comes live leaves the same moment one above the other. */

import { axis } from "./colours.js";
import { eachFrame } from "./dom.js";

/** `charts`: RowsCharts. Answers what is to be called when one has drawn. */
export function link(charts) {
  const [first, ...others] = charts;
  const align = () => {
    evenAxes(charts);
    const range = charts.some(leads) ? null : first.chart.timeScale().getVisibleLogicalRange();
    if (range) others.forEach((other) => follow(first, other, range, { within: true }));
  };
  first.chart.timeScale().subscribeVisibleLogicalRangeChange(align);
  for (const leader of charts) {
    const followers = charts.filter((chart) => chart !== leader);
    leader.beside = followers;
    leader.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && leads(leader)) followers.forEach((follower) => follow(leader, follower, range));
    });
    leader.chart.subscribeCrosshairMove((move) => {
      if (move.sourceEvent) followers.forEach((follower) => follower.point(move.time)); // its legend alone
    });
  }
  const later = eachFrame(() => requestAnimationFrame(align)); // a chart finds out how wide its axis must be as it paints
  return () => { align(); later(); };
}

/** The widest axis is everybody's. */
function evenAxes(charts) {
  const widest = Math.max(...charts.map(({ chart }) => chart.priceScale("right").width()));
  if (widest <= axis.px) return;
  axis.px = widest;
  for (const { chart } of charts) chart.applyOptions({ rightPriceScale: { minimumWidth: widest } });
}

const leads = ({ box }) => box.matches(":hover") || box === document.activeElement;

/** `within`: not to where the follower has no rows, such as a pair that was computed yesterday beside a live price. */
function follow({ places }, follower, range, { within = false } = {}) {
  if (!places.length || !follower.places.length) return;
  const width = range.to - range.from;
  const to = follower.places.indexOf(places.timeAt(range.to));
  if (within && (to < width || to - width / 2 > follower.places.length)) return;
  follower.chart.timeScale().setVisibleLogicalRange({ from: to - width, to });
}
