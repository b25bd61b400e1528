// Retrying or cancelling many deliveries: those selected, or all that the filter finds. Always with a count first.
import { Button, Group, Modal, Paper, Stack, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { IconBan, IconRefresh } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { count, plural } from "../components/format";
import { Loading, ProblemAlert } from "../components/states";
import {
  type BulkAction,
  bulkFilter,
  changeAll,
  changeEach,
  type Delivery,
  type DeliveryFilter,
} from "../data/deliveries";
import { asProblem } from "../data/problem";

interface Props {
  filter: DeliveryFilter;
  rows: Delivery[];
  selected: ReadonlySet<string>;
  onDone: () => void;
}

/** What is about to be changed; for a filter, fixed at the moment of asking. */
type Plan = { action: BulkAction } & ({ ids: string[] } | { filter: ReturnType<typeof bulkFilter> });

export function Bulk({ filter, rows, selected, onDone }: Props) {
  const [plan, setPlan] = useState<Plan>();
  const filtered = Object.values(filter).some(Boolean);
  const chosen = rows.filter((d) => selected.has(d.id));
  if (rows.length === 0 || (chosen.length === 0 && !filtered)) return null;
  const propose = (action: BulkAction) =>
    setPlan(chosen.length > 0 ? { action, ids: chosen.map((d) => d.id) } : { action, filter: bulkFilter(filter) });
  const retryable = chosen.length === 0 ? filter.status !== "succeeded" : chosen.some((d) => d.status !== "succeeded");
  const cancellable =
    chosen.length === 0
      ? !filter.status || filter.status.includes("pending")
      : chosen.some((d) => d.status === "pending");
  return (
    <Paper p="xs" role="region" aria-label="Bulk actions">
      <Group justify="space-between" gap="xs">
        <Text size="sm" px="xs">
          {chosen.length > 0 ? `${count(chosen.length)} selected` : "All that match the filters"}
        </Text>
        <Group gap="xs">
          <Button
            size="xs"
            variant="default"
            leftSection={<IconRefresh size={14} />}
            disabled={!retryable}
            onClick={() => propose("retry")}
          >
            Retry {chosen.length > 0 ? "selected" : "all"}
          </Button>
          <Button
            size="xs"
            variant="default"
            leftSection={<IconBan size={14} />}
            disabled={!cancellable}
            onClick={() => propose("cancel")}
          >
            Cancel {chosen.length > 0 ? "selected" : "all"}
          </Button>
        </Group>
      </Group>
      {plan && (
        <Confirm
          plan={plan}
          onClose={() => setPlan(undefined)}
          onDone={() => {
            setPlan(undefined);
            onDone();
          }}
        />
      )}
    </Paper>
  );
}

async function carryOut(plan: Plan): Promise<{ changed: number; refusals: unknown[] }> {
  if ("ids" in plan) return changeEach(plan.action, plan.ids);
  return { changed: await changeAll(plan.action, plan.filter, false), refusals: [] };
}

function Confirm({ plan, onClose, onDone }: { plan: Plan; onClose: () => void; onDone: () => void }) {
  const cache = useQueryClient();
  const counting = useCount(plan);
  const verb = plan.action === "retry" ? "Retry" : "Cancel";
  const change = useMutation({
    mutationFn: () => carryOut(plan),
    onSuccess: ({ changed, refusals }) => {
      void cache.invalidateQueries({ queryKey: ["deliveries"] });
      notifications.show({
        color: refusals.length > 0 ? "orange" : "teal",
        title: plan.action === "retry" ? "Retrying" : "Cancelled",
        message:
          plural(changed, "delivery", "deliveries") +
          (refusals.length > 0 ? `; ${refusals.length} refused: ${asProblem(refusals[0]).detail}` : ""),
      });
      onDone();
    },
  });
  const { total } = counting;
  return (
    <Modal opened onClose={onClose} title={`${verb} deliveries`}>
      <Stack>
        {counting.error ? (
          <ProblemAlert error={counting.error} />
        ) : total === undefined ? (
          <Loading rows={1} />
        ) : (
          <Text size="sm">
            {total === 0 ? (
              "None of them allows it: succeeded ones are final, and what has ended cannot be cancelled."
            ) : plan.action === "retry" ? (
              <>
                <b>{plural(total, "delivery", "deliveries")}</b> get one attempt now, outside their automatic schedule.
                Ended ones are revived.
              </>
            ) : (
              <>
                <b>{plural(total, "delivery", "deliveries")}</b> will not be attempted again. A later retry revives
                them.
              </>
            )}
          </Text>
        )}
        {change.error && <ProblemAlert error={change.error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Close
          </Button>
          <Button
            color={plan.action === "cancel" ? "red" : undefined}
            onClick={() => change.mutate()}
            loading={change.isPending}
            disabled={!total}
          >
            {verb} {total ? plural(total, "delivery", "deliveries") : ""}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}

/** How many deliveries a plan would change. */
function useCount(plan: Plan): { total?: number; error: unknown } {
  const query = useQuery({
    queryKey: ["deliveries", "count", plan],
    queryFn: () => ("ids" in plan ? plan.ids.length : changeAll(plan.action, plan.filter, true)),
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
  });
  return { total: query.data, error: query.error };
}
