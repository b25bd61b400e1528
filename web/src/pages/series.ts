// What the charts show, made of the statistics.
import type { Series } from "../components/chart";
import { everySample, type QueueHistory } from "../data/queue";
import { everyStep, type StatsView } from "../data/stats";

type Chart = { data: Record<string, string | number | null>[]; series: Series[] };

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const dayClock = new Intl.DateTimeFormat("en-GB", { weekday: "short", hour: "2-digit", minute: "2-digit" });

function when(view: { since: string; until: string }): (at: number) => string {
  const long = Date.parse(view.until) - Date.parse(view.since) > 25 * 3600_000;
  return (at) => (long ? dayClock : clock).format(at);
}

/** Attempts in each step, those that succeeded and those that failed. */
export function attemptSeries(view: StatsView): Chart {
  const label = when(view);
  return {
    series: [
      { name: "succeeded", label: "Succeeded", color: "var(--ph-good)" },
      { name: "failed", label: "Failed", color: "var(--ph-bad)" },
    ],
    data: everyStep(view, (p) => ({ succeeded: (p?.attempts ?? 0) - (p?.failed ?? 0), failed: p?.failed ?? 0 })).map(
      ({ at, value }) => ({ at: label(at), ...value }),
    ),
  };
}

/** Successes and failures a second. */
export function rateSeries(view: StatsView): Chart {
  const { data, series } = attemptSeries(view);
  return {
    series,
    data: data.map((d) => ({
      at: d.at ?? "",
      succeeded: Number(d.succeeded) / view.step_seconds,
      failed: Number(d.failed) / view.step_seconds,
    })),
  };
}

/** A value of those series, on axes and in hints: always the same unit. */
export function perSecond(value: number): string {
  return `${Number(value.toPrecision(2))}/s`;
}

/** Time from acceptance to success; nothing where nothing was delivered. */
export function latencySeries(view: StatsView): Chart {
  const label = when(view);
  return {
    series: [
      { name: "p50", label: "p50", color: "var(--ph-info)" },
      { name: "p95", label: "p95", color: "var(--ph-warn)" },
      { name: "p99", label: "p99", color: "var(--ph-bad)" },
    ],
    data: everyStep(view, (p) => ({
      p50: p?.latency.p50_ms ?? null,
      p95: p?.latency.p95_ms ?? null,
      p99: p?.latency.p99_ms ?? null,
    })).map(({ at, value }) => ({ at: label(at), ...value })),
  };
}

/** How many waited, those that could have been sent and those that were held. */
export function depthSeries(history: QueueHistory): Chart {
  const label = when(history);
  return {
    series: [
      { name: "pending", label: "Waiting", color: "var(--ph-info)" },
      { name: "due", label: "Due", color: "var(--ph-warn)" },
      { name: "held", label: "Held", color: "var(--mantine-color-dimmed)" },
    ],
    data: everySample(history, ({ pending, due, held }) => ({ pending, due, held })).map(({ at, value }) => ({
      at: label(at),
      ...(value ?? { pending: null, due: null, held: null }),
    })),
  };
}

/** How long the oldest of those due had waited past its time. */
export function ageSeries(history: QueueHistory): Chart {
  const label = when(history);
  return {
    series: [{ name: "oldest", label: "Oldest due", color: "var(--ph-warn)" }],
    data: everySample(history, (p) => p.oldest_due_seconds).map(({ at, value }) => ({ at: label(at), oldest: value })),
  };
}
