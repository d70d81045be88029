/* What all parts of the page share: what is in view, the rows of it, and the parts themselves, which main.js puts in place. */

import { Clock } from "./format.js";
import { Rows } from "./rows.js";
import { SeriesBook } from "./series.js";
import { readView } from "./view.js";

export const page = {
  view: readView(),
  book: new SeriesBook(),
  bars: new Rows(),
  pairRows: new Rows(),

  /** The legs of the pair in view, y first; null where nobody knows them. */
  get legs() { return this.book.legs(this.view.pair); },
};

page.clock = new Clock(page.view.zone);
