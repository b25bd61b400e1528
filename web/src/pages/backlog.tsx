import { count, span } from "../components/format";
import { Stat } from "../components/stat";
import type { QueueView } from "../data/queue";
import { backlogOf } from "./lane";

/** How much waits, and for how long: two figures among others. */
export function BacklogFigures({ backlog: q }: { backlog?: QueueView }) {
  return (
    <>
      <Stat
        name="Waiting"
        value={backlogOf(q && { backlog: q.pending, capped: q.capped })}
        note={q && `${count(q.due)} due now, ${count(q.held)} held`}
      />
      <Stat
        name="Oldest due"
        value={q ? (q.oldest_due_seconds < 1 ? "none" : span(q.oldest_due_seconds)) : "–"}
        note="how long it has waited past its time"
        mood={q && q.oldest_due_seconds > 60 ? "warn" : undefined}
      />
    </>
  );
}
