// The configuration in force at the node that answers. It changes with a restart only.
import { queryOptions } from "@tanstack/react-query";
import { getSettings } from "./api";
import { ask } from "./client";

export type { SettingsView, Variable } from "./api";

export function settings() {
  return queryOptions({
    queryKey: ["settings"],
    queryFn: ({ signal }) => ask(getSettings({ signal })),
    staleTime: 60_000,
  });
}
