// Subscriptions: lists, one, every change to it, and which of them are in trouble.
import { infiniteQueryOptions, queryOptions, useMutation, useQuery } from "@tanstack/react-query";
import {
  createSubscription,
  deleteSubscription,
  getSubscription,
  listSubscriptions,
  pauseSubscription,
  replaceSubscription,
  resumeSubscription,
  type Subscription,
  type SubscriptionInput,
  testSubscription,
} from "./api";
import { ask, given } from "./client";
import { isEventType } from "./eventtypes";
import { useChange } from "./query";

export type { Subscription, SubscriptionInput, TestResult } from "./api";

/** A filter as it stands in the URL. */
export interface SubscriptionFilter {
  q?: string;
  status?: string;
}

export function subscriptionList(filter: SubscriptionFilter, limit = 50) {
  return infiniteQueryOptions({
    queryKey: ["subscriptions", "list", filter, limit],
    initialPageParam: "",
    queryFn: ({ pageParam, signal }) =>
      ask(
        listSubscriptions({
          signal,
          query: given({
            limit,
            cursor: pageParam,
            q: filter.q,
            status: filter.status as Subscription["status"] | undefined,
          }),
        }),
      ),
    getNextPageParam: (page) => page.next_cursor,
  });
}

/** The first two hundred, for choosing one and for the overview. */
export function subscriptionChoices() {
  return queryOptions({
    queryKey: ["subscriptions", "choices"],
    queryFn: ({ signal }) => ask(listSubscriptions({ signal, query: { limit: 200 } })),
    select: (list) => list.data,
  });
}

export function subscriptionById(id: string) {
  return queryOptions({
    queryKey: ["subscriptions", "one", id],
    queryFn: ({ signal }) => ask(getSubscription({ path: { id }, signal })),
  });
}

/** Whether a person should look at it: disabled, behind an open breaker, or without a success since a failure. */
export function inTrouble(s: Subscription): boolean {
  return s.status === "disabled" || !!s.lane?.breaker_until || !!s.lane?.failing_since;
}

/** Whether a subscription's types and patterns want a type: the rule of the API's own matching. */
export function wants(patterns: string[], type: string): boolean {
  const own = type.startsWith("posthorn.");
  if (patterns.length === 0) return !own;
  return patterns.some((p) => p === type || (p === "*" ? !own : p.endsWith("*") && type.startsWith(p.slice(0, -1))));
}

/** What is wrong with an event type or a pattern, for validation while typing; the API has the last word. */
export function patternFault(pattern: string): string | undefined {
  if (pattern === "*" || isEventType(pattern.replace(/\.\*$/, ""))) return undefined;
  return "must be an event type like order.created, a pattern like order.*, or *";
}

export function useFailingCount(): number {
  return useQuery({ ...subscriptionChoices(), select: (list) => list.data.filter(inTrouble).length }).data ?? 0;
}

export function useCreateSubscription() {
  return useChange(["subscriptions"], (body: SubscriptionInput) => ask(createSubscription({ body })));
}

/** Writes a whole subscription: what is left out gets its default, but for the secret and the status. */
export function useReplaceSubscription() {
  return useChange(["subscriptions"], ({ id, input }: { id: string; input: SubscriptionInput }) =>
    ask(replaceSubscription({ path: { id }, body: input })),
  );
}

export function useDeleteSubscription() {
  return useChange(["subscriptions"], (id: string) => ask(deleteSubscription({ path: { id } })));
}

export function useHold(action: "pause" | "resume") {
  return useChange(["subscriptions"], (id: string) =>
    ask((action === "pause" ? pauseSubscription : resumeSubscription)({ path: { id } })),
  );
}

/** Resumes a subscription without what it held, which is cancelled. */
export function useSkipBacklog() {
  return useChange(["subscriptions"], (id: string) =>
    ask(resumeSubscription({ path: { id }, body: { backlog: "skip" } })),
  );
}

/** Sends posthorn.test to one subscription and waits for the first attempt. */
export function useTestSend() {
  return useMutation({ mutationFn: (id: string) => ask(testSubscription({ path: { id } })) });
}
