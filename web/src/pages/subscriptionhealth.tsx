import { SimpleGrid, Skeleton, Stack } from "@mantine/core";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { lazy, Suspense } from "react";
import { count, milliseconds, percent, span } from "../components/format";
import { ButtonLink } from "../components/link";
import { Card } from "../components/page";
import { Rows } from "../components/rows";
import { Stat } from "../components/stat";
import { Empty, Loaded } from "../components/states";
import { deliveryList } from "../data/deliveries";
import { queue } from "../data/queue";
import { moodOf, stats, successRate } from "../data/stats";
import type { Subscription } from "../data/subscriptions";
import { deliveryColumns } from "./deliveries";
import { backlogOf } from "./lane";
import { attemptSeries } from "./series";

const Chart = lazy(() => import("../components/chart"));
const columns = deliveryColumns.filter((c) => c.title !== "To");

export function SubscriptionHealth({ subscription: s }: { subscription: Subscription }) {
  const day = useQuery(stats("24h", s.id));
  const oldest = useQuery(queue()).data?.lanes.find((l) => l.subscription_id === s.id)?.oldest_due_seconds ?? 0;
  const recent = useInfiniteQuery(deliveryList({ subscription: s.id }, 10));
  const totals = day.data?.totals;
  const share = totals && successRate(totals);
  const p95 = totals?.duration.p95_ms;
  return (
    <Stack>
      <SimpleGrid cols={{ base: 2, md: 4 }}>
        <Stat
          name="Attempts that succeeded, 24 h"
          value={share === undefined ? "–" : percent(share)}
          note={totals && `${count(totals.attempts)} attempts`}
          mood={moodOf(share)}
        />
        <Stat
          name="Time of an attempt, p95"
          value={p95 == null ? "–" : milliseconds(p95)}
          note={totals?.duration.p50_ms == null ? undefined : `median ${milliseconds(totals.duration.p50_ms)}`}
        />
        <Stat
          name="Backlog"
          value={backlogOf(s.lane)}
          note={oldest > 1 ? `oldest due for ${span(oldest)}` : undefined}
        />
        <Stat
          name="Given up, 24 h"
          value={totals ? count(totals.exhausted) : "–"}
          mood={totals?.exhausted ? "bad" : undefined}
        />
      </SimpleGrid>
      <Card title="Attempts over the last day">
        <Suspense fallback={<Skeleton height={220} />}>
          {day.data ? (
            <Chart
              {...attemptSeries(day.data)}
              kind="bars"
              unit={count}
              height={220}
              label="Attempts over the last day"
            />
          ) : (
            <Skeleton height={220} />
          )}
        </Suspense>
      </Card>
      <Card
        title="Recent deliveries"
        flush
        actions={
          <ButtonLink to="/ui/deliveries" search={{ subscription: s.id }} size="xs" variant="default">
            All
          </ButtonLink>
        }
      >
        <Loaded query={recent}>
          {({ pages }) => {
            const rows = pages.flatMap((p) => p.data);
            return rows.length === 0 ? (
              <Empty small title="Nothing was delivered to it yet">
                Send a test to see that it works.
              </Empty>
            ) : (
              <Rows label="Recent deliveries" columns={columns} rows={rows} keyOf={(d) => d.id} />
            );
          }}
        </Loaded>
      </Card>
    </Stack>
  );
}
