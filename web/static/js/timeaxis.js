/* Charts whose time axis marks round moments, and no mark that the edge would cut. */

const { createChartEx, defaultHorzScaleBehavior } = window.LightweightCharts;
const SECOND = 10; // the weights of the library: a mark of more weight goes first; whole minutes have 20
const ROUND_S = [[30, 14], [15, 13], [10, 12], [5, 11]];

/** The library takes any second for as good as another: :19 and :38 where :15 and :30 are just as near. */
class RoundMoments extends defaultHorzScaleBehavior() {
  fillWeightsForPoints(points, from) {
    super.fillWeightsForPoints(points, from);
    for (const point of points.slice(from)) {
      if (point.timeWeight === SECOND) point.timeWeight = ROUND_S.find(([step]) => point.originalTime % step === 0)?.[1] ?? SECOND;
    }
  }

  formatTickmark(mark, localization) {
    return super.formatTickmark(mark.weight > SECOND && mark.weight < 20 ? { ...mark, weight: SECOND } : mark, localization);
  }
}

export function chartIn(box, options) {
  const chart = createChartEx(box, new RoundMoments(), options);
  const axis = box.querySelector("table tr:last-child td:nth-child(2) canvas");
  if (axis) leaveOutCut(axis);
  return chart;
}

/** Marks are drawn around their moment, and the library lets an edge cut them; it has no option for that. */
function leaveOutCut(canvas) {
  const pen = canvas.getContext("2d");
  pen.fillText = (text, x, y) => {
    const half = pen.measureText(text).width / 2;
    const inside = pen.textAlign !== "center" || (x >= half && x + half <= canvas.clientWidth);
    if (inside) CanvasRenderingContext2D.prototype.fillText.call(pen, text, x, y);
  };
}
