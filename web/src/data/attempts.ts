// Attempts: each HTTP request of a delivery and what came back.
import { queryOptions } from "@tanstack/react-query";
import { type Attempt, listAttempts, type ReceivedResponse } from "./api";
import { ask } from "./client";

export type { Attempt } from "./api";

export function attemptsOf(delivery: string) {
  return queryOptions({
    queryKey: ["attempts", delivery],
    queryFn: ({ signal }) => ask(listAttempts({ path: { id: delivery }, signal })),
    select: (list) => list.data,
  });
}

/** The kept body of a response as text; bytes that are not text come as base64, which `binary` says. */
export function responseText(response: ReceivedResponse | null): { text: string; binary: boolean } {
  if (response?.body_base64) return { text: response.body_base64, binary: true };
  return { text: response?.body ?? "", binary: false };
}

/** The attempt's request as a command for a shell. Masked header values stay masked, for the reader to fill in. */
export function asCurl(url: string, attempt: Attempt, body: string): string {
  const quote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
  const lines = [`curl -X POST ${quote(url)}`];
  for (const [name, values] of Object.entries(attempt.request.headers)) {
    if (/^(host|content-length|accept-encoding|connection)$/i.test(name)) continue;
    for (const value of values ?? []) lines.push(`-H ${quote(`${name}: ${value}`)}`);
  }
  lines.push(`--data-raw ${quote(body)}`);
  return lines.join(" \\\n  ");
}
