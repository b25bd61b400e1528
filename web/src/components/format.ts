// Numbers, durations and moments as people read them. Times are shown in the reader's zone; utc() is for the hover.

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export function count(n: number): string {
  return Math.abs(n) < 10_000 ? whole.format(n) : short.format(n);
}

export function plural(n: number, noun: string, nouns = `${noun}s`): string {
  return `${count(n)} ${n === 1 ? noun : nouns}`;
}

/** A share of 0 to 1; what is not quite everything never reads 100 %. */
export function percent(share: number): string {
  if (share >= 1) return "100 %";
  const value = Math.min(share * 100, 99.99);
  const digits = value >= 99.9 ? 2 : value >= 10 || value === 0 ? 1 : 2;
  return `${trim((Math.floor(value * 10 ** digits) / 10 ** digits).toFixed(digits))} %`;
}

export function rate(perSecond: number): string {
  if (perSecond === 0) return "0/s";
  if (perSecond < 0.1) return `${trim((perSecond * 60).toPrecision(2))}/min`;
  return `${perSecond < 10 ? trim(perSecond.toFixed(1)) : count(Math.round(perSecond))}/s`;
}

function trim(digits: string): string {
  return digits.includes(".") ? digits.replace(/\.?0+$/, "") : digits;
}

/** A measured time, given in milliseconds: 0.4 ms, 42 ms, 1.3 s, 2 m 5 s. */
export function milliseconds(ms: number): string {
  if (ms < 1) return `${trim(ms.toFixed(2))} ms`;
  if (ms < 10) return `${trim(ms.toFixed(1))} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${trim((ms / 1000).toFixed(ms < 10_000 ? 2 : 1))} s`;
  return span(ms / 1000);
}

const units: [string, number][] = [
  ["d", 86_400],
  ["h", 3600],
  ["m", 60],
  ["s", 1],
];

/** A span of time in seconds, in its two largest units: 2 h 30 m. */
export function span(seconds: number): string {
  const total = Math.max(0, seconds);
  if (total < 1) return total === 0 ? "0 s" : "< 1 s";
  let rest = Math.round(total);
  const parts: string[] = [];
  for (const [unit, size] of units) {
    const n = Math.floor(rest / size);
    if (n > 0) parts.push(`${n} ${unit}`);
    else if (parts.length > 0) break;
    rest -= n * size;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

/** How long ago or ahead a moment is: "12 s ago", "in 4 m 10 s", "now". */
export function relative(at: number, now: number): string {
  const seconds = (at - now) / 1000;
  if (Math.abs(seconds) < 1) return "now";
  const far = Math.abs(seconds) >= 3600 ? Math.round(Math.abs(seconds) / 60) * 60 : Math.abs(seconds);
  return seconds < 0 ? `${coarse(far)} ago` : `in ${span(far)}`;
}

/** One unit is enough for the past. */
function coarse(seconds: number): string {
  for (const [unit, size] of units) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  return "0 s";
}

export function bytes(n: number): string {
  if (n < 1024) return `${n} B`;
  const kib = n / 1024;
  if (kib < 1024) return `${trim(kib.toFixed(kib < 10 ? 1 : 0))} KiB`;
  const mib = kib / 1024;
  if (mib < 1024) return `${trim(mib.toFixed(mib < 10 ? 1 : 0))} MiB`;
  return `${trim((mib / 1024).toFixed(1))} GiB`;
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const full = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  timeZoneName: "short",
});

/** The time of day, with the date unless it is today's. */
export function moment(at: number, now: number): string {
  const sameDay = new Date(at).toDateString() === new Date(now).toDateString();
  return sameDay ? clock.format(at) : `${day.format(at)}, ${clock.format(at)}`;
}

export function local(at: number): string {
  return full.format(at);
}

export function utc(at: number): string {
  return `${new Date(at).toISOString().replace("T", " ").replace("Z", "")} UTC`;
}

/** A URL shortened to what tells it apart: host and path. */
export function hostPath(url: string): string {
  return url.replace(/^[a-z]+:\/\//i, "").replace(/\/$/, "");
}
