// A subscription as the form holds it, and back.

import type { Pair } from "../components/pairs";
import type { Subscription, SubscriptionInput } from "../data/subscriptions";
import { patternFault } from "../data/subscriptions";
import { blankEndpoint, type EndpointForm, fromEndpoint, toEndpoint, validateEndpoint } from "./endpointvalues";
import { absoluteUrl, fromPairs, toPairs } from "./values";

export interface Form extends EndpointForm {
  url: string;
  description: string;
  types: string[];
  policy: "default" | "schedule" | "exponential";
  schedule: string;
  initial: number | string;
  multiplier: number | string;
  maximum: number | string;
  attempts: number | string;
  timeout: number | string;
  limit: number | string;
  per: "second" | "minute";
  inFlight: number | string;
  ordering: "none" | "fifo";
  onFailure: "block" | "skip";
  filter: string;
  finalStatuses: number[];
  window: number | undefined;
  headers: Pair[];
  metadata: Pair[];
  secret: string;
}

export const defaultSchedule = [5, 60, 300, 1800, 7200, 18_000, 36_000, 50_400, 57_600];

export const blank: Form = {
  ...blankEndpoint,
  url: "",
  description: "",
  types: [],
  policy: "default",
  schedule: defaultSchedule.join(", "),
  initial: 5,
  multiplier: 4,
  maximum: 36_000,
  attempts: 10,
  timeout: 15,
  limit: "",
  per: "second",
  inFlight: 64,
  ordering: "none",
  onFailure: "block",
  filter: "",
  finalStatuses: [],
  window: undefined,
  headers: [],
  metadata: [],
  secret: "",
};

export function fromSubscription(s: Subscription): Form {
  const exponential = s.retry.initial !== undefined;
  const schedule = s.retry.schedule ?? [];
  const isDefault = !exponential && schedule.join() === defaultSchedule.join();
  return {
    ...blank,
    ...fromEndpoint(s),
    url: s.url,
    description: s.description,
    types: s.event_types ?? [],
    policy: exponential ? "exponential" : isDefault ? "default" : "schedule",
    schedule: exponential ? blank.schedule : schedule.join(", "),
    initial: s.retry.initial ?? blank.initial,
    multiplier: s.retry.multiplier ?? blank.multiplier,
    maximum: s.retry.maximum ?? blank.maximum,
    attempts: s.retry.attempts ?? blank.attempts,
    timeout: s.timeout_seconds,
    limit: s.rate_limit?.limit ?? "",
    per: s.rate_limit?.per ?? "second",
    inFlight: s.max_in_flight,
    ordering: s.ordering,
    onFailure: s.on_failure,
    filter: s.filter ?? "",
    finalStatuses: s.retry.final_statuses ?? [],
    window: s.retry.window_seconds,
    headers: toPairs(s.headers),
    metadata: toPairs(s.metadata),
  };
}

/** The whole subscription: what is not set gets its default, as PUT and POST do. */
export function toInput(f: Form): SubscriptionInput {
  return {
    url: f.url.trim(),
    description: f.description,
    event_types: f.types,
    retry: retryOf(f),
    timeout_seconds: Number(f.timeout),
    rate_limit: f.limit === "" ? null : { limit: Number(f.limit), per: f.per },
    max_in_flight: Number(f.inFlight),
    ordering: f.ordering,
    on_failure: f.ordering === "fifo" ? f.onFailure : undefined,
    filter: f.filter.trim() || null,
    headers: fromPairs(f.headers),
    metadata: fromPairs(f.metadata),
    secret: f.secret.trim() || undefined,
    ...toEndpoint(f),
  };
}

function retryOf(f: Form): SubscriptionInput["retry"] {
  const ends = {
    ...(f.finalStatuses.length > 0 && { final_statuses: f.finalStatuses }),
    ...(f.window && { window_seconds: f.window }),
  };
  if (f.policy === "default") return Object.keys(ends).length > 0 ? ends : undefined;
  if (f.policy === "schedule") return { schedule: readSchedule(f.schedule), ...ends };
  return {
    ...ends,
    initial: Number(f.initial),
    multiplier: Number(f.multiplier),
    maximum: Number(f.maximum),
    attempts: Number(f.attempts),
  };
}

function readSchedule(text: string): number[] {
  return text
    .split(/[\s,]+/)
    .filter(Boolean)
    .map(Number);
}

export const validate = {
  ...validateEndpoint,
  url: absoluteUrl,
  types: (v: string[]) => {
    const wrong = v.find(patternFault);
    return wrong ? `${wrong} ${patternFault(wrong)}` : null;
  },
  schedule: (v: string, f: Form) =>
    f.policy === "schedule" && readSchedule(v).some((n) => !(n >= 0.1 && n <= 604_800))
      ? "Numbers of seconds from 0.1 to 604800, separated by commas"
      : null,
  timeout: (v: number | string) => (Number(v) >= 1 && Number(v) <= 60 ? null : "From 1 to 60"),
  inFlight: (v: number | string) => (Number(v) >= 1 && Number(v) <= 1024 ? null : "From 1 to 1024"),
};
