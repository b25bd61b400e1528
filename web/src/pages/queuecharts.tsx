// The queue over time, and the retries ahead.
import { SimpleGrid, Skeleton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { lazy, type ReactNode, Suspense } from "react";
import { count, plural, span } from "../components/format";
import { Card } from "../components/page";
import { Empty, Loaded } from "../components/states";
import { type QueueHistory, type QueueView, queue, queueHistory } from "../data/queue";
import { type Range, stats } from "../data/stats";
import { ageSeries, depthSeries, perSecond, rateSeries } from "./series";

const Chart = lazy(() => import("../components/chart"));
const height = 220;
const wait = <Skeleton height={height} />;

export function QueueCharts({ range }: { range: Range }) {
  const history = useQuery(queueHistory(range));
  const view = useQuery(stats(range));
  const backlog = useQuery(queue());
  return (
    <SimpleGrid cols={{ base: 1, lg: 2 }}>
      <Card title="Waiting in the queue">
        <Sampled query={history}>
          {(h) => (
            <Chart
              {...depthSeries(h)}
              kind="points"
              unit={count}
              height={height}
              label="Deliveries waiting over time"
            />
          )}
        </Sampled>
      </Card>
      <Card title="Age of the oldest due">
        <Sampled query={history}>
          {(h) => (
            <Chart
              {...ageSeries(h)}
              kind="points"
              unit={span}
              height={height}
              label="Age of the oldest due delivery over time"
            />
          )}
        </Sampled>
      </Card>
      <Card title="Attempts a second">
        <Suspense fallback={wait}>
          <Loaded query={view} loading={wait}>
            {(v) => <Chart {...rateSeries(v)} kind="area" unit={perSecond} height={height} label="Attempts a second" />}
          </Loaded>
        </Suspense>
      </Card>
      <Card title="Retries ahead">
        <Suspense fallback={wait}>
          <Loaded query={backlog} loading={wait}>
            {(q) => <Retries queue={q} />}
          </Loaded>
        </Suspense>
      </Card>
    </SimpleGrid>
  );
}

interface SampledProps {
  query: { data: QueueHistory | undefined; error: unknown; refetch: () => unknown };
  children: (history: QueueHistory) => ReactNode;
}

function Sampled({ query, children }: SampledProps) {
  return (
    <Suspense fallback={wait}>
      <Loaded query={query} loading={wait}>
        {(history) =>
          history.data.length === 0 ? (
            <Empty small title="Nothing to show yet">
              The queue is looked at once a minute.
            </Empty>
          ) : (
            children(history)
          )
        }
      </Loaded>
    </Suspense>
  );
}

/** How many retries are due in each of the next hours. */
function Retries({ queue: q }: { queue: QueueView }) {
  const total = q.retries.reduce((sum, n) => sum + n, 0);
  if (total === 0) {
    return (
      <Empty small title="No retries are scheduled">
        What fails is tried again later; those retries stand here by the hour they are due in.
      </Empty>
    );
  }
  const data = q.retries.map((n, i) => ({ at: i === 0 ? "this hour" : `+${i} h`, retries: n }));
  return (
    <Chart
      data={data}
      series={[{ name: "retries", label: "Retries", color: "var(--ph-warn)" }]}
      kind="bars"
      unit={count}
      height={height}
      label={`${plural(total, "retry", "retries")} scheduled in the next ${plural(q.retries.length, "hour")}`}
    />
  );
}
