/* Numbers and moments as people read them. A missing value is a dash, never 0. */

export const NONE = "–";
const formats = new Map();

/** 43047.9, 2 -> "43,047.90"; null -> "–". */
export function number(value, digits = 2) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  if (!formats.has(digits)) {
    formats.set(digits, new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  }
  return formats.get(digits).format(value);
}

/** Digits after the point that tell values of this size apart: 43,047 -> 2, 0.0123 -> 6. */
export function digitsFor(size) {
  const magnitude = Math.abs(size);
  if (!Number.isFinite(magnitude) || magnitude === 0) return 2;
  return Math.min(10, Math.max(2, 4 - Math.floor(Math.log10(magnitude))));
}

/** A statistic with about five significant digits; what is too small or too large to be read that way as 1.2345e-9. */
export function statistic(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  const size = Math.abs(value);
  if (size !== 0 && !readable(size)) return value.toExponential(4);
  return number(value, size >= 1000 ? 2 : digitsFor(size));
}

/** A statistic for a narrow column: about four significant digits, 7.27e-5 for what would need more room. */
export function brief(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(2);
  return number(value, size === 0 ? 0 : Math.max(0, 3 - Math.floor(Math.log10(size))));
}

const readable = (size) => size >= 1e-6 && size < 1e9;

/** How an axis writes statistics of this size, as Lightweight Charts takes it; `digits` where it is 1 or more. */
export function axisFormat(size, digits = 2) {
  if (size !== 0 && !readable(size)) {
    const minMove = Math.max(1e-15, Math.min(1, 10 ** (Math.floor(Math.log10(size)) - 4)));
    return { type: "custom", formatter: (value) => (value === 0 ? "0" : value.toExponential(2)), minMove };
  }
  const precision = size >= 1 || size === 0 ? digits : digitsFor(size);
  return { type: "price", precision, minMove: 10 ** -precision };
}

/** Digits that the prices themselves have, at most 12: "6.2e-7" has 8. */
export function priceDigits(values) {
  let digits = 0;
  for (const value of values) {
    const [mantissa, power = "0"] = String(value).split("e");
    digits = Math.max(digits, (mantissa.split(".")[1] ?? "").length - Number(power));
  }
  return Math.min(12, Math.max(2, digits));
}

export function volume(value) {
  if (value === null || value === undefined) return NONE;
  return new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 4 }).format(value);
}

export const whole = (value) => number(value, 0);

/** 0.42 -> "0.4 s", 75 -> "1 min 15 s", 7300 -> "2 h 1 min". */
export function age(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} days`;
}

/** Coarser, for sentences: 12.3 -> "over 10 s", 75 -> "over 1 min". */
export function over(seconds) {
  if (seconds < 10) return `over ${Math.floor(seconds)} s`;
  if (seconds < 60) return `over ${Math.floor(seconds / 10) * 10} s`;
  if (seconds < 3600) return `over ${Math.floor(seconds / 60)} min`;
  return seconds < 172800 ? `over ${Math.floor(seconds / 3600)} h` : `over ${Math.floor(seconds / 86400)} days`;
}

export function bytes(count) {
  if (count < 1e6) return `${Math.max(1, Math.round(count / 1e3))} kB`;
  return count < 1e9 ? `${(count / 1e6).toFixed(1)} MB` : `${(count / 1e9).toFixed(2)} GB`;
}

/** How moments are written in a zone, "utc" or "local". */
export class Clock {
  constructor(zone) {
    const timeZone = zone === "utc" ? "UTC" : undefined;
    const make = (options) => new Intl.DateTimeFormat("en-GB", { timeZone, hourCycle: "h23", ...options });
    this.zone = zone;
    this.short = zone === "utc" ? "UTC" : make({ timeZoneName: "short" }).formatToParts(new Date()).find((p) => p.type === "timeZoneName").value;
    this.formats = {
      year: make({ year: "numeric" }),
      month: make({ month: "short", year: "numeric" }),
      day: make({ day: "numeric", month: "short" }),
      minute: make({ hour: "2-digit", minute: "2-digit" }),
      second: make({ hour: "2-digit", minute: "2-digit", second: "2-digit" }),
      full: make({ year: "numeric", month: "short", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" }),
    };
  }

  /** A mark on the time axis; `kind` as Lightweight Charts counts them: year, month, day, minute, second. */
  tick(seconds, kind) {
    return this.formats[["year", "month", "day", "minute", "second"][kind]].format(seconds * 1000);
  }

  full(seconds) { return `${this.formats.full.format(seconds * 1000)} ${this.short}`; }

  /** The time alone where it is of the last day, else with its date: an old value must not look like a live one. */
  moment(seconds, nowMs = Date.now()) { return Math.abs(nowMs / 1000 - seconds) < 86400 ? this.time(seconds) : this.full(seconds); }

  time(seconds) { return `${this.formats.second.format(seconds * 1000)} ${this.short}`; }
}

/** Seconds since 1970 of an ISO stamp. */
export const seconds = (stamp) => Date.parse(stamp) / 1000;
