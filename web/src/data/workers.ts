// Workers: the processes of the cluster. The live stream brings them with every heartbeat.
import { queryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import { drainWorker, listWorkers } from "./api";
import { ask } from "./client";

export type { Worker } from "./api";

export function workers() {
  return queryOptions({
    queryKey: ["workers"],
    queryFn: ({ signal }) => ask(listWorkers({ signal })),
    select: (list) => list.data,
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
