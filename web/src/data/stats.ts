// Statistics: what happened in each step of a time, of all subscriptions or one.
import { queryOptions } from "@tanstack/react-query";
import { getStats, type StatsPoint, type StatsView } from "./api";
import { ask, given } from "./client";
import { isoMoment } from "./timerange";

export type { StatsPoint, StatsView } from "./api";

export type Range = "1h" | "24h" | "3d";

export const steps: Record<Range, "1m" | "15m" | "1h"> = { "1h": "1m", "24h": "15m", "3d": "1h" };

export function stats(range: Range, subscription?: string) {
  return queryOptions({
    queryKey: ["stats", range, subscription ?? ""],
    queryFn: ({ signal }) =>
      ask(
        getStats({
          signal,
          query: given({ since: isoMoment(range), step: steps[range], subscription_id: subscription }),
        }),
      ),
    placeholderData: (before) => before,
  });
}

/** Every step of the time, those in which nothing happened included. */
export function everyStep<T>(view: StatsView, read: (point: StatsPoint | undefined) => T): { at: number; value: T }[] {
  const step = view.step_seconds * 1000;
  const byTime = new Map(view.data.map((p) => [Date.parse(p.at), p]));
  const out: { at: number; value: T }[] = [];
  for (let at = Date.parse(view.since); at < Date.parse(view.until); at += step) {
    out.push({ at, value: read(byTime.get(at)) });
  }
  return out;
}

/** The share of attempts that succeeded, or undefined without any. */
export function successRate(counts: { attempts: number; failed: number }): number | undefined {
  return counts.attempts > 0 ? (counts.attempts - counts.failed) / counts.attempts : undefined;
}

export type Mood = "good" | "warn" | "bad";

/** How a share of attempts that succeeded looks; nothing without a share. */
export function moodOf(share: number | undefined): Mood | undefined {
  if (share === undefined) return undefined;
  return share < 0.5 ? "bad" : share < 0.95 ? "warn" : "good";
}
