// Signing secrets: read only when a person asks, and never kept in the cache of answers.
import { useMutation } from "@tanstack/react-query";
import { getSecret, rotateSecret } from "./api";
import { ask } from "./client";

export type { SecretView } from "./api";

export function useReveal() {
  return useMutation({ mutationFn: (id: string) => ask(getSecret({ path: { id } })), gcTime: 0 });
}

/** Makes a new secret; the old one goes on signing for so many seconds. */
export function useRotate() {
  return useMutation({
    mutationFn: ({ id, overlap }: { id: string; overlap: number }) =>
      ask(rotateSecret({ path: { id }, body: { overlap_seconds: overlap } })),
    gcTime: 0,
  });
}
