// Filters of subscriptions, tried on an event without storing or sending anything.
import { queryOptions, useMutation } from "@tanstack/react-query";
import { testFilter } from "./api";
import { ask } from "./client";

export type { FilterVerdict } from "./api";

/** An event to try a filter on. The payload is JSON text. */
export interface Trial {
  subscription: string;
  filter: string;
  type: string;
  payload: string;
}

function tryFilter(trial: Trial, signal?: AbortSignal) {
  const head = JSON.stringify({ filter: trial.filter, type: trial.type }).slice(0, -1);
  // The payload goes as it stands: its numbers are what the filter compares.
  const text = `${head},"payload":${trial.payload}}`;
  const body = { type: trial.type, payload: null };
  return ask(testFilter({ path: { id: trial.subscription }, body, bodySerializer: () => text, signal }));
}

export function useFilterTrial() {
  return useMutation({ mutationFn: (trial: Trial) => tryFilter(trial) });
}

/** What a subscription's filter says to an event that was stored. */
export function filterVerdict(trial: Trial) {
  return queryOptions({
    queryKey: ["filters", trial],
    queryFn: ({ signal }) => tryFilter(trial, signal),
    staleTime: Number.POSITIVE_INFINITY,
  });
}
