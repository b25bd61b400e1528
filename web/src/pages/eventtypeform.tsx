import { Button, Group, SimpleGrid, Stack, Switch, Textarea, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { notifications } from "@mantine/notifications";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { JsonField } from "../components/jsonfield";
import { ButtonLink } from "../components/link";
import { Card } from "../components/page";
import { ProblemAlert } from "../components/states";
import { isJSON } from "../data/events";
import { type EventType, eventTypeChoices, isEventType, useWriteEventType } from "../data/eventtypes";
import { formErrors } from "../data/problem";

/** A value as the editor shows it; nothing for none. */
export const jsonText = (value: unknown) =>
  value === null || value === undefined ? "" : JSON.stringify(value, null, 2);

const parsed = (json: string) => (json.trim() ? JSON.parse(json) : null);
const jsonOrNothing = (v: string) => (!v.trim() || isJSON(v) ? null : "This is not JSON yet");

export function TypeForm({ type }: { type?: EventType }) {
  const write = useWriteEventType();
  const navigate = useNavigate();
  const taken = useQuery(eventTypeChoices()).data ?? [];
  const form = useForm({
    initialValues: {
      name: type?.name ?? "",
      description: type?.description ?? "",
      schema: jsonText(type?.schema),
      example: jsonText(type?.example),
      enforce: type?.enforce ?? false,
      deprecated: type?.deprecated ?? false,
    },
    validate: {
      name: (v) =>
        !isEventType(v.trim())
          ? "Segments joined by dots, like order.created"
          : !type && taken.some((t) => t.name === v.trim())
            ? "The catalogue has this type already"
            : null,
      schema: jsonOrNothing,
      example: jsonOrNothing,
    },
  });
  const submit = (v: typeof form.values) => {
    const name = v.name.trim();
    const input = { ...v, name, schema: parsed(v.schema), example: parsed(v.example) };
    write.mutate(
      { name, input },
      {
        onError: (error) => form.setErrors(formErrors(error, ["name", "description", "schema", "example"])),
        onSuccess: () => {
          notifications.show({ color: "teal", message: "The event type was saved." });
          void navigate({ to: "/ui/event-types/$name", params: { name } });
        },
      },
    );
  };
  return (
    <Card>
      <form onSubmit={form.onSubmit(submit)} noValidate>
        <Stack>
          {!type && (
            <TextInput
              label="Name"
              placeholder="order.created"
              required
              data-autofocus
              maw={420}
              {...form.getInputProps("name")}
            />
          )}
          <Textarea
            label="Description"
            description="What happened when such an event is sent, for those who subscribe to it."
            autosize
            {...form.getInputProps("description")}
          />
          <SimpleGrid cols={{ base: 1, lg: 2 }}>
            <JsonField
              label="Schema"
              description="A JSON Schema (2020-12) of the payload; empty is none."
              value={form.values.schema}
              onChange={(v) => form.setFieldValue("schema", v)}
              error={form.errors.schema}
            />
            <JsonField
              label="Example"
              description="A payload that fulfils the schema; it is offered when one is published by hand."
              value={form.values.example}
              onChange={(v) => form.setFieldValue("example", v)}
              error={form.errors.example}
            />
          </SimpleGrid>
          <Switch
            label="Enforce the schema"
            description="Refuse events of this type whose payload breaks it."
            {...form.getInputProps("enforce", { type: "checkbox" })}
          />
          <Switch
            label="Deprecated"
            description="Still accepted, and on its way out."
            {...form.getInputProps("deprecated", { type: "checkbox" })}
          />
          {write.error && <ProblemAlert error={write.error} />}
          <Group justify="flex-end">
            <ButtonLink to="/ui/event-types" variant="default">
              Cancel
            </ButtonLink>
            <Button type="submit" loading={write.isPending}>
              {type ? "Save" : "Create"}
            </Button>
          </Group>
        </Stack>
      </form>
    </Card>
  );
}
