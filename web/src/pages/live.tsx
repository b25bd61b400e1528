// The live tail: every attempt and every delivery that ends or begins, as it happens.
import { ActionIcon, Box, Button, Group, Text } from "@mantine/core";
import { IconPlayerPauseFilled, IconPlayerPlayFilled, IconTrash } from "@tabler/icons-react";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useVirtualizer } from "@tanstack/react-virtual";
import { memo, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { ChoiceFilter, SubscriptionFilter, TextFilter } from "../components/filters";
import { count, milliseconds, moment } from "../components/format";
import { Card, Page } from "../components/page";
import rows from "../components/rows.module.css";
import { Empty } from "../components/states";
import { DeliveryBadge, Outcome } from "../components/status";
import { SubscriptionName } from "../components/subscriptionname";
import { type Update, useLiveState, useUpdates } from "../data/live";
import { Tail, type TailRow, tailFilter } from "../data/tail";
import classes from "./live.module.css";

const route = getRouteApi("/ui/live");

const kinds = [
  { value: "failed", label: "Failures" },
  { value: "succeeded", label: "Successes" },
];

export default function Live() {
  const filter = route.useSearch();
  const navigate = route.useNavigate();
  const [tail] = useState(() => new Tail());
  const [paused, setPaused] = useState(false);
  const [shown, setShown] = useState<TailRow[]>([]);
  const set = (change: Partial<typeof filter>) =>
    void navigate({ search: (old) => ({ ...old, ...change }), replace: true });
  const hear = useCallback((updates: Update[]) => tail.add(updates), [tail]);
  useUpdates(hear);

  // However fast updates come, the list is drawn four times a second at most.
  useEffect(() => {
    if (paused) return;
    const draw = () => setShown(tail.rows());
    const timer = setInterval(() => tail.changed() && draw(), 250);
    draw();
    return () => clearInterval(timer);
  }, [tail, paused]);

  const wanted = useMemo(() => shown.filter(tailFilter(filter)), [shown, filter]);
  return (
    <Page title="Live tail" lead="Attempts as they are made. The last 2,000 are kept while this page is open.">
      <Group gap="xs" justify="space-between">
        <Group gap="xs" role="search" aria-label="Filter the tail">
          <TextFilter
            label="Type"
            placeholder="Type, like order.*"
            width={180}
            value={filter.type}
            onChange={(type) => set({ type })}
          />
          <ChoiceFilter label="Result" choices={kinds} value={filter.status} onChange={(status) => set({ status })} />
          <SubscriptionFilter value={filter.subscription} onChange={(subscription) => set({ subscription })} />
        </Group>
        <Group gap="xs">
          <ActionIcon
            size="md"
            aria-label="Clear the tail"
            title="Clear the tail"
            onClick={() => {
              tail.clear();
              setShown([]);
            }}
          >
            <IconTrash size={16} />
          </ActionIcon>
          <Button
            size="xs"
            variant={paused ? "filled" : "default"}
            leftSection={paused ? <IconPlayerPlayFilled size={14} /> : <IconPlayerPauseFilled size={14} />}
            onClick={() => setPaused(!paused)}
          >
            {paused ? "Resume" : "Pause"}
          </Button>
        </Group>
      </Group>
      <Card flush>{wanted.length === 0 ? <Waiting filtered={shown.length > 0} /> : <List list={wanted} />}</Card>
      <Text size="xs" c="dimmed">
        {count(wanted.length)} shown{paused ? ", paused; what happens meanwhile is kept" : ""}
      </Text>
    </Page>
  );
}

function Waiting({ filtered }: { filtered: boolean }) {
  const { name } = useLiveState();
  return (
    <Empty
      title={
        filtered
          ? "Nothing here matches the filters"
          : name === "open"
            ? "Waiting for something to happen"
            : "Connecting"
      }
    >
      {filtered ? undefined : "Attempts appear here the moment they are made."}
    </Empty>
  );
}

const rowHeight = 40;

/** Only the rows in sight are drawn. At the top new ones push in; scrolled down, the rows under the eye stay. */
function List({ list }: { list: TailRow[] }) {
  const scroller = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: list.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => rowHeight,
    getItemKey: (i) => list[i]?.key ?? i,
    overscan: 12,
  });
  const first = list[0]?.key;
  const before = useRef(list);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new first row is what moves the others down
  useEffect(() => {
    const top = scroller.current;
    const old = before.current[0]?.key;
    before.current = list;
    if (!top || top.scrollTop < rowHeight / 2) return;
    const moved = list.findIndex((r) => r.key === old);
    if (moved > 0) top.scrollTop += moved * rowHeight;
  }, [first]);
  return (
    <Box ref={scroller} className={classes.scroller} tabIndex={0} role="region" aria-label="Live tail">
      <ul className={classes.list} style={{ height: virtual.getTotalSize() }} aria-live="off">
        {virtual.getVirtualItems().map((item) => {
          const row = list[item.index];
          return (
            row && (
              <li key={item.key} className={classes.row} style={{ transform: `translateY(${item.start}px)` }}>
                <Line row={row} />
              </li>
            )
          );
        })}
      </ul>
    </Box>
  );
}

const Line = memo(function Line({ row }: { row: TailRow }) {
  return (
    <>
      <span className={classes.time}>{moment(row.at, row.at)}</span>
      <Link
        to="/ui/deliveries/$id"
        params={{ id: row.delivery }}
        search={{ attempt: String(row.number) }}
        className={rows.link}
        preload={false}
      >
        {row.type}
      </Link>
      <span className={classes.to}>
        <SubscriptionName id={row.subscription} />
      </span>
      <span className={classes.result}>
        <Outcome outcome={row.outcome} code={row.code} />
        {row.status && row.status !== "succeeded" && <DeliveryBadge status={row.status} attempts={row.number} />}
      </span>
      <span className={classes.number}>#{row.number}</span>
      <span className={classes.took}>{milliseconds(row.took)}</span>
    </>
  );
});
