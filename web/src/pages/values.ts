// What the values of several forms are made with.
import type { Pair } from "../components/pairs";

export function toPairs(map: Record<string, string> | null | undefined): Pair[] {
  return Object.entries(map ?? {}).map(([name, value]) => ({ name, value }));
}

/** Pairs without a name say nothing. */
export function fromPairs(list: Pair[]): Record<string, string> {
  return Object.fromEntries(list.filter((p) => p.name.trim()).map((p) => [p.name.trim(), p.value]));
}

/** What is wrong with a URL, if anything. */
export function absoluteUrl(v: string): string | null {
  try {
    const url = new URL(v.trim());
    if (url.protocol === "https:" || url.protocol === "http:") return null;
  } catch {
    // Not a URL: the sentence below says what would be one.
  }
  return v.trim() === "" ? "A URL is needed" : "An absolute URL like https://example.com/webhooks";
}
