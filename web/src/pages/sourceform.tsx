import {
  Button,
  Fieldset,
  Group,
  NumberInput,
  PasswordInput,
  Select,
  SimpleGrid,
  Stack,
  TagsInput,
  TextInput,
} from "@mantine/core";
import { type UseFormReturnType, useForm } from "@mantine/form";
import { ButtonLink } from "../components/link";
import { Card } from "../components/page";
import { ProblemAlert } from "../components/states";
import { formErrors } from "../data/problem";
import type { Source, SourceInput } from "../data/sources";
import { blankSource, fromSource, issuesSecret, providers, type SourceForm, toSourceInput } from "./sourcevalues";

interface Props {
  source?: Source;
  error: unknown;
  busy: boolean;
  onSubmit: (input: SourceInput, refused: (error: unknown) => void) => void;
}

/** Where the API's fields stand in the form. */
const names: Record<string, keyof SourceForm> = {
  name: "name",
  description: "description",
  provider: "provider",
  secret: "secret",
  event_type: "eventType",
  default_type: "defaultType",
  message_id: "messageId",
  keep_headers: "keepHeaders",
  tolerance_seconds: "tolerance",
  "scheme.header": "header",
  "scheme.prefix": "prefix",
  "scheme.timestamp_header": "timestampHeader",
  "scheme.signed": "signed",
  scheme: "header",
};

export function SourceEditor({ source, error, busy, onSubmit }: Props) {
  const form = useForm<SourceForm>({
    initialValues: source ? fromSource(source) : blankSource,
    validate: {
      name: (v) => (v.trim() ? null : "A name says what comes in here"),
      header: (v, f) => (f.provider !== "hmac" || v.trim() ? null : "The header that holds the signature"),
    },
  });
  const refused = (e: unknown) => {
    const errors = formErrors(e, Object.keys(names));
    form.setErrors(Object.fromEntries(Object.entries(errors).map(([field, words]) => [names[field] ?? field, words])));
  };
  const changed = source && source.provider !== form.values.provider;
  return (
    <Card title={source && "Settings"}>
      <form onSubmit={form.onSubmit((v) => onSubmit(toSourceInput(v, source), refused))} noValidate>
        <Stack>
          <SimpleGrid cols={{ base: 1, sm: 2 }}>
            <TextInput label="Name" placeholder="Our repositories" required {...form.getInputProps("name")} />
            <Select
              label="Signed by"
              description={changed ? "What follows goes back to this provider’s usual." : undefined}
              data={providers}
              allowDeselect={false}
              {...form.getInputProps("provider")}
            />
          </SimpleGrid>
          <TextInput label="Description" {...form.getInputProps("description")} />
          {!source && (
            <PasswordInput
              label="Secret"
              description={
                issuesSecret(form.values.provider)
                  ? "The provider issues it once it knows the URL: leave it empty now and set it later."
                  : "Empty makes one, which is shown once for you to give to the provider."
              }
              autoComplete="off"
              {...form.getInputProps("secret")}
            />
          )}
          {form.values.provider === "hmac" && <Scheme form={form} />}
          {!changed && <Reading form={form} />}
          {!!error && <ProblemAlert error={error} />}
          <Group justify="flex-end">
            <ButtonLink to="/ui/sources" variant="default">
              Cancel
            </ButtonLink>
            <Button type="submit" loading={busy}>
              {source ? "Save" : "Create"}
            </Button>
          </Group>
        </Stack>
      </form>
    </Card>
  );
}

/** How the signature of a sender without a preset is made. */
function Scheme({ form }: { form: UseFormReturnType<SourceForm> }) {
  return (
    <Fieldset legend="Signature">
      <SimpleGrid cols={{ base: 1, sm: 2 }}>
        <TextInput label="Header" placeholder="X-Signature" required {...form.getInputProps("header")} />
        <TextInput label="Before the signature in it" placeholder="v1=" {...form.getInputProps("prefix")} />
        <Select
          label="Algorithm"
          data={["sha256", "sha512", "sha1"]}
          allowDeselect={false}
          {...form.getInputProps("algorithm")}
        />
        <Select label="Encoding" data={["hex", "base64"]} allowDeselect={false} {...form.getInputProps("encoding")} />
        <Select
          label="The secret is written as"
          data={["text", "hex", "base64"]}
          allowDeselect={false}
          {...form.getInputProps("secretEncoding")}
        />
        <TextInput label="Timestamp header" placeholder="X-Timestamp" {...form.getInputProps("timestampHeader")} />
        <TextInput
          label="What is signed"
          description="Text with {body}, and {timestamp} where there is one."
          placeholder="{timestamp}.{body}"
          {...form.getInputProps("signed")}
        />
      </SimpleGrid>
    </Fieldset>
  );
}

/** How a message becomes an event. */
function Reading({ form }: { form: UseFormReturnType<SourceForm> }) {
  return (
    <>
      <SimpleGrid cols={{ base: 1, sm: 2 }}>
        <TextInput
          label="Event type"
          description="Text with {header.NAME} and {payload.path}; empty is the provider’s usual."
          placeholder="github.{header.X-GitHub-Event}"
          {...form.getInputProps("eventType")}
        />
        <TextInput
          label="Type where that finds nothing"
          description="Empty is the provider’s usual."
          {...form.getInputProps("defaultType")}
        />
        <TextInput
          label="Message id"
          description="In the same notation: a message that comes again is a duplicate."
          {...form.getInputProps("messageId")}
        />
        <NumberInput
          label="Tolerance in seconds"
          description="How far a signed timestamp may be from now."
          placeholder="300"
          min={1}
          max={3600}
          disabled={form.values.provider === "standard"}
          {...form.getInputProps("tolerance")}
        />
      </SimpleGrid>
      <TagsInput
        label="Headers to keep"
        description="The provider’s headers that go along with each delivery."
        splitChars={[",", " "]}
        acceptValueOnBlur
        {...form.getInputProps("keepHeaders")}
      />
    </>
  );
}
