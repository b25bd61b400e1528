import { Alert, Button, Group, Stack, Text, Textarea, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { IconCheck, IconFilter, IconX } from "@tabler/icons-react";
import { Card } from "../components/page";
import { ProblemAlert } from "../components/states";
import { isJSON } from "../data/events";
import { useFilterTrial } from "../data/filters";
import { formErrors } from "../data/problem";
import type { Subscription } from "../data/subscriptions";

const mono = { input: { fontFamily: "var(--mantine-font-family-monospace)", fontSize: "var(--mantine-font-size-xs)" } };

/** Tries a filter on an event before it is saved, or to see why the present one lets nothing through. */
export function FilterTrial({ subscription }: { subscription: Subscription }) {
  const trial = useFilterTrial();
  const form = useForm({
    initialValues: { filter: subscription.filter ?? "", type: "order.created", payload: '{\n  "amount": 120\n}' },
    validate: {
      filter: (v) => (v.trim() ? null : "An expression like payload.amount > 100"),
      payload: (v) => (isJSON(v) ? null : "This is not JSON"),
    },
  });
  const submit = (values: typeof form.values) =>
    trial.mutate(
      { subscription: subscription.id, ...values },
      { onError: (error) => form.setErrors(formErrors(error, ["filter", "type", "payload"])) },
    );
  const verdict = trial.data;
  return (
    <Card title="Try a filter">
      <form onSubmit={form.onSubmit(submit)}>
        <Stack>
          <Textarea
            label="Filter"
            description="A CEL expression over type, headers and payload. Nothing is saved or sent."
            placeholder="payload.amount > 100"
            autosize
            spellCheck={false}
            styles={mono}
            {...form.getInputProps("filter")}
          />
          <TextInput label="Event type" maw={420} {...form.getInputProps("type")} />
          <Textarea
            label="Payload"
            autosize
            minRows={3}
            maxRows={14}
            spellCheck={false}
            styles={mono}
            {...form.getInputProps("payload")}
          />
          {trial.error && <ProblemAlert error={trial.error} />}
          {verdict && (
            <Alert
              color={verdict.matches ? "teal" : "orange"}
              variant="light"
              icon={verdict.matches ? <IconCheck /> : <IconX />}
              title={verdict.matches ? "It would be delivered" : "It would not be delivered"}
              role="status"
            >
              {verdict.error && (
                <Text size="sm">The filter fails on this event, which cancels its delivery: {verdict.error}</Text>
              )}
            </Alert>
          )}
          <Group>
            <Button type="submit" variant="default" leftSection={<IconFilter size={16} />} loading={trial.isPending}>
              Try it
            </Button>
          </Group>
        </Stack>
      </form>
    </Card>
  );
}
