// How requests are made: the generated client (data/api) with the session's credentials, and every failure a Problem.
import { client } from "./api/client.gen";
import { problemOf } from "./problem";
import { credentials } from "./session";

client.setConfig({ baseUrl: window.location.origin });
client.interceptors.request.use((request) => {
  for (const [name, value] of Object.entries(credentials())) {
    if (!request.headers.has(name)) request.headers.set(name, value);
  }
  return request;
});

type Result<T> = { data?: T; error?: unknown; response?: Response };

/** The data of an answer, or a thrown Problem. */
export async function ask<T>(call: Promise<Result<T>>): Promise<T> {
  const { data, error, response } = await call;
  if (error !== undefined) throw problemOf(error, response);
  return data as T;
}

/** Query parameters without those that are not set: the API refuses empty ones. */
export function given<T extends Record<string, unknown>>(query: T): { [K in keyof T]?: Exclude<T[K], "" | null> } {
  return Object.fromEntries(Object.entries(query).filter(([, v]) => v !== undefined && v !== "" && v !== null)) as {
    [K in keyof T]?: Exclude<T[K], "" | null>;
  };
}
