// The built-in test receiver, there in development and the demo only. It is no operation of the API's document.
import { queryOptions } from "@tanstack/react-query";
import { problemOf } from "./problem";

/** What a bin received. */
export interface Received {
  at: string;
  headers: Record<string, string[]>;
  body: string;
  /** What the bin answered. */
  status: number;
}

export function binUrl(name: string, status = 200): string {
  return `${window.location.origin}/play/${name}${status === 200 ? "" : `?status=${status}`}`;
}

/** What a bin holds, newest first; null where there is no test receiver. */
export function bin(name: string) {
  return queryOptions({
    queryKey: ["play", name],
    queryFn: async ({ signal }): Promise<Received[] | null> => {
      const response = await fetch(`/play/${name}`, { signal }).catch(() => undefined);
      if (response?.status === 404) return null;
      if (!response?.ok) throw problemOf(undefined, response);
      return ((await response.json()) as { data: Received[] }).data;
    },
  });
}
