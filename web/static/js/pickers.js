/* The pickers in the header: symbol, series of a pair, timeframe, window, method. What they choose goes into the view. */

import { $, el } from "./dom.js";
import { CONFIG, keyOf, METHODS, seriesOf } from "./view.js";

const named = (pair) => pair.replaceAll("_", " / ");
const option = (value, text = value) => el("option", { value: String(value) }, String(text));
const grouped = (label, options) => (options.length ? [el("optgroup", { label }, ...options)] : []);

export class Pickers {
  /** `choose(changes)`: what of the view is to be another. */
  constructor(book, choose) {
    this.book = book;
    $("pickers").addEventListener("submit", (event) => event.preventDefault());
    $("pickers").addEventListener("change", (event) => choose(this.chosen(event.target)));
  }

  chosen({ id, name, value }) {
    if (id === "pick-pair") return seriesOf(value);
    return name === "window" ? { window: Number(value) } : { [name]: value };
  }

  fill(view) {
    const series = this.book.at(view.timeframe);
    const state = JSON.stringify([this.book.symbols, series, view]);
    if (state === this.filled) return;
    this.filled = state;
    this.choices($("pick-symbol"), this.book.symbols, view.symbol);
    this.choices($("pick-window"), [...$("pick-window").options].map((each) => Number(each.value)), view.window);
    this.choices($("pick-method"), METHODS, view.method);
    this.fillPairs(view, series);
    document.querySelector(`#pick-timeframe input[value="${view.timeframe}"]`).checked = true;
  }

  choices(select, known, value) {
    const all = known.includes(value) || !value ? known : [value, ...known];
    select.replaceChildren(...all.map((each) => option(each)));
    select.value = String(value);
  }

  /** Live series by name, with their window and method where these are not the usual ones; then what is computed on request. */
  fillPairs(view, series) {
    const text = ({ pair, window, method }) => `${named(pair)}${window === CONFIG.window && method === "ols" ? "" : ` · ${window} · ${method}`}`;
    const live = series.map((each) => option(keyOf(each), text(each)));
    const usual = this.book.others().map((pair) => ({ pair, window: CONFIG.window, method: "ols" }));
    const request = usual.filter((each) => keyOf(each) !== keyOf(view)).map((each) => option(keyOf(each), named(each.pair)));
    const own = this.book.live(view) || !view.pair ? [] : [option(keyOf(view), text(view))];
    $("pick-pair").replaceChildren(...grouped("Live", live), ...grouped("On request", [...own, ...request]));
    $("pick-pair").value = keyOf(view);
    if (!$("pick-pair").options.length) $("pick-pair").append(option("", "none"));
    else if (!view.pair) $("pick-pair").prepend(el("option", { value: "", selected: true, disabled: true }, "choose one"));
  }
}
