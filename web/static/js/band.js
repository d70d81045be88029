/* The area between two lines of a series' own rows: a primitive of Lightweight Charts. */

export class Band {
  /** `rows(range)`: those in a view, oldest first; `edges(row)`: [upper, lower] or null; `colour()`. */
  constructor(rows, edges, colour) {
    Object.assign(this, { rows, edges, colour });
    this.views = [{ zOrder: () => "bottom", renderer: () => ({ draw: (target) => this.paint(target) }) }];
  }

  attached({ chart, series }) { Object.assign(this, { chart, series }); }

  paneViews() { return this.views; }

  paint(target) {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    if (!range) return;
    target.useMediaCoordinateSpace(({ context }) => {
      context.fillStyle = this.colour();
      let run = [];
      for (const row of [...this.rows(range), null]) {
        const edges = row && this.edges(row);
        if (edges) run.push([this.chart.timeScale().timeToCoordinate(row.time), ...edges.map((value) => this.series.priceToCoordinate(value))]);
        else { fill(context, run); run = []; }
      }
    });
  }
}

function fill(context, run) {
  if (run.length < 2) return;
  context.beginPath();
  for (const [x, upper] of run) context.lineTo(x, upper);
  for (const [x, , lower] of run.reverse()) context.lineTo(x, lower);
  context.closePath();
  context.fill();
}
