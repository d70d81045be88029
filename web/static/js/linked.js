/* Charts of one time frame side by side: the one under the pointer (or with the focus) leads, the others show the same moments.
 * Where none is touched the first leads, so that what comes live leaves the same moment one above the other. */

import { axis } from "./colours.js";
import { eachFrame } from "./dom.js";

const NEAR = 60; // rows to look back for a moment that both have

/** `charts`: RowsCharts; `stepS()`: seconds between two bars. Answers what is to be called when one has drawn. */
export function link(charts, stepS) {
  const [first, ...others] = charts;
  const align = () => {
    evenAxes(charts);
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
function follow(rows, follower, range, stepS, { within = false } = {}) {
  if (!rows.length || !follower.rows.length) return;
  const width = range.to - range.from;
  const apart = between(rows, follower.rows, range.to);
  const to = apart === null ? indexAt(follower.rows, timeAt(rows, range.to, stepS), stepS) : range.to + apart;
  if (within && (to < width || to - width / 2 > follower.rows.length)) return;
  follower.chart.timeScale().setVisibleLogicalRange({ from: to - width, to });
}

/** How many places further the follower has the newest moment in view that both have; a bar may be missing in one. Null: none is near. */
function between(rows, others, to) {
  const newest = Math.min(rows.length - 1, Math.floor(to));
  for (let at = newest; at >= 0 && at > newest - NEAR; at -= 1) {
    const other = others.find(rows.all[at].time);
    if (others.all[other]?.time === rows.all[at].time) return other - at;
  }
  return null;
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
