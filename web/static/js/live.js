/* The event stream. EventSource reconnects by itself and sends its Last-Event-ID; what it does not do is done here: it gives up for
 * good on any answer but 200, it does not see that a line went dead, and after a laptop's sleep it has too much to catch up. */

const KINDS = ["bar", "bar.open", "bar.revised", "spread", "spread.revised", "stats", "alert", "health", "reset", "dropped"];
const LOOK_MS = 2000;
const SILENT_MS = 15000; // health comes every two seconds
const ASLEEP_MS = 20000; // a timer of two seconds that comes so late: the machine slept

export class Live {
  /** `hear(kind, body)`; `joined()` once events flow but what came before them was not heard; `changed()` when `state` did. */
  constructor({ hear, joined, changed }) {
    Object.assign(this, { hear, joined, changed });
    this.state = "connecting"; // live, retrying
    this.since = Date.now();
    this.lastId = "";
    this.failures = 0;
    this.looked = Date.now();
    setInterval(() => this.look(), LOOK_MS);
    addEventListener("online", () => this.open());
    addEventListener("pagehide", () => this.source?.close());
    addEventListener("pageshow", (event) => event.persisted && this.open());
  }

  /** Listen to other things; from where we are, or, for what was not listened to before, from now. */
  listen(query, { goOn = false } = {}) {
    this.query = query;
    if (!goOn) this.lastId = "";
    this.open();
  }

  open() {
    clearTimeout(this.retry);
    this.source?.close();
    const query = new URLSearchParams(this.query);
    if (this.lastId) query.set("since", this.lastId);
    this.fresh = !this.lastId;
    const source = new EventSource(`/api/stream?${query}`);
    this.source = source;
    this.heard = Date.now();
    source.onopen = () => this.opened();
    source.onerror = () => this.failed(source);
    for (const kind of KINDS) source.addEventListener(kind, (event) => source === this.source && this.take(kind, event));
  }

  opened() {
    this.failures = 0;
    this.heard = Date.now();
    this.become("live");
    if (this.fresh) this.joined();
    this.fresh = false; // from here on the server sends what was missed, or says `reset`
  }

  failed(source) {
    if (source !== this.source) return;
    this.become("retrying");
    if (source.readyState !== EventSource.CLOSED) return;
    this.failures += 1;
    const delayMs = Math.min(10000, 500 * 2 ** this.failures) * (0.5 + Math.random() / 2);
    this.retry = setTimeout(() => this.open(), delayMs);
  }

  take(kind, event) {
    this.heard = Date.now();
    if (event.lastEventId) this.lastId = event.lastEventId;
    if (kind === "reset") this.joined();
    else this.hear(kind, JSON.parse(event.data));
  }

  look() {
    const now = Date.now();
    const slept = now - this.looked > ASLEEP_MS;
    this.looked = now;
    if (slept) this.lastId = ""; // REST brings it in one answer
    if (!slept && (this.state !== "live" || now - this.heard < SILENT_MS)) return;
    this.become("retrying");
    this.open();
  }

  become(state) {
    if (state === this.state) return;
    this.state = state;
    this.since = Date.now();
    this.changed();
  }
}
