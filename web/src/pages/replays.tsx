// Replays: what is delivered again in the background, how far it is, and the means to stop it.
import { Badge, Button, Group, Progress, Stack, Text } from "@mantine/core";
import { modals } from "@mantine/modals";
import { IconRepeat } from "@tabler/icons-react";
import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { count, plural } from "../components/format";
import { ButtonLink, TextLink } from "../components/link";
import { List, useFilters } from "../components/list";
import { Page } from "../components/page";
import type { Column } from "../components/rows";
import { Empty, ProblemAlert } from "../components/states";
import { SubscriptionName } from "../components/subscriptionname";
import { Time } from "../components/time";
import { isUnderWay, progressOf, type Replay, replayList, useCancelReplay } from "../data/replays";
import { NewReplay } from "./newreplay";

const route = getRouteApi("/ui/replays");

const colors = { pending: "blue", running: "blue", completed: "teal", cancelled: "gray", failed: "red" } as const;

function What({ replay: r }: { replay: Replay }) {
  const { filter: f } = r;
  const only = f.subscription_id ?? r.subscription_ids?.[0];
  const since = f.failed_since ?? f.since;
  return (
    <Stack gap={0} py={8} style={{ whiteSpace: "normal" }}>
      <Text size="sm" fw={550}>
        {f.failed_since ? "What failed" : r.to === "matching" ? "Events, to those who want them" : "Ended deliveries"}
      </Text>
      <Text size="xs" c="dimmed">
        {since && (
          <>
            since <Time at={since} as="moment" />
          </>
        )}
        {f.event_type && ` of ${f.event_type.join(", ")}`}
        {only && (
          <>
            {" to "}
            <SubscriptionName id={only} />
          </>
        )}
      </Text>
      {r.error && (
        <Text size="xs" c="var(--mantine-color-error)">
          {r.error}
        </Text>
      )}
    </Stack>
  );
}

function Done({ replay: r }: { replay: Replay }) {
  const share = progressOf(r);
  const words = `${count(r.created)} made${r.skipped ? `, ${count(r.skipped)} left out` : ""}${
    r.total !== null && isUnderWay(r) ? ` of ${count(r.total)}` : ""
  }`;
  return (
    <Stack gap={4} py={8}>
      {isUnderWay(r) && (
        <Progress
          value={(share ?? 1) * 100}
          animated={share === undefined}
          size="sm"
          aria-label={`Progress: ${words}`}
          color="brand"
        />
      )}
      <Text size="xs" title={leftOut(r)}>
        {words}
      </Text>
    </Stack>
  );
}

const reasons: Record<string, string> = {
  superseded: "delivered later, or on its way",
  gone: "event removed by the retention",
  payload_erased: "payload erased",
  subscription_deleted: "subscription deleted",
  expired: "event expired",
};

function leftOut(r: Replay): string | undefined {
  const parts = Object.entries(r.skipped_by).filter(([, n]) => typeof n === "number" && n > 0);
  return parts.length > 0 ? parts.map(([why, n]) => `${n}: ${reasons[why] ?? why}`).join("\n") : undefined;
}

function Cancel({ replay: r }: { replay: Replay }) {
  const cancel = useCancelReplay();
  if (!isUnderWay(r)) return null;
  const stop = () =>
    cancel.mutate(r.id, {
      onError: (error) => modals.open({ title: "It was not cancelled", children: <ProblemAlert error={error} /> }),
    });
  return (
    <Button size="compact-xs" variant="default" loading={cancel.isPending} onClick={stop}>
      Cancel
    </Button>
  );
}

const columns: Column<Replay>[] = [
  { title: "What", width: "minmax(200px, 2fr)", narrow: "line", cell: (r) => <What replay={r} /> },
  {
    title: "State",
    width: "110px",
    cell: (r) => <Badge color={colors[r.status]}>{r.status.charAt(0).toUpperCase() + r.status.slice(1)}</Badge>,
  },
  { title: "Deliveries", width: "minmax(150px, 1fr)", narrow: "line", cell: (r) => <Done replay={r} /> },
  {
    title: "Made by it",
    width: "90px",
    cell: (r) => (
      <TextLink to="/ui/deliveries" search={{ replay: r.id }} size="sm">
        Deliveries
      </TextLink>
    ),
  },
  { title: "Asked for", width: "90px", align: "right", cell: (r) => <Time at={r.created_at} /> },
  { title: "Stop", width: "76px", align: "right", cell: (r) => <Cancel replay={r} /> },
];

export default function Replays() {
  const { filter, set } = useFilters(route);
  const list = useInfiniteQuery(replayList());
  const running = list.data?.pages[0]?.data.filter(isUnderWay).length ?? 0;
  return (
    <Page
      title="Replays"
      lead={running > 0 ? `${plural(running, "replay")} under way.` : "Many deliveries made again, in the background."}
      actions={
        <ButtonLink to="/ui/replays" search={{ start: "failed" }} leftSection={<IconRepeat size={16} />}>
          Replay…
        </ButtonLink>
      }
    >
      <List
        label="Replays"
        query={list}
        columns={columns}
        keyOf={(r) => r.id}
        none={
          <Empty
            title="No replays"
            action={
              <Group>
                <ButtonLink to="/ui/replays" search={{ start: "failed" }} size="xs">
                  Replay what failed
                </ButtonLink>
              </Group>
            }
          >
            After an outage of a receiver, everything it missed can be delivered again at once, with the full retries.
          </Empty>
        }
      />
      {filter.start && (
        <NewReplay
          kind={filter.start}
          subscription={filter.subscription}
          since={filter.since}
          onClose={() => set({ start: undefined, subscription: undefined, since: undefined })}
        />
      )}
    </Page>
  );
}
