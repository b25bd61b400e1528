// The attempts of a delivery on a line drawn to scale, with what comes next. Retries spread from seconds to hours, so the
// scale is that of the square root: close attempts stay apart and long waits still look long.
import { Box, Text, UnstyledButton } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { useNow } from "./clock";
import { relative, span } from "./format";
import { outcomeLabel } from "./status";
import classes from "./timeline.module.css";

export interface Mark {
  number: number;
  at: number;
  outcome: string;
  code?: number;
}

interface Props {
  start: number;
  marks: Mark[];
  /** When the next attempt is due, if there will be one. */
  next?: number;
  selected?: number;
  onSelect: (number: number) => void;
}

/** The place of a moment on the line, from 0 to 1. */
export function place(at: number, start: number, end: number): number {
  if (end <= start) return 0;
  return Math.sqrt(Math.min(1, Math.max(0, (at - start) / (end - start))));
}

/** Places moved apart so that no two marks hide each other; they keep their order and stay on the line. */
export function spread(places: number[], gap: number): number[] {
  const room = places.length > 1 ? Math.min(gap, 1 / (places.length - 1)) : gap;
  const out: number[] = [];
  for (const [i, p] of places.entries()) out.push(i === 0 ? p : Math.max(p, (out[i - 1] ?? 0) + room));
  for (let i = out.length - 1, top = 1; i >= 0; i--, top -= room) out[i] = Math.min(out[i] ?? 0, top);
  return out;
}

export function Timeline({ start, marks, next, selected, onSelect }: Props) {
  const now = useNow();
  const { ref, width } = useElementSize();
  const last = marks.at(-1)?.at ?? start;
  const end = Math.max(next ?? last, last, next ? now : 0, start + 1000);
  const places = spread(
    [...marks.map((m) => m.at), ...(next ? [next] : [])].map((at) => place(at, start, end)),
    30 / Math.max(width, 300),
  );
  return (
    <Box className={classes.outer}>
      <Box className={classes.line} ref={ref}>
        {next && <Box className={classes.ahead} style={{ left: `${place(Math.min(now, end), start, end) * 100}%` }} />}
        {marks.map((m, i) => (
          <UnstyledButton
            key={m.number}
            className={classes.mark}
            style={{ left: `${(places[i] ?? 0) * 100}%` }}
            data-outcome={m.outcome === "succeeded" ? "good" : m.outcome === "interrupted" ? "own" : "bad"}
            aria-pressed={selected === m.number}
            aria-label={`Attempt ${m.number}: ${m.code ? `HTTP ${m.code}` : outcomeLabel(m.outcome)}, ${span((m.at - start) / 1000)} after acceptance`}
            title={`Attempt ${m.number} · ${m.code ? `HTTP ${m.code}` : outcomeLabel(m.outcome)} · +${span((m.at - start) / 1000)}`}
            onClick={() => onSelect(m.number)}
          >
            {m.number}
          </UnstyledButton>
        ))}
        {next && (
          <Box
            className={classes.next}
            style={{ left: `${(places.at(-1) ?? 1) * 100}%` }}
            title={`Next attempt ${relative(next, now)}`}
          >
            {marks.length + 1}
          </Box>
        )}
      </Box>
      <Box className={classes.ends}>
        <Text size="xs" c="dimmed">
          accepted
        </Text>
        <Text size="xs" c="dimmed">
          {next
            ? `attempt ${marks.length + 1} ${next <= now ? "is due" : relative(next, now)}`
            : `+${span((end - start) / 1000)}`}
        </Text>
      </Box>
    </Box>
  );
}
