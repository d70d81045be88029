/* Rows of one series, oldest first, one for each `time` (seconds), never more than a cap.
 *
 * REST pages and live events come in any order and may tell the same row twice: whatever comes last in *knowledge* stays, so a
 * closed bar is not undone by an open one, nor a revision by what it revised. What changed since the last drawing is kept in
 * `changed`, or as `rebuilt` where single updates can not say it. */

export const CAP = 5000;
const SLACK = 500; // so that a full series is not cut and drawn anew at every new row

export class Rows {
  constructor(cap = CAP) {
    this.cap = cap;
    this.journal = null; // rows that are told while a page is fetched which will stand in place of all
    this.clear();
  }

  clear() {
    this.all = [];
    this.detached = false; // true once newer rows were let go to make room for history: live rows would leave a hole
    this.settle();
    this.rebuilt = true;
  }

  get last() { return this.all.at(-1); }

  get first() { return this.all[0]; }

  get length() { return this.all.length; }

  /** A row from a live event or a page. */
  put(row) {
    if (this.journal && this.journal.push(row) > this.cap) this.journal.shift();
    const last = this.last;
    if (!last || row.time > last.time) {
      if (this.detached) return;
      this.all.push(row);
      this.changed.add(row.time);
      if (this.all.length > this.cap + SLACK) this.dropOldest();
      return;
    }
    const at = this.find(row.time);
    const old = this.all[at];
    if (old?.time === row.time) {
      const merged = { ...old, ...row };
      if (!knowsMore(row, old) || same(old, merged)) return;
      this.all[at] = merged;
      this.changed.add(row.time);
    } else if (at > 0 || this.all.length < this.cap) {
      this.all.splice(at, 0, row);
      this.rebuilt = true;
    }
  }

  /** From here on, until `replace`, rows are also noted: a page may be older than they are when it comes. */
  note() { this.journal ??= []; }

  /** A page, oldest first, stands in place of all; what was told since it was asked for comes on top, and so does an open bar. */
  replace(page) {
    const told = this.journal ?? [];
    const open = this.last?.closed === false && !this.detached ? [this.last] : [];
    this.journal = null;
    this.clear();
    for (const row of [...page, ...told, ...open]) this.put(row);
  }

  /** A page that ends where ours begins; true if newer rows had to go for it. */
  putOlder(page) {
    const older = page.filter((row) => !this.first || row.time < this.first.time);
    if (!older.length) return false;
    this.all = older.concat(this.all);
    this.rebuilt = true;
    if (this.all.length <= this.cap + SLACK) return false;
    this.all.length = this.cap;
    this.detached = true;
    return true;
  }

  /** Index of the first row at or after a time. */
  find(time) {
    let [low, high] = [0, this.all.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.all[middle].time < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  at(time) {
    const row = this.all[this.find(time)];
    return row?.time === time ? row : undefined;
  }

  dropOldest() {
    this.all.splice(0, this.all.length - this.cap);
    this.rebuilt = true;
  }

  /** What was changed is drawn. */
  settle() {
    this.changed = new Set();
    this.rebuilt = false;
  }
}

function knowsMore(row, old) {
  if (old.closed && row.closed === false) return false;
  return (row.revision ?? 0) >= (old.revision ?? 0) || row.closed === undefined;
}

function same(a, b) {
  for (const name in b) if (a[name] !== b[name]) return false;
  return true;
}
