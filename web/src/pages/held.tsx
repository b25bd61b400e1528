import { Alert } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { span } from "../components/format";
import { Time } from "../components/time";
import { settings } from "../data/settings";
import type { Subscription } from "../data/subscriptions";
import { backlogOf } from "./lane";

const reasons: Record<string, string> = {
  gone: "The receiver answered 410 Gone, which means that it wants no more deliveries.",
  failing: "Every attempt failed for so long that Posthorn stopped trying.",
};

/** Why nothing is sent, how much waits and for how long, and what is done about it. */
export function Held({ subscription: s }: { subscription: Subscription }) {
  if (s.status === "active") return null;
  const disabled = s.status === "disabled";
  return (
    <Alert
      color={disabled ? "red" : "yellow"}
      variant="light"
      icon={<IconAlertTriangle />}
      title={disabled ? "Disabled by Posthorn" : "Paused"}
    >
      {disabled && s.disabled_reason && `${reasons[s.disabled_reason] ?? s.disabled_reason} `}
      Its deliveries are held
      {s.lane?.held_since && (
        <>
          {" "}
          since <Time at={s.lane.held_since} as="moment" />
        </>
      )}
      {s.lane?.backlog !== undefined && `, ${backlogOf(s.lane)} at present,`} and are sent when it is resumed.
      {s.lane?.held_since && <End since={s.lane.held_since} />}
    </Alert>
  );
}

/** When the first of what is held may be cancelled. */
function End({ since }: { since: string }) {
  const hold = useQuery(settings()).data?.hold_seconds;
  if (!hold) return null;
  return (
    <>
      {" "}
      What was held for {span(hold)} is cancelled, from{" "}
      <Time at={new Date(Date.parse(since) + hold * 1000).toISOString()} as="full" /> on.
    </>
  );
}
