// Workers: the processes of the cluster. Heartbeats are not part of the live stream, so these are asked for again.
import { queryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import { drainWorker, listWorkers } from "./api";
import { ask } from "./client";

export type { Worker } from "./api";

/** As often as workers report. */
const heartbeat = 5_000;

export function workers() {
  return queryOptions({
    queryKey: ["workers"],
    queryFn: ({ signal }) => ask(listWorkers({ signal })),
    select: (list) => list.data,
    refetchInterval: heartbeat,
  });
}

/** Asks a node to claim nothing more. */
export function useDrain() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: (id: string) => ask(drainWorker({ path: { id } })),
    onSuccess: () => cache.invalidateQueries({ queryKey: ["workers"] }),
  });
}
