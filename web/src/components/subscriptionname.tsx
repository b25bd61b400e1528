import { useQuery } from "@tanstack/react-query";
import { type Subscription, subscriptionChoices } from "../data/subscriptions";
import { hostPath } from "./format";

function descriptions(list: { data: Subscription[] }): Map<string, string> {
  return new Map(list.data.map((s) => [s.id, s.description]));
}

/** How people know a subscription: by its description, or else by its URL without the scheme. */
export function SubscriptionName({ id, url }: { id: string; url?: string }) {
  const known = useQuery({ ...subscriptionChoices(), select: descriptions }).data?.get(id);
  return <span title={url}>{known || hostPath(url ?? "") || id}</span>;
}
