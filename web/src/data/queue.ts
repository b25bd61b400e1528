// The queue: how much waits, for how long, and in which lanes.
import { queryOptions } from "@tanstack/react-query";
import { getQueue } from "./api";
import { ask } from "./client";

export type { LaneView, QueueView } from "./api";

export function queue(lanes = 50) {
  return queryOptions({
    queryKey: ["queue", lanes],
    queryFn: ({ signal }) => ask(getQueue({ signal, query: { limit: lanes } })),
  });
}
