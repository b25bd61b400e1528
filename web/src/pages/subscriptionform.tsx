// The form of a subscription, for creating and editing. What is typed survives a refusal; each field says what is wrong
// with it, first by the rules known here and then by the API's answer.
import {
  Accordion,
  Button,
  Group,
  NumberInput,
  SegmentedControl,
  Select,
  SimpleGrid,
  Stack,
  TagsInput,
  Text,
  Textarea,
  TextInput,
} from "@mantine/core";
import { type UseFormReturnType, useForm } from "@mantine/form";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Pairs } from "../components/pairs";
import { ProblemAlert } from "../components/states";
import { eventTypeChoices } from "../data/eventtypes";
import { formErrors } from "../data/problem";
import type { Subscription, SubscriptionInput } from "../data/subscriptions";
import { Authentication, Signature, Tls } from "./endpointform";
import { blank, type Form, fromSubscription, toInput, validate } from "./subscriptionvalues";

interface Props {
  subscription?: Subscription;
  url?: string;
  error: unknown;
  busy: boolean;
  onSubmit: (input: SubscriptionInput, form: UseFormReturnType<Form>) => void;
  onCancel: () => void;
}

/** Fields of the endpoint that are called in the form as in the API. */
const ownNames = [
  ...["token", "username", "password", "header", "value", "scopes", "audience", "params"].map((n) => `auth.${n}`),
  ...["certificate", "key", "ca"].map((n) => `tls.${n}`),
  ...["header", "algorithm", "key", "signed", "encoding", "value", "repeat", "headers"].map((n) => `signature.${n}`),
];

/** Puts an answer's field errors where they belong. */
export function showErrors(form: UseFormReturnType<Form>, error: unknown) {
  const names: Record<string, string> = {
    url: "url",
    description: "description",
    event_types: "types",
    headers: "headers",
    "retry.final_statuses": "finalStatuses",
    "retry.window_seconds": "window",
    retry: "schedule",
    timeout_seconds: "timeout",
    rate_limit: "limit",
    max_in_flight: "inFlight",
    ordering: "ordering",
    filter: "filter",
    metadata: "metadata",
    secret: "secret",
    on_failure: "onFailure",
    "auth.token_url": "auth.tokenUrl",
    "auth.client_id": "auth.clientId",
    "auth.client_secret": "auth.clientSecret",
    "auth.auth_style": "auth.style",
    ...Object.fromEntries(ownNames.map((name) => [name, name])),
    auth: "auth.type",
    "signature.keep_standard": "signature.keepStandard",
    signature: "signature.profile",
    tls: "tls.certificate",
  };
  const errors = formErrors(error, Object.keys(names));
  form.setErrors(Object.fromEntries(Object.entries(errors).map(([field, text]) => [names[field] ?? field, text])));
}

export function SubscriptionForm({ subscription, url, error, busy, onSubmit, onCancel }: Props) {
  const form = useForm<Form>({
    initialValues: subscription ? fromSubscription(subscription) : { ...blank, url: url ?? "" },
    validate,
    validateInputOnChange: true,
  });
  const [opened, setOpened] = useState<string[]>([]);
  // What is wrong must be seen, also where its section was closed.
  const wrong = sectionsOf(Object.keys(form.errors)).filter((section) => !opened.includes(section));
  const known = useQuery(eventTypeChoices()).data?.map((t) => t.name);
  return (
    <form onSubmit={form.onSubmit((values) => onSubmit(toInput(values), form))} noValidate>
      <Stack>
        <TextInput
          label="URL"
          description="Deliveries are POSTed here."
          placeholder="https://example.com/webhooks"
          type="url"
          required
          data-autofocus
          {...form.getInputProps("url")}
        />
        <TextInput label="Description" placeholder="Billing at Example Ltd" {...form.getInputProps("description")} />
        <TagsInput
          label="Event types"
          description="Types like order.created and patterns like order.*; none means all."
          placeholder={form.values.types.length === 0 ? "All" : undefined}
          data={known}
          splitChars={[",", " "]}
          acceptValueOnBlur
          {...form.getInputProps("types")}
        />
        <Textarea
          label="Filter"
          description="A CEL expression over type, headers and payload; only events that fulfil it are delivered."
          placeholder="payload.amount > 100"
          autosize
          spellCheck={false}
          styles={{ input: { fontFamily: "var(--mantine-font-family-monospace)" } }}
          {...form.getInputProps("filter")}
        />
        <Accordion variant="separated" multiple value={[...opened, ...wrong]} onChange={setOpened}>
          <Accordion.Item value="retry">
            <Accordion.Control>Retries and timeout</Accordion.Control>
            <Accordion.Panel>
              <Retries form={form} />
            </Accordion.Panel>
          </Accordion.Item>
          <Accordion.Item value="flow">
            <Accordion.Control>Rate, concurrency and order</Accordion.Control>
            <Accordion.Panel>
              <Flow form={form} />
            </Accordion.Panel>
          </Accordion.Item>
          <Accordion.Item value="auth">
            <Accordion.Control>Authentication</Accordion.Control>
            <Accordion.Panel>
              <Authentication form={form} />
            </Accordion.Panel>
          </Accordion.Item>
          <Accordion.Item value="signature">
            <Accordion.Control>Signature</Accordion.Control>
            <Accordion.Panel>
              <Signature form={form} create={!subscription} />
            </Accordion.Panel>
          </Accordion.Item>
          <Accordion.Item value="tls">
            <Accordion.Control>Client certificate and authorities</Accordion.Control>
            <Accordion.Panel>
              <Tls form={form} />
            </Accordion.Panel>
          </Accordion.Item>
          <Accordion.Item value="headers">
            <Accordion.Control>Headers and metadata</Accordion.Control>
            <Accordion.Panel>
              <Stack>
                <Pairs
                  label="Headers"
                  description="Sent with every delivery. Values are masked when read back; one left masked stays as it is."
                  {...form.getInputProps("headers")}
                />
                <Pairs label="Metadata" description="Your own keys and values." {...form.getInputProps("metadata")} />
              </Stack>
            </Accordion.Panel>
          </Accordion.Item>
        </Accordion>
        {!!error && <ProblemAlert error={error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onCancel}>
            Cancel
          </Button>
          <Button type="submit" loading={busy}>
            {subscription ? "Save" : "Create"}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

const sections: Record<string, string> = {
  schedule: "retry",
  finalStatuses: "retry",
  window: "retry",
  timeout: "retry",
  limit: "flow",
  inFlight: "flow",
  ordering: "flow",
  onFailure: "flow",
  headers: "headers",
  metadata: "headers",
  auth: "auth",
  signature: "signature",
  secret: "signature",
  tls: "tls",
};

/** The sections of the form that fields stand in. */
function sectionsOf(fields: string[]): string[] {
  return [...new Set(fields.flatMap((field) => sections[field.split(".")[0] ?? ""] ?? []))];
}

function Retries({ form }: { form: UseFormReturnType<Form> }) {
  return (
    <Stack>
      <SegmentedControl
        aria-label="Retry policy"
        data={[
          { value: "default", label: "Default" },
          { value: "schedule", label: "Schedule" },
          { value: "exponential", label: "Exponential" },
        ]}
        {...form.getInputProps("policy")}
      />
      {form.values.policy === "default" && (
        <Text size="sm" c="dimmed">
          Ten attempts in about 48 hours: after 5 s, 1 m, 5 m, 30 m, 2 h, 5 h, 10 h, 14 h and 16 h, each ±20 %.
        </Text>
      )}
      {form.values.policy === "schedule" && (
        <TextInput
          label="Delays in seconds"
          description="One after each failed attempt, separated by commas. None means a single attempt."
          placeholder="5, 60, 300"
          {...form.getInputProps("schedule")}
        />
      )}
      {form.values.policy === "exponential" && (
        <>
          <SimpleGrid cols={{ base: 2, sm: 4 }}>
            <NumberInput label="First delay, s" min={0.1} {...form.getInputProps("initial")} />
            <NumberInput label="Multiplier" min={1} {...form.getInputProps("multiplier")} />
            <NumberInput label="Longest delay, s" min={0.1} {...form.getInputProps("maximum")} />
            <NumberInput label="Attempts in all" min={1} max={50} {...form.getInputProps("attempts")} />
          </SimpleGrid>
          {form.errors.schedule && (
            <Text size="xs" c="var(--mantine-color-error)" role="alert">
              {form.errors.schedule}
            </Text>
          )}
        </>
      )}
      <TagsInput
        label="No retry after these HTTP statuses"
        description="From 300 to 599, such as 404; none retries after every failure."
        splitChars={[",", " "]}
        acceptValueOnBlur
        maw={420}
        {...form.getInputProps("finalStatuses")}
        value={form.values.finalStatuses.map(String)}
        onChange={(list) => form.setFieldValue("finalStatuses", list.map(Number).filter(Number.isInteger))}
      />
      <NumberInput
        label="Retry window in seconds"
        description="Ends the retries this long after acceptance; empty is the retention."
        placeholder="the retention"
        min={1}
        maw={220}
        {...form.getInputProps("window")}
        value={form.values.window ?? ""}
        onChange={(v) => form.setFieldValue("window", typeof v === "number" ? v : undefined)}
      />
      <NumberInput
        label="Timeout in seconds"
        description="One deadline for the whole attempt, 1 to 60."
        min={1}
        max={60}
        maw={220}
        {...form.getInputProps("timeout")}
      />
    </Stack>
  );
}

function Flow({ form }: { form: UseFormReturnType<Form> }) {
  return (
    <Stack>
      <Group align="flex-end" gap="xs">
        <NumberInput
          label="Rate limit"
          description="Deliveries at most; empty is no limit."
          placeholder="none"
          min={1}
          w={220}
          {...form.getInputProps("limit")}
        />
        <Select
          aria-label="Per"
          data={[
            { value: "second", label: "a second" },
            { value: "minute", label: "a minute" },
          ]}
          allowDeselect={false}
          w={130}
          {...form.getInputProps("per")}
        />
      </Group>
      <NumberInput
        label="In flight at once"
        description="1 to 1024."
        min={1}
        max={1024}
        maw={220}
        {...form.getInputProps("inFlight")}
      />
      <Select
        label="Order"
        allowDeselect={false}
        maw={420}
        data={[
          { value: "none", label: "None: in parallel, as fast as allowed" },
          { value: "fifo", label: "First in, first out: one after the other, per ordering key" },
        ]}
        {...form.getInputProps("ordering")}
      />
      {form.values.ordering === "fifo" && (
        <Select
          label="After a failed attempt"
          allowDeselect={false}
          maw={420}
          data={[
            { value: "block", label: "Those behind wait until it succeeds or is given up" },
            { value: "skip", label: "Those behind pass while it goes on with its retries" },
          ]}
          {...form.getInputProps("onFailure")}
        />
      )}
    </Stack>
  );
}
