import { Badge } from "@mantine/core";
import { useNow } from "../components/clock";
import { count, relative, span } from "../components/format";
import type { LaneState } from "../data/api";
import type { Backlog } from "../data/queue";

/** A backlog as a figure: "–" when it is not known, "10K+" when there is more than was counted. */
export function backlogOf(lane: Backlog | undefined): string {
  return lane?.backlog === undefined ? "–" : `${count(lane.backlog)}${lane.capped ? "+" : ""}`;
}

/** What holds a subscription's deliveries back at present, in badges. */
export function LaneBadges({ lane }: { lane?: LaneState }) {
  const now = useNow(5);
  if (!lane) return null;
  const until = (at: string) => relative(Date.parse(at), now).replace(/^in /, "for ");
  return (
    <>
      {lane.breaker_until &&
        (Date.parse(lane.breaker_until) > now ? (
          <Badge color="red" title="Too many failures in a row: nothing is sent until one delivery has tried it again">
            Breaker open
          </Badge>
        ) : (
          <Badge color="orange" title="Too many failures in a row: one delivery tries it again, the others follow it">
            Probing
          </Badge>
        ))}
      {lane.throttled_until && Date.parse(lane.throttled_until) > now && (
        <Badge color="orange" title="The receiver asked for a pause">
          Throttled {until(lane.throttled_until)}
        </Badge>
      )}
      {lane.failing_since && !lane.breaker_until && (
        <Badge color="orange" title="No success since then">
          Failing for {span(Math.max(1, (now - Date.parse(lane.failing_since)) / 1000))}
        </Badge>
      )}
    </>
  );
}
