import { Badge, Box, Group, Text } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { ChoiceFilter, TextFilter } from "../components/filters";
import { count, hostPath, milliseconds, percent } from "../components/format";
import { ButtonLink } from "../components/link";
import { Filters, List, NoMatch, useFilters } from "../components/list";
import { Page } from "../components/page";
import { type Column, rowLink } from "../components/rows";
import { Sparkline } from "../components/sparkline";
import { Empty } from "../components/states";
import { StatusBadge } from "../components/status";
import { backlogIn, queue } from "../data/queue";
import { everyStep, moodOf, stats, successRate } from "../data/stats";
import { type Subscription, subscriptionList } from "../data/subscriptions";
import { backlogOf, LaneBadges } from "./lane";

const route = getRouteApi("/ui/subscriptions");

const columns: Column<Subscription>[] = [
  {
    title: "Subscription",
    width: "minmax(160px, 2fr)",
    narrow: "line",
    cell: (s) => (
      <Box pt={s.description ? 6 : 0}>
        <Link to="/ui/subscriptions/$id" params={{ id: s.id }} className={rowLink}>
          {s.description || hostPath(s.url)}
        </Link>
        {s.description && (
          <Text size="xs" c="dimmed" truncate pb={6}>
            {hostPath(s.url)}
          </Text>
        )}
      </Box>
    ),
  },
  {
    title: "Status",
    width: "minmax(110px, 190px)",
    cell: (s) => (
      <Group gap={4} py={4}>
        <StatusBadge kind="subscription" status={s.status} />
        <LaneBadges lane={s.lane} />
      </Group>
    ),
  },
  { title: "Types", width: "minmax(110px, 1fr)", narrow: "hidden", cell: (s) => <Types types={s.event_types} /> },
  { title: "Success, 24 h", width: "90px", align: "right", cell: (s) => <Success id={s.id} /> },
  { title: "p95", width: "70px", align: "right", narrow: "hidden", cell: (s) => <Slowest id={s.id} /> },
  { title: "Backlog", width: "70px", align: "right", narrow: "hidden", cell: (s) => <Backlog id={s.id} /> },
  { title: "Attempts, 24 h", width: "130px", narrow: "hidden", align: "right", cell: (s) => <Activity id={s.id} /> },
];

export function Types({ types }: { types: string[] }) {
  if (types.length === 0)
    return (
      <Text span c="dimmed" size="sm">
        all
      </Text>
    );
  return (
    <Group gap={4} wrap="nowrap" title={types.join(", ")}>
      <Badge color="gray" ff="monospace" fw={500}>
        {types[0]}
      </Badge>
      {types.length > 1 && (
        <Text size="xs" c="dimmed">
          +{types.length - 1}
        </Text>
      )}
    </Group>
  );
}

function Success({ id }: { id: string }) {
  const { data } = useQuery(stats("24h", id));
  const share = data && successRate(data.totals);
  if (share === undefined)
    return (
      <Text span c="dimmed" size="sm">
        –
      </Text>
    );
  return (
    <Text span size="sm" fw={550} c={`var(--ph-${moodOf(share)})`}>
      {percent(share)}
    </Text>
  );
}

function Slowest({ id }: { id: string }) {
  const p95 = useQuery(stats("24h", id)).data?.totals.duration.p95_ms;
  return <>{p95 == null ? "–" : milliseconds(p95)}</>;
}

function Backlog({ id }: { id: string }) {
  return <>{backlogOf(backlogIn(useQuery(queue()).data, id))}</>;
}

function Activity({ id }: { id: string }) {
  const { data } = useQuery(stats("24h", id));
  if (!data) return null;
  const points = everyStep(data, (p) => p?.attempts ?? 0).map((p) => p.value);
  const failed = data.totals.failed > data.totals.attempts / 2;
  return (
    <Sparkline
      values={points}
      width={120}
      height={24}
      color={failed ? "var(--ph-bad)" : "var(--ph-info)"}
      label={`${count(data.totals.attempts)} attempts in 24 hours, ${count(data.totals.failed)} failed`}
    />
  );
}

const statuses = [
  { value: "active", label: "Active" },
  { value: "paused", label: "Paused" },
  { value: "disabled", label: "Disabled" },
];

export default function Subscriptions() {
  const { filter, set, filtered } = useFilters(route);
  const list = useInfiniteQuery(subscriptionList(filter));
  return (
    <Page
      title="Subscriptions"
      lead="Who gets which events, and how it goes."
      actions={
        <ButtonLink to="/ui/subscriptions/new" leftSection={<IconPlus size={16} />}>
          Create
        </ButtonLink>
      }
    >
      <Filters label="Filter subscriptions">
        <TextFilter
          label="URL or description"
          placeholder="URL or description"
          width={260}
          value={filter.q}
          onChange={(q) => set({ q })}
        />
        <ChoiceFilter label="Status" choices={statuses} value={filter.status} onChange={(status) => set({ status })} />
      </Filters>
      <List
        label="Subscriptions"
        query={list}
        columns={columns}
        keyOf={(s) => s.id}
        none={<NoSubscriptions filtered={filtered} />}
      />
    </Page>
  );
}

function NoSubscriptions({ filtered }: { filtered: boolean }) {
  if (filtered) return <NoMatch what="subscription" />;
  return (
    <Empty
      title="No subscriptions yet"
      action={
        <ButtonLink to="/ui/subscriptions/new" size="xs">
          Create the first one
        </ButtonLink>
      }
    >
      A subscription is a URL and the event types it wants.
    </Empty>
  );
}
