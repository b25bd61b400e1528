import { ActionIcon, Group } from "@mantine/core";
import { IconPlayerPause, IconPlayerPlay } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { count, hostPath, span } from "../components/format";
import { type Column, Rows, rowLink } from "../components/rows";
import { Empty } from "../components/states";
import { StatusBadge } from "../components/status";
import { SubscriptionName } from "../components/subscriptionname";
import { Time } from "../components/time";
import type { LaneView } from "../data/queue";
import { useHold } from "../data/subscriptions";
import { backlogOf, LaneBadges } from "./lane";

const columns: Column<LaneView>[] = [
  {
    title: "Lane",
    width: "minmax(150px, 2fr)",
    narrow: "line",
    cell: (l) => (
      <Link to="/ui/subscriptions/$id" params={{ id: l.subscription_id }} className={rowLink}>
        <SubscriptionName id={l.subscription_id} url={l.url} />
      </Link>
    ),
  },
  {
    title: "State",
    width: "minmax(110px, 1.2fr)",
    cell: (l) => (
      <Group gap={4} py={4}>
        <StatusBadge kind="subscription" status={l.status} />
        <LaneBadges lane={l.lane} />
      </Group>
    ),
  },
  { title: "Backlog", width: "76px", align: "right", cell: backlogOf },
  { title: "In flight", width: "70px", align: "right", narrow: "hidden", cell: (l) => count(l.in_flight) },
  {
    title: "Oldest due",
    width: "90px",
    align: "right",
    narrow: "hidden",
    cell: (l) => (l.oldest_due_seconds < 1 ? "–" : span(l.oldest_due_seconds)),
  },
  { title: "Next", width: "90px", align: "right", narrow: "hidden", cell: (l) => <Time at={l.next_due_at} /> },
  { title: "Hold", width: "44px", align: "right", cell: (l) => <Hold lane={l} /> },
];

function Hold({ lane }: { lane: LaneView }) {
  const active = lane.status === "active";
  const change = useHold(active ? "pause" : "resume");
  const label = `${active ? "Pause" : "Resume"} ${hostPath(lane.url)}`;
  return (
    <ActionIcon
      size="sm"
      aria-label={label}
      title={label}
      loading={change.isPending}
      onClick={() => change.mutate(lane.subscription_id)}
    >
      {active ? <IconPlayerPause size={14} /> : <IconPlayerPlay size={14} />}
    </ActionIcon>
  );
}

export function Lanes({ lanes }: { lanes: LaneView[] }) {
  if (lanes.length === 0)
    return (
      <Empty small title="Nothing waits">
        Every delivery was sent as soon as it was due.
      </Empty>
    );
  return <Rows label="Lanes" columns={columns} rows={lanes} keyOf={(l) => l.subscription_id} />;
}
