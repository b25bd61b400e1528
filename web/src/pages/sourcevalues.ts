// A source as the form holds it, and back.
import type { Source, SourceInput } from "../data/sources";

type Provider = Source["provider"];

export const providers: { value: Provider; label: string }[] = [
  { value: "standard", label: "Standard Webhooks" },
  { value: "github", label: "GitHub" },
  { value: "stripe", label: "Stripe" },
  { value: "shopify", label: "Shopify" },
  { value: "slack", label: "Slack" },
  { value: "hmac", label: "Another HMAC" },
];

export function providerLabel(provider: Provider): string {
  return providers.find((p) => p.value === provider)?.label ?? provider;
}

/** Whether the provider issues the secret, so that it can only be set once the provider knows the URL. */
export function issuesSecret(provider: Provider): boolean {
  return provider === "stripe" || provider === "shopify" || provider === "slack";
}

export interface SourceForm {
  name: string;
  description: string;
  provider: Provider;
  secret: string;
  eventType: string;
  defaultType: string;
  messageId: string;
  keepHeaders: string[];
  tolerance: number | string;
  header: string;
  prefix: string;
  encoding: "hex" | "base64";
  algorithm: "sha256" | "sha512" | "sha1";
  secretEncoding: "text" | "hex" | "base64";
  timestampHeader: string;
  signed: string;
}

export const blankSource: SourceForm = {
  name: "",
  description: "",
  provider: "github",
  secret: "",
  eventType: "",
  defaultType: "",
  messageId: "",
  keepHeaders: [],
  tolerance: "",
  header: "",
  prefix: "",
  encoding: "hex",
  algorithm: "sha256",
  secretEncoding: "text",
  timestampHeader: "",
  signed: "",
};

export function fromSource(s: Source): SourceForm {
  return {
    ...blankSource,
    name: s.name,
    description: s.description,
    provider: s.provider,
    eventType: s.event_type,
    defaultType: s.default_type,
    messageId: s.message_id,
    keepHeaders: s.keep_headers ?? [],
    tolerance: s.tolerance_seconds,
    header: s.scheme?.header ?? "",
    prefix: s.scheme?.prefix ?? "",
    encoding: s.scheme?.encoding ?? "hex",
    algorithm: s.scheme?.algorithm ?? "sha256",
    secretEncoding: s.scheme?.secret_encoding ?? "text",
    timestampHeader: s.scheme?.timestamp_header ?? "",
    signed: s.scheme?.signed ?? "",
  };
}

/** The whole source. What the form does not show stays as it was; another provider brings its own usual texts. */
export function toSourceInput(f: SourceForm, before?: Source): SourceInput {
  const same = !before || before.provider === f.provider;
  const text = (value: string) => (same && value.trim() ? value.trim() : undefined);
  return {
    name: f.name.trim(),
    description: f.description.trim(),
    provider: f.provider,
    enabled: before?.enabled,
    rate_limit: before?.rate_limit ?? undefined,
    secret: f.secret.trim() || undefined,
    event_type: text(f.eventType),
    default_type: text(f.defaultType),
    message_id: text(f.messageId),
    keep_headers: f.keepHeaders,
    tolerance_seconds: f.tolerance === "" || f.provider === "standard" ? undefined : Number(f.tolerance),
    scheme: f.provider === "hmac" ? schemeOf(f) : undefined,
  };
}

function schemeOf(f: SourceForm): SourceInput["scheme"] {
  return {
    header: f.header.trim(),
    prefix: f.prefix.trim() || undefined,
    encoding: f.encoding,
    algorithm: f.algorithm,
    secret_encoding: f.secretEncoding,
    timestamp_header: f.timestampHeader.trim() || undefined,
    signed: f.signed.trim() || undefined,
  };
}
