import { Alert, Anchor, Autocomplete, Button, Collapse, Group, Skeleton, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useDisclosure } from "@mantine/hooks";
import { IconBolt, IconCheck, IconChevronDown } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { hostPath, plural } from "../components/format";
import { indented } from "../components/json";
import { JsonField } from "../components/jsonfield";
import { ButtonLink } from "../components/link";
import { Card, Page } from "../components/page";
import { ProblemAlert } from "../components/states";
import { type Draft, eventById, isJSON, payloadText, usePublish } from "../data/events";
import { eventTypeByName, eventTypeChoices, isEventType } from "../data/eventtypes";
import { formErrors } from "../data/problem";
import { subscriptionChoices, wants } from "../data/subscriptions";
import { SchemaHelp } from "./schemahelp";

const route = getRouteApi("/ui/events/publish");

const sample = `{
  "id": 4711,
  "total": "12.50",
  "currency": "EUR"
}`;

export default function Publish() {
  const { type, like } = route.useSearch();
  const original = useQuery({ ...eventById(like ?? ""), enabled: !!like });
  const entry = useQuery({ ...eventTypeByName(type ?? ""), enabled: !!type && !like, retry: false });
  if ((like && original.isPending) || (type && !like && entry.isPending)) {
    return (
      <Page title="Publish an event">
        <Skeleton height={320} />
      </Page>
    );
  }
  const text = payloadText(original.data?.payload_base64 ?? null);
  const example = entry.data?.example == null ? sample : JSON.stringify(entry.data.example, null, 2);
  return <PublishForm key={like} type={original.data?.type ?? type ?? ""} payload={text ? indented(text) : example} />;
}

function PublishForm({ type, payload }: { type: string; payload: string }) {
  const publish = usePublish();
  const [more, { toggle }] = useDisclosure();
  const [draft, setDraft] = useState(payload);
  const form = useForm({
    initialValues: { type, idempotencyKey: "", orderingKey: "", contentType: "" },
    validateInputOnBlur: true,
    validate: {
      type: (v) =>
        !isEventType(v)
          ? "Segments of letters, digits, _ and - joined by dots, like order.created"
          : v.startsWith("posthorn.")
            ? "Types beginning with posthorn. are Posthorn's own"
            : null,
    },
  });
  const plain = !!form.values.contentType && !/json/i.test(form.values.contentType);
  const notJSON = !plain && !isJSON(draft);
  const known = useQuery(eventTypeChoices()).data ?? [];
  const listed = known.find((t) => t.name === form.values.type);
  // The example of a type that was chosen, unless something else was typed already.
  const offer = (name: string) => {
    const example = known.find((t) => t.name === name)?.example;
    if (example != null && draft === payload) setDraft(JSON.stringify(example, null, 2));
  };
  const send = (values: typeof form.values) => {
    const event: Draft = { ...values, payload: draft };
    publish.mutate(event, {
      onError: (error) =>
        form.setErrors(
          Object.fromEntries(
            Object.entries(formErrors(error, ["type", "idempotency_key", "ordering_key", "content_type"])).map(
              ([k, v]) => [k.replace(/_(.)/, (_, c: string) => c.toUpperCase()), v],
            ),
          ),
        ),
    });
  };
  return (
    <Page title="Publish an event" back={{ to: "/ui/events", label: "Events" }}>
      <form onSubmit={form.onSubmit(send)}>
        <Card>
          <Stack>
            <Autocomplete
              label="Type"
              placeholder="order.created"
              data={known.map((t) => t.name)}
              limit={20}
              onOptionSubmit={offer}
              required
              data-autofocus
              maw={420}
              {...form.getInputProps("type")}
            />
            <Reach type={form.values.type} />
            {listed && <SchemaHelp key={listed.name} type={listed} payload={draft} />}
            <JsonField
              label="Payload"
              value={draft}
              onChange={setDraft}
              json={!plain}
              error={notJSON ? "This is not JSON yet. To send something else, set a content type below." : undefined}
              description="Delivered and signed exactly as it stands here, spacing and number formats included."
            />
            <Anchor component="button" type="button" size="sm" onClick={toggle} aria-expanded={more}>
              <Group gap={4}>
                <IconChevronDown size={14} style={{ transform: more ? "rotate(180deg)" : undefined }} /> More fields
              </Group>
            </Anchor>
            <Collapse expanded={more}>
              <Stack maw={420}>
                <TextInput
                  label="Idempotency key"
                  description="Publishing again with the same key and content gives the original answer."
                  {...form.getInputProps("idempotencyKey")}
                />
                <TextInput
                  label="Ordering key"
                  description="Narrows the order of fifo subscriptions to the events that share it."
                  {...form.getInputProps("orderingKey")}
                />
                <TextInput label="Content type" placeholder="application/json" {...form.getInputProps("contentType")} />
              </Stack>
            </Collapse>
            {publish.error && <ProblemAlert error={publish.error} />}
            {publish.data && (
              <Alert
                color="teal"
                variant="light"
                icon={<IconCheck />}
                title={publish.data.duplicate ? "Published before" : "Published"}
                role="status"
              >
                <Group justify="space-between">
                  <Text size="sm">
                    {publish.data.deliveries === 0
                      ? "No subscription wants this type; the event is kept all the same."
                      : `${plural(publish.data.deliveries, "delivery", "deliveries")} on the way.`}
                  </Text>
                  <ButtonLink to="/ui/events/$id" params={{ id: publish.data.id }} size="xs" variant="default">
                    See what becomes of it
                  </ButtonLink>
                </Group>
              </Alert>
            )}
            <Group>
              <Button type="submit" loading={publish.isPending} disabled={notJSON} leftSection={<IconBolt size={16} />}>
                Publish
              </Button>
            </Group>
          </Stack>
        </Card>
      </form>
    </Page>
  );
}

/** Says while typing who would get an event of a type. */
function Reach({ type }: { type: string }) {
  const all = useQuery(subscriptionChoices()).data;
  const [settled, setSettled] = useState(type);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(type), 250);
    return () => clearTimeout(timer);
  }, [type]);
  if (!all || !settled) return null;
  const matching = all.filter((s) => wants(s.event_types, settled));
  const names = matching.slice(0, 3).map((s) => s.description || hostPath(s.url));
  return (
    <Text size="xs" c="dimmed" mt={-8}>
      {matching.length === 0
        ? "No subscription wants this type at present."
        : `${plural(matching.length, "subscription")} would get it: ${names.join(", ")}${matching.length > 3 ? " …" : ""}`}
    </Text>
  );
}
