/* What is drawn, for tests and for the curious, as `window.gems`: copies, nothing can be changed by them. */

const LINES = ["spread", "upper", "z", "hedge", "correlation", "pvalue", "halfLife"];

export function expose(page) {
  const { bars, pairRows, priceChart, pairChart, alertLines, research, live, health } = page;
  const drawnAs = (name) => (name === "candles" ? [priceChart, priceChart.candles] : [pairChart, pairChart[name]]);
  const series = { candles: priceChart.candles, volumes: priceChart.volumes, ...Object.fromEntries(LINES.map((name) => [name, pairChart[name]])) };
  window.gems = Object.freeze({
    view: () => ({ ...page.view }),
    bars: () => structuredClone(bars.all),
    pairRows: () => structuredClone(pairRows.all),
    newest: () => Math.min(bars.last?.time ?? 0, pairRows.last?.time ?? 0),
    drawn: () => structuredClone(Object.fromEntries(Object.entries(series).map(([name, each]) => [name, each.data()]))),
    marks: () => structuredClone(pairChart.marked ?? []),
    barMarks: () => priceChart.markers.markers().map(({ time, shape }) => [time, shape]),
    levels: () => alertLines.lines.map(([, line]) => line.options().price),
    equity: () => structuredClone(research.backtest.equity?.data() ?? []),
    live: () => ({ state: live.state, lastId: live.lastId }),
    health: () => structuredClone(health.facts),
    /** The price at a tenth of the height of a series' chart. */
    levelAbove: (name) => { const [chart, each] = drawnAs(name); return each.coordinateToPrice(chart.box.clientHeight / 10); },
    /** How far right the moment `time` stands in the chart of a series. */
    xOf: (name, time) => drawnAs(name)[0].chart.timeScale().timeToCoordinate(time),
    /** Where a level of a series stands in the box of its chart: [x, y]. */
    placeOf: (name, level) => {
      const [chart, each] = drawnAs(name);
      const pane = each.getPane().getHTMLElement().getBoundingClientRect();
      return [chart.box.clientWidth / 2, pane.top - chart.box.getBoundingClientRect().top + each.priceToCoordinate(level)];
    },
  });
}
