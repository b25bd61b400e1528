// Workers: the processes of the cluster. The live stream brings them with every heartbeat.
import { queryOptions } from "@tanstack/react-query";
import { drainWorker, listWorkers } from "./api";
import { ask } from "./client";
import { useChange } from "./query";

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
  return useChange(["workers"], (id: string) => ask(drainWorker({ path: { id } })));
}
