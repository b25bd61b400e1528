// The task monitor: the nodes and what each is doing, the queue by lane, what is due when, and what failed last.
import { SimpleGrid, Skeleton, Stack } from "@mantine/core";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { lazy, Suspense } from "react";
import { count, plural, rate, span } from "../components/format";
import { Card, Page } from "../components/page";
import { Rows } from "../components/rows";
import { Stat } from "../components/stat";
import { Empty, Loaded, Loading, ProblemAlert } from "../components/states";
import { deliveryList } from "../data/deliveries";
import { type QueueView, queue } from "../data/queue";
import { stats } from "../data/stats";
import { type Worker, workers } from "../data/workers";
import { deliveryColumns } from "./deliveries";
import { Lanes } from "./lanes";
import { Nodes } from "./nodes";
import { perSecond, rateSeries } from "./series";

const Chart = lazy(() => import("../components/chart"));

export default function Workers() {
  const nodes = useQuery(workers());
  const backlog = useQuery(queue());
  const hour = useQuery(stats("1h"));
  return (
    <Page title="Workers and queue" lead="Who is sending, what waits, and for how long.">
      <Figures nodes={nodes.data} backlog={backlog.data} />
      <Card title="Workers" flush>
        {nodes.error && !nodes.data ? (
          <Stack p="md">
            <ProblemAlert error={nodes.error} retry={() => void nodes.refetch()} />
          </Stack>
        ) : nodes.data ? (
          <Nodes nodes={nodes.data} />
        ) : (
          <Stack p="md">
            <Loading rows={2} />
          </Stack>
        )}
      </Card>
      <Card title="Lanes by backlog" flush>
        <Loaded query={backlog}>{(q) => <Lanes lanes={q.lanes} />}</Loaded>
      </Card>
      <SimpleGrid cols={{ base: 1, lg: 2 }}>
        <Card title="Attempts a second, last hour">
          <Suspense fallback={<Skeleton height={220} />}>
            {hour.data ? (
              <Chart
                {...rateSeries(hour.data)}
                kind="area"
                unit={perSecond}
                height={220}
                label="Attempts a second in the last hour"
              />
            ) : (
              <Skeleton height={220} />
            )}
          </Suspense>
        </Card>
        <Card title="Retries scheduled">
          <Suspense fallback={<Skeleton height={220} />}>
            {backlog.data ? <Retries queue={backlog.data} /> : <Skeleton height={220} />}
          </Suspense>
        </Card>
      </SimpleGrid>
      <RecentFailures />
    </Page>
  );
}

function Figures({ nodes, backlog }: { nodes?: Worker[]; backlog?: QueueView }) {
  const alive = nodes?.filter((n) => n.status === "alive" || n.status === "draining");
  const sum = (read: (n: Worker) => number) => alive?.reduce((total, n) => total + read(n), 0) ?? 0;
  return (
    <SimpleGrid cols={{ base: 2, sm: 3, lg: 5 }}>
      <Stat
        name="Workers alive"
        value={alive ? count(alive.length) : "–"}
        note={nodes && alive && nodes.length > alive.length ? `${nodes.length - alive.length} late or dead` : undefined}
        mood={alive?.length === 0 ? "bad" : undefined}
      />
      <Stat
        name="In flight"
        value={alive ? count(sum((n) => n.in_flight)) : "–"}
        note={alive && `${count(sum((n) => n.held))} claimed`}
      />
      <Stat name="Delivering" value={alive ? rate(sum((n) => n.delivered_per_second)) : "–"} />
      <Stat
        name="Waiting"
        value={backlog ? `${count(backlog.pending)}${backlog.capped ? "+" : ""}` : "–"}
        note={backlog && `${count(backlog.due)} due now, ${count(backlog.held)} held`}
      />
      <Stat
        name="Oldest due"
        value={backlog ? (backlog.oldest_due_seconds < 1 ? "none" : span(backlog.oldest_due_seconds)) : "–"}
        mood={backlog && backlog.oldest_due_seconds > 60 ? "warn" : undefined}
      />
    </SimpleGrid>
  );
}

/** How many retries are due in each of the next hours. */
function Retries({ queue: q }: { queue: QueueView }) {
  const total = q.retries.reduce((sum, n) => sum + n, 0);
  if (total === 0) return <Empty small title="No retries are scheduled" />;
  const data = q.retries.map((n, i) => ({ at: i === 0 ? "this hour" : `+${i} h`, retries: n }));
  return (
    <Chart
      data={data}
      series={[{ name: "retries", label: "Retries", color: "var(--ph-warn)" }]}
      kind="bars"
      unit={count}
      height={220}
      label={`${plural(total, "retry", "retries")} scheduled in the next ${plural(q.retries.length, "hour")}`}
    />
  );
}

const failureColumns = deliveryColumns.filter((c) => c.title !== "Next");

function RecentFailures() {
  const list = useInfiniteQuery(deliveryList({ status: "exhausted" }, 8));
  return (
    <Card title="Given up recently" flush>
      <Loaded query={list}>
        {({ pages }) => {
          const rows = (pages[0]?.data ?? []).slice(0, 8);
          return rows.length === 0 ? (
            <Empty small title="No delivery was given up">
              What fails is retried; it stands here when its attempts are used up.
            </Empty>
          ) : (
            <Rows label="Deliveries given up" columns={failureColumns} rows={rows} keyOf={(d) => d.id} />
          );
        }}
      </Loaded>
    </Card>
  );
}
