// The parts of a subscription's form that say how the receiver knows the sender, besides the secret.
import { PasswordInput, Select, SimpleGrid, Stack, Switch, TagsInput, Text, Textarea, TextInput } from "@mantine/core";
import type { UseFormReturnType } from "@mantine/form";
import { Pairs } from "../components/pairs";
import { mask, SecretInput } from "../components/secretinput";
import { blankSignature, type Profile } from "./endpointvalues";
import type { Form } from "./subscriptionvalues";

interface Props {
  form: UseFormReturnType<Form>;
}

const authTypes = [
  { value: "none", label: "None: the signature is enough" },
  { value: "bearer", label: "Bearer token" },
  { value: "basic", label: "User name and password (Basic)" },
  { value: "api_key", label: "API key in a header" },
  { value: "oauth2_client_credentials", label: "OAuth 2 client credentials" },
];

export function Authentication({ form }: Props) {
  const { type } = form.values.auth;
  return (
    <Stack>
      <Select
        label="Authentication"
        description="One header of each request, besides the signature."
        data={authTypes}
        allowDeselect={false}
        maw={420}
        {...form.getInputProps("auth.type")}
      />
      {type === "bearer" && <SecretInput label="Token" required {...form.getInputProps("auth.token")} />}
      {type === "basic" && (
        <SimpleGrid cols={{ base: 1, sm: 2 }}>
          <TextInput label="User name" autoComplete="off" required {...form.getInputProps("auth.username")} />
          <SecretInput label="Password" {...form.getInputProps("auth.password")} />
        </SimpleGrid>
      )}
      {type === "api_key" && (
        <SimpleGrid cols={{ base: 1, sm: 2 }}>
          <TextInput label="Header of the key" required {...form.getInputProps("auth.header")} />
          <SecretInput label="Key" required {...form.getInputProps("auth.value")} />
        </SimpleGrid>
      )}
      {type === "oauth2_client_credentials" && <OAuth form={form} />}
    </Stack>
  );
}

function OAuth({ form }: Props) {
  return (
    <>
      <TextInput
        label="Token URL"
        description="Where access tokens are asked for; they are kept until they expire."
        placeholder="https://auth.example.com/oauth/token"
        type="url"
        required
        {...form.getInputProps("auth.tokenUrl")}
      />
      <SimpleGrid cols={{ base: 1, sm: 2 }}>
        <TextInput label="Client id" autoComplete="off" required {...form.getInputProps("auth.clientId")} />
        <SecretInput label="Client secret" required {...form.getInputProps("auth.clientSecret")} />
        <TagsInput label="Scopes" splitChars={[",", " "]} acceptValueOnBlur {...form.getInputProps("auth.scopes")} />
        <TextInput label="Audience" {...form.getInputProps("auth.audience")} />
        <Select
          label="The credentials go"
          data={[
            { value: "basic", label: "in a Basic header" },
            { value: "body", label: "as fields of the request" },
          ]}
          allowDeselect={false}
          {...form.getInputProps("auth.style")}
        />
      </SimpleGrid>
      <Pairs
        label="Token request"
        description="Further fields of it. Values are masked when read back."
        {...form.getInputProps("auth.params")}
      />
    </>
  );
}

export function Tls({ form }: Props) {
  const kept = form.values.tls.key === mask;
  const pem = {
    autosize: true,
    minRows: 2,
    maxRows: 8,
    spellCheck: false,
    styles: { input: { fontFamily: "var(--mantine-font-family-monospace)", fontSize: 12 } },
  };
  return (
    <Stack>
      <Text size="sm" c="dimmed">
        For receivers that want to be shown a client certificate, or whose own is signed by a private authority.
      </Text>
      <Textarea
        label="Client certificate"
        description="PEM, its chain after it."
        placeholder="-----BEGIN CERTIFICATE-----"
        {...pem}
        {...form.getInputProps("tls.certificate")}
      />
      <Textarea
        label="Key of the certificate"
        description={kept ? "Set, and never shown again; left alone it stays." : "PEM, without a passphrase."}
        placeholder="-----BEGIN PRIVATE KEY-----"
        onFocus={(e) => kept && e.currentTarget.select()}
        {...pem}
        {...form.getInputProps("tls.key")}
      />
      <Textarea
        label="Certificate authorities"
        description="PEM; trusted for this subscription besides the public ones."
        placeholder="-----BEGIN CERTIFICATE-----"
        {...pem}
        {...form.getInputProps("tls.ca")}
      />
    </Stack>
  );
}

const profiles: { value: Profile; label: string }[] = [
  { value: "standard", label: "Standard Webhooks" },
  { value: "svix", label: "as Svix" },
  { value: "github", label: "as GitHub" },
  { value: "stripe", label: "as Stripe" },
  { value: "shopify", label: "as Shopify" },
  { value: "slack", label: "as Slack" },
  { value: "custom", label: "Custom" },
];

export function Signature({ form, create }: Props & { create: boolean }) {
  const { profile } = form.values.signature;
  // A preset brings its own rest; a custom profile starts from what was there.
  const choose = (value: string | null) => {
    const next = (value ?? "standard") as Profile;
    form.setFieldValue("signature", {
      ...(next === "custom" ? form.values.signature : blankSignature),
      keepStandard: form.values.signature.keepStandard,
      profile: next,
    });
  };
  return (
    <Stack>
      <Select
        label="Signed"
        description="For receivers that verify another sender’s signatures already."
        data={profiles}
        allowDeselect={false}
        maw={420}
        value={profile}
        onChange={choose}
        error={form.errors["signature.profile"]}
      />
      {profile === "custom" && <Custom form={form} />}
      {profile !== "standard" && (
        <Switch
          label="Send the Standard Webhooks’ signature too"
          {...form.getInputProps("signature.keepStandard", { type: "checkbox" })}
        />
      )}
      {create && (
        <PasswordInput
          label="Secret"
          description="To keep one that the receiver has already; empty makes one."
          autoComplete="off"
          maw={420}
          {...form.getInputProps("secret")}
        />
      )}
    </Stack>
  );
}

function Custom({ form }: Props) {
  return (
    <>
      <SimpleGrid cols={{ base: 1, sm: 2 }}>
        <TextInput
          label="Header of the signature"
          placeholder="X-Acme-Signature"
          required
          {...form.getInputProps("signature.header")}
        />
        <TextInput
          label="Its value"
          description="Text with {signature}, and {id} and {timestamp} where they belong."
          {...form.getInputProps("signature.value")}
        />
        <TextInput
          label="What is signed"
          description="Text with {body}, and {id}, {timestamp} and {type} where they belong."
          {...form.getInputProps("signature.signed")}
        />
        <TextInput
          label="For each older secret that still signs"
          description="Appended to the value; empty signs with the newest alone."
          placeholder=",v1={signature}"
          {...form.getInputProps("signature.repeat")}
        />
        <Select
          label="Algorithm"
          data={["hmac-sha256", "hmac-sha512", "hmac-sha1"]}
          allowDeselect={false}
          {...form.getInputProps("signature.algorithm")}
        />
        <Select
          label="Encoding"
          data={["hex", "base64"]}
          allowDeselect={false}
          {...form.getInputProps("signature.encoding")}
        />
        <Select
          label="The key is"
          data={[
            { value: "text", label: "the secret as it is written" },
            { value: "decoded", label: "the base64 behind whsec_, decoded" },
          ]}
          allowDeselect={false}
          {...form.getInputProps("signature.key")}
        />
      </SimpleGrid>
      <Pairs
        label="Signature headers"
        description="Further headers, of text with {id}, {timestamp} and {type}."
        {...form.getInputProps("signature.headers")}
      />
    </>
  );
}
