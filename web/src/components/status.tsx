// What each state means in colour, sign and word: the same everywhere, and never by colour alone.
import { Badge } from "@mantine/core";
import {
  IconAlertTriangle,
  IconBan,
  IconCheck,
  IconCircleDashed,
  IconClock,
  IconPlayerPauseFilled,
  IconPlayerPlayFilled,
  IconRefresh,
  IconX,
} from "@tabler/icons-react";
import type { ComponentType } from "react";

interface Look {
  color: string;
  icon: ComponentType<{ size?: number; stroke?: number }>;
  label: string;
}

const deliveryLooks: Record<string, Look> = {
  pending: { color: "blue", icon: IconClock, label: "Pending" },
  retrying: { color: "orange", icon: IconRefresh, label: "Retrying" },
  succeeded: { color: "teal", icon: IconCheck, label: "Succeeded" },
  exhausted: { color: "red", icon: IconX, label: "Exhausted" },
  cancelled: { color: "gray", icon: IconBan, label: "Cancelled" },
};

const eventLooks: Record<string, Look> = {
  pending: { color: "blue", icon: IconClock, label: "Pending" },
  succeeded: { color: "teal", icon: IconCheck, label: "Succeeded" },
  partial: { color: "orange", icon: IconAlertTriangle, label: "Partial" },
  failed: { color: "red", icon: IconX, label: "Failed" },
  unmatched: { color: "gray", icon: IconCircleDashed, label: "Unmatched" },
};

const subscriptionLooks: Record<string, Look> = {
  active: { color: "teal", icon: IconPlayerPlayFilled, label: "Active" },
  paused: { color: "yellow", icon: IconPlayerPauseFilled, label: "Paused" },
  disabled: { color: "red", icon: IconBan, label: "Disabled" },
  deleted: { color: "gray", icon: IconX, label: "Deleted" },
};

const healthLooks: Record<string, Look> = {
  ok: { color: "teal", icon: IconCheck, label: "OK" },
  up: { color: "teal", icon: IconCheck, label: "Up" },
  degraded: { color: "orange", icon: IconAlertTriangle, label: "Degraded" },
  down: { color: "red", icon: IconX, label: "Down" },
  off: { color: "gray", icon: IconCircleDashed, label: "Not used" },
};

const kinds = { delivery: deliveryLooks, event: eventLooks, subscription: subscriptionLooks, health: healthLooks };

export function StatusBadge({ kind, status }: { kind: keyof typeof kinds; status: string }) {
  const look = kinds[kind][status] ?? { color: "gray", icon: IconCircleDashed, label: status };
  return (
    <Badge color={look.color} leftSection={<look.icon size={12} stroke={2.4} />}>
      {look.label}
    </Badge>
  );
}

/** A delivery's state; a pending one that has failed before reads "Retrying". */
export function DeliveryBadge({ status, attempts }: { status: string; attempts: number }) {
  return <StatusBadge kind="delivery" status={status === "pending" && attempts > 0 ? "retrying" : status} />;
}

const outcomes: Record<string, string> = {
  succeeded: "Succeeded",
  http_error: "HTTP error",
  timeout: "Timed out",
  dns_error: "DNS error",
  connect_error: "Cannot connect",
  tls_error: "TLS error",
  blocked: "Blocked",
  invalid_response: "Invalid response",
  interrupted: "Interrupted",
};

export const outcomeNames = Object.keys(outcomes);

export function outcomeLabel(outcome: string): string {
  return outcomes[outcome] ?? outcome;
}

/** An attempt's outcome in a word or its HTTP code. */
export function Outcome({ outcome, code }: { outcome?: string | null; code?: number | null }) {
  if (!outcome) return <>–</>;
  const good = outcome === "succeeded";
  const color = good ? "teal" : outcome === "interrupted" ? "gray" : outcome === "blocked" ? "orange" : "red";
  return (
    <Badge color={color} variant="light" ff={code ? "monospace" : undefined}>
      {code ? `HTTP ${code}` : outcomeLabel(outcome)}
    </Badge>
  );
}
