// Starting a replay: what, since when, to whom; counted before it begins.
import { Alert, Button, Group, Modal, Select, Stack, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { SubscriptionFilter, TextFilter, TimeFilter } from "../components/filters";
import { count, plural } from "../components/format";
import { Loading, ProblemAlert } from "../components/states";
import { type ReplayDraft, type ReplayKind, replayCount, replayRequest, useStartReplay } from "../data/replays";

interface Props {
  kind: string;
  subscription?: string;
  since?: string;
  onClose: () => void;
}

const kinds: { value: ReplayKind; label: string }[] = [
  { value: "failed", label: "What failed for good since then" },
  { value: "ended", label: "Every delivery that has ended, succeeded ones too" },
  { value: "matching", label: "Events, to the subscriptions that want them now" },
];

export function NewReplay({ kind, subscription, since, onClose }: Props) {
  const [draft, setDraft] = useState<ReplayDraft>({
    kind: kinds.find((k) => k.value === kind)?.value ?? "failed",
    since: since ?? "1h",
    subscription,
  });
  const set = (change: Partial<ReplayDraft>) => setDraft((old) => ({ ...old, ...change }));
  // The request counted is the request made: its times do not move while it is looked at.
  const request = useMemo(() => replayRequest(draft), [draft]);
  const counted = useQuery(replayCount(request));
  const start = useStartReplay();
  const begin = () =>
    start.mutate(request, {
      onSuccess: () => {
        notifications.show({ color: "teal", title: "Replaying", message: "Its progress stands in the list." });
        onClose();
      },
    });
  const wanted = counted.data?.deliveries ?? 0;
  return (
    <Modal opened onClose={onClose} title="Replay" size="lg">
      <Stack>
        <Select
          label="What"
          data={kinds}
          value={draft.kind}
          allowDeselect={false}
          onChange={(v) => set({ kind: (v as ReplayKind | null) ?? "failed" })}
        />
        <Group gap="xs" role="group" aria-label="Which of them">
          <TimeFilter since={draft.since} until={draft.until} onChange={set} />
          <TextFilter
            label="Type"
            placeholder="Type, like order.*"
            width={170}
            value={draft.type}
            onChange={(type) => set({ type })}
          />
          <SubscriptionFilter value={draft.subscription} onChange={(v) => set({ subscription: v })} />
        </Group>
        <Text size="xs" c="dimmed">
          New deliveries keep the event’s id, so receivers that drop duplicates ignore what they have. At most 500 a
          second are made.
        </Text>
        {counted.error ? (
          <ProblemAlert error={counted.error} retry={() => void counted.refetch()} />
        ) : counted.data ? (
          <Alert variant="light" color={wanted > 0 ? "blue" : "gray"} role="status" aria-label="Count">
            <Text size="sm">
              {wanted === 0 ? (
                "Nothing to replay."
              ) : (
                <>
                  <b>
                    {counted.data.complete ? "" : "More than "}
                    {plural(wanted, "delivery", "deliveries")}
                  </b>{" "}
                  would be made.
                </>
              )}
              {counted.data.skipped > 0 &&
                ` ${count(counted.data.skipped)} found are left out: delivered since, or gone.`}
            </Text>
          </Alert>
        ) : (
          <Loading rows={1} />
        )}
        {start.error && <ProblemAlert error={start.error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Close
          </Button>
          <Button onClick={begin} loading={start.isPending} disabled={wanted === 0}>
            {wanted > 0 ? `Replay ${plural(wanted, "delivery", "deliveries")}` : "Replay"}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
