/* The places of a chart's time axis: one for each row, and an empty one for each moment between two rows.
 *
 * The library gives a place to whatever has a time, and none to a second without a trade: charts of one time frame would drift apart
 * there, and a slope would look steeper than it was. A long pause stays closed, and so do the oldest where there are too many. */

const PAUSE = 300; // places; as long as a leg lends its last close by default
const EMPTY_AT_MOST = 15000;

export class Places {
  /** `stepS()`: seconds between two bars. */
  constructor(stepS) {
    this.stepS = stepS;
    this.lay([]);
  }

  get length() { return this.times.length; }

  /** True once there are so many empty ones that it is time to lay all anew. */
  get isFull() { return this.empty > 2 * EMPTY_AT_MOST; }

  /** For these rows, oldest first; answers the times of the empty ones. */
  lay(rows) {
    const runs = rows.map((row, at) => (at ? this.between(rows[at - 1].time, row.time) : []));
    this.empty = 0;
    let at = runs.length;
    while (at > 0 && this.empty + runs[at - 1].length <= EMPTY_AT_MOST) this.empty += runs[at -= 1].length;
    runs.fill([], 0, at);
    this.times = rows.flatMap((row, place) => [...runs[place], row.time]);
    return runs.flat();
  }

  /** For a row that may be newer than all; answers the times of the empty ones before it. */
  extend(time) {
    const last = this.times.at(-1);
    if (time <= last) return [];
    const before = last === undefined ? [] : this.between(last, time);
    this.times.push(...before, time);
    this.empty += before.length;
    return before;
  }

  between(from, to) {
    const stepS = this.stepS();
    const count = Math.round((to - from) / stepS) - 1;
    return count > 0 && count <= PAUSE ? Array.from({ length: count }, (_, at) => from + (at + 1) * stepS) : [];
  }

  /** Before the first place and after the last one it goes on evenly; in a closed pause it stands still. */
  indexOf(time) {
    const { times, length } = this;
    if (time >= times[length - 1]) return length - 1 + (time - times[length - 1]) / this.stepS();
    if (time <= times[0]) return (time - times[0]) / this.stepS();
    const at = this.atOrAfter(time);
    return times[at] === time ? at : at - 1 + Math.min(1, (time - times[at - 1]) / this.stepS());
  }

  timeAt(index) {
    const edge = Math.min(this.length - 1, Math.max(0, Math.floor(index)));
    return this.times[edge] + (index - edge) * this.stepS();
  }

  atOrAfter(time) {
    let [low, high] = [0, this.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle] < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
