// The task monitor: the nodes and what each is doing, the queue by lane, what is due when, and what failed last.
import { SimpleGrid, Stack } from "@mantine/core";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { count, rate } from "../components/format";
import { useFilters } from "../components/list";
import { Card, Page } from "../components/page";
import { RangeChoice, readRange } from "../components/ranges";
import { Rows } from "../components/rows";
import { Stat } from "../components/stat";
import { Empty, Loaded, Loading, ProblemAlert } from "../components/states";
import { deliveryList } from "../data/deliveries";
import { type QueueView, queue } from "../data/queue";
import { type Worker, workers } from "../data/workers";
import { BacklogFigures } from "./backlog";
import { deliveryColumns } from "./deliveries";
import { Lanes } from "./lanes";
import { Nodes } from "./nodes";
import { QueueCharts } from "./queuecharts";

const route = getRouteApi("/ui/workers");

export default function Workers() {
  const nodes = useQuery(workers());
  const backlog = useQuery(queue());
  const { filter, set } = useFilters(route);
  const chosen = readRange(filter.range);
  return (
    <Page
      title="Workers and queue"
      lead="Who is sending, what waits, and for how long."
      actions={<RangeChoice value={chosen} onChange={(range) => set({ range })} />}
    >
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
      <QueueCharts range={chosen} />
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
      <BacklogFigures backlog={backlog} />
    </SimpleGrid>
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
