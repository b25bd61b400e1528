// Deliveries: lists, one, and what a person can do to them.
import { infiniteQueryOptions, queryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import {
  type BulkFilter,
  cancelDelivery,
  changeDeliveries,
  type Delivery,
  getDelivery,
  listDeliveries,
  retryDelivery,
} from "./api";
import { ask, given } from "./client";
import { isoMoment } from "./timerange";

export type { Delivery } from "./api";

/** A filter as it stands in the URL. */
export interface DeliveryFilter {
  status?: string;
  outcome?: string;
  code?: string;
  subscription?: string;
  event?: string;
  type?: string;
  since?: string;
  until?: string;
  replay?: string;
}

export function deliveryList(filter: DeliveryFilter, limit = 50) {
  return infiniteQueryOptions({
    queryKey: ["deliveries", "list", filter, limit],
    initialPageParam: "",
    queryFn: ({ pageParam, signal }) =>
      ask(
        listDeliveries({
          signal,
          query: given({
            limit,
            cursor: pageParam,
            status: filter.status,
            outcome: filter.outcome as Delivery["last_outcome"] & string,
            status_code: filter.code,
            subscription_id: filter.subscription,
            event_id: filter.event,
            event_type: filter.type,
            since: isoMoment(filter.since),
            until: isoMoment(filter.until),
            replay_id: filter.replay,
          }),
        }),
      ),
    getNextPageParam: (page) => page.next_cursor,
  });
}

export function deliveryById(id: string) {
  return queryOptions({
    queryKey: ["deliveries", "one", id],
    queryFn: ({ signal }): Promise<Delivery> => ask(getDelivery({ path: { id }, signal })),
  });
}

/** The same filter as a bulk change takes it. Relative times are fixed at this moment. */
export function bulkFilter(filter: DeliveryFilter): BulkFilter {
  return given({
    status: filter.status?.split(",") as BulkFilter["status"],
    outcome: filter.outcome as BulkFilter["outcome"],
    status_code: filter.code ? Number(filter.code) : undefined,
    subscription_id: filter.subscription,
    event_id: filter.event,
    event_type: filter.type?.split(",").map((t) => t.trim()),
    since: isoMoment(filter.since),
    until: isoMoment(filter.until),
    replay_id: filter.replay,
  });
}

export type BulkAction = "retry" | "cancel";

/** Counts, or changes, all deliveries of a filter, however many requests that takes. */
export async function changeAll(action: BulkAction, filter: BulkFilter, dryRun: boolean): Promise<number> {
  let total = 0;
  let cursor: string | undefined;
  do {
    const report = await ask(
      changeDeliveries({ body: { action, filter, dry_run: dryRun, ...(cursor ? { cursor } : {}) } }),
    );
    total += dryRun ? report.matched : report.changed;
    cursor = report.next_cursor ?? undefined;
  } while (cursor);
  return total;
}

/** Changes the deliveries named, a few at a time, and says how many were changed and what refused the others. */
export async function changeEach(action: BulkAction, ids: string[]): Promise<{ changed: number; refusals: unknown[] }> {
  const change = action === "retry" ? retryDelivery : cancelDelivery;
  const rest = [...ids];
  const refusals: unknown[] = [];
  const worker = async () => {
    for (let id = rest.pop(); id; id = rest.pop()) {
      await ask(change({ path: { id } })).catch((error) => refusals.push(error));
    }
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
  return { changed: ids.length - refusals.length, refusals };
}

/** Retries or cancels one delivery; what it became is shown at once. */
export function useDeliveryChange(action: BulkAction) {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: (id: string) => ask((action === "retry" ? retryDelivery : cancelDelivery)({ path: { id } })),
    onSuccess: (delivery) => {
      cache.setQueryData(deliveryById(delivery.id).queryKey, delivery);
      void cache.invalidateQueries({ queryKey: ["deliveries", "list"] });
    },
  });
}
