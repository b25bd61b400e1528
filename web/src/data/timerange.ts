// A range of time as it stands in a URL: "1h" or "3d" counts back from now, anything else is a moment (RFC 3339).

const sizes: Record<string, number> = { m: 60_000, h: 3600_000, d: 86_400_000 };

/** The moment that a text in a URL means, or undefined when it means none. */
export function readMoment(text: string | undefined, now: number): Date | undefined {
  if (!text) return undefined;
  const back = /^(\d{1,4})([mhd])$/.exec(text);
  if (back) return new Date(now - Number(back[1]) * (sizes[back[2] ?? ""] ?? 0));
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : new Date(at);
}

/** For the API: RFC 3339 in UTC. */
export function isoMoment(text: string | undefined, now = Date.now()): string | undefined {
  return readMoment(text, now)?.toISOString();
}

/** For an input of the type datetime-local: the same moment in the reader's zone, to the minute. */
export function localInput(text: string | undefined, now = Date.now()): string {
  const at = readMoment(text, now);
  if (!at) return "";
  const shifted = new Date(at.getTime() - at.getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, 16);
}

/** What an input of the type datetime-local says, as a moment for the URL. */
export function fromLocalInput(value: string): string | undefined {
  const at = new Date(value);
  return value && !Number.isNaN(at.getTime()) ? at.toISOString().replace(".000", "") : undefined;
}
