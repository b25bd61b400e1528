// The queue: how much waits, for how long, in which lanes, and how that was over time.
import { queryOptions } from "@tanstack/react-query";
import { getQueue, getQueueHistory, type QueueHistory, type QueuePoint, type QueueView } from "./api";
import { ask } from "./client";
import { type Range, steps } from "./stats";
import { isoMoment } from "./timerange";

export type { LaneView, QueueHistory, QueueView } from "./api";

/** How many lanes are read: those with the longest backlogs. */
const mostLanes = 50;

export function queue(lanes = mostLanes) {
  return queryOptions({
    queryKey: ["queue", lanes],
    queryFn: ({ signal }) => ask(getQueue({ signal, query: { limit: lanes } })),
  });
}

/** What waits in one lane; undefined when that is not known, as beyond the longest backlogs. */
export interface Backlog {
  backlog?: number;
  capped?: boolean;
}

export function backlogIn(queue: QueueView | undefined, subscription: string): Backlog | undefined {
  const lane = queue?.lanes.find((l) => l.subscription_id === subscription);
  if (lane || !queue || queue.lanes.length >= mostLanes) return lane;
  return { backlog: 0 };
}

export function queueHistory(range: Range) {
  return queryOptions({
    queryKey: ["queuehistory", range],
    queryFn: ({ signal }) => ask(getQueueHistory({ signal, query: { since: isoMoment(range), step: steps[range] } })),
    placeholderData: (before) => before,
    // There is a sample a minute.
    staleTime: 30_000,
  });
}

/** Every step of the time; null where there was no sample, because no server ran. */
export function everySample<T>(
  history: QueueHistory,
  read: (point: QueuePoint) => T,
): { at: number; value: T | null }[] {
  const step = history.step_seconds * 1000;
  const byTime = new Map(history.data.map((p) => [Date.parse(p.at), p]));
  const out: { at: number; value: T | null }[] = [];
  for (let at = Date.parse(history.since); at < Date.parse(history.until); at += step) {
    const point = byTime.get(at);
    out.push({ at, value: point ? read(point) : null });
  }
  return out;
}
