// How a receiver knows the sender, as the form of a subscription holds it, and back: authentication, TLS, signature.
import type { Pair } from "../components/pairs";
import { mask } from "../components/secretinput";
import type { EndpointAuth, EndpointTls, SignatureProfile } from "../data/api";
import type { Subscription, SubscriptionInput } from "../data/subscriptions";
import { absoluteUrl, fromPairs, toPairs } from "./values";

type AuthType = EndpointAuth["type"];
export type Profile = NonNullable<SignatureProfile["profile"]>;

/** Holds the fields of all types, so that nothing is lost by looking at another one. */
export interface AuthForm {
  type: AuthType | "none";
  token: string;
  username: string;
  password: string;
  header: string;
  value: string;
  tokenUrl: string;
  clientId: string;
  clientSecret: string;
  scopes: string[];
  audience: string;
  params: Pair[];
  style: "basic" | "body";
}

export interface TlsForm {
  certificate: string;
  key: string;
  ca: string;
}

export interface SignatureForm {
  profile: Profile;
  header: string;
  algorithm: NonNullable<SignatureProfile["algorithm"]>;
  key: NonNullable<SignatureProfile["key"]>;
  signed: string;
  encoding: NonNullable<SignatureProfile["encoding"]>;
  value: string;
  repeat: string;
  headers: Pair[];
  keepStandard: boolean;
}

export interface EndpointForm {
  auth: AuthForm;
  tls: TlsForm;
  signature: SignatureForm;
}

export const blankSignature: SignatureForm = {
  profile: "standard",
  header: "",
  algorithm: "hmac-sha256",
  key: "text",
  signed: "{body}",
  encoding: "hex",
  value: "{signature}",
  repeat: "",
  headers: [],
  keepStandard: true,
};

export const blankEndpoint: EndpointForm = {
  auth: {
    type: "none",
    token: "",
    username: "",
    password: "",
    header: "X-Api-Key",
    value: "",
    tokenUrl: "",
    clientId: "",
    clientSecret: "",
    scopes: [],
    audience: "",
    params: [],
    style: "basic",
  },
  tls: { certificate: "", key: "", ca: "" },
  signature: blankSignature,
};

export function fromEndpoint(s: Pick<Subscription, "auth" | "tls" | "signature">): EndpointForm {
  const { auth, tls, signature } = s;
  return {
    auth: {
      type: auth?.type ?? "none",
      token: auth?.token ?? "",
      username: auth?.username ?? "",
      password: auth?.password ?? "",
      header: auth?.header ?? blankEndpoint.auth.header,
      value: auth?.value ?? "",
      tokenUrl: auth?.token_url ?? "",
      clientId: auth?.client_id ?? "",
      clientSecret: auth?.client_secret ?? "",
      scopes: auth?.scopes ?? [],
      audience: auth?.audience ?? "",
      params: toPairs(auth?.params),
      style: auth?.auth_style ?? "basic",
    },
    tls: { certificate: tls?.certificate ?? "", key: tls?.key ?? "", ca: tls?.ca ?? "" },
    signature: {
      profile: signature.profile ?? "standard",
      header: signature.header ?? "",
      algorithm: signature.algorithm ?? blankSignature.algorithm,
      key: signature.key ?? blankSignature.key,
      signed: signature.signed ?? blankSignature.signed,
      encoding: signature.encoding ?? blankSignature.encoding,
      value: signature.value ?? blankSignature.value,
      repeat: signature.repeat ?? "",
      headers: toPairs(signature.headers),
      keepStandard: signature.keep_standard ?? true,
    },
  };
}

export function toEndpoint(f: EndpointForm): Required<Pick<SubscriptionInput, "auth" | "tls" | "signature">> {
  return { auth: toAuth(f.auth), tls: toTls(f.tls), signature: toSignature(f.signature) };
}

function toAuth(f: AuthForm): EndpointAuth | null {
  switch (f.type) {
    case "none":
      return null;
    case "bearer":
      return { type: f.type, token: f.token.trim() };
    case "basic":
      return { type: f.type, username: f.username, password: f.password };
    case "api_key":
      return { type: f.type, header: f.header.trim(), value: f.value.trim() };
    case "oauth2_client_credentials":
      return {
        type: f.type,
        token_url: f.tokenUrl.trim(),
        client_id: f.clientId.trim(),
        client_secret: f.clientSecret.trim(),
        scopes: f.scopes,
        audience: f.audience.trim() || undefined,
        params: fromPairs(f.params),
        auth_style: f.style,
      };
  }
}

function toTls(f: TlsForm): EndpointTls | null {
  const part = (text: string) => (text.trim() ? text : undefined);
  // A key that is kept goes with its certificate: without one there is nothing to keep it for.
  const key = part(f.certificate) || f.key !== mask ? part(f.key) : undefined;
  const tls = { certificate: part(f.certificate), key, ca: part(f.ca) };
  return tls.certificate || tls.key || tls.ca ? tls : null;
}

function toSignature(f: SignatureForm): SignatureProfile | null {
  if (f.profile === "standard") return null;
  // A preset that was just chosen says the rest; one that was read back is spelt out.
  if (f.profile !== "custom" && !f.header) return { profile: f.profile, keep_standard: f.keepStandard };
  return {
    profile: f.profile,
    header: f.header.trim(),
    algorithm: f.algorithm,
    key: f.key,
    signed: f.signed,
    encoding: f.encoding,
    value: f.value,
    repeat: f.repeat || undefined,
    headers: fromPairs(f.headers),
    keep_standard: f.keepStandard,
  };
}

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const headerName = (v: string) =>
  token.test(v.trim()) ? null : "The name of a header: letters, digits and hyphens, like X-Signature";
const visible = (v: string, what: string) =>
  v === mask || /^[\x21-\x7e]+$/.test(v.trim()) ? null : `${what}: visible ASCII characters without spaces`;
const times = (text: string, place: string) => text.split(place).length - 1;

type Whole = EndpointForm;
const forType = (type: AuthType, rule: (v: string) => string | null) => (v: string, f: Whole) =>
  f.auth.type === type ? rule(v) : null;
const forCustom = (rule: (v: string) => string | null) => (v: string, f: Whole) =>
  f.signature.profile === "custom" ? rule(v) : null;

/** What can be said while typing; the rest is the API's to judge. */
export const validateEndpoint = {
  auth: {
    token: forType("bearer", (v) => visible(v, "The token")),
    username: forType("basic", (v) => (v && !v.includes(":") ? null : "A name without colons")),
    header: forType("api_key", headerName),
    value: forType("api_key", (v) => (v.trim() ? null : "The key that the receiver expects")),
    tokenUrl: forType("oauth2_client_credentials", absoluteUrl),
    clientId: forType("oauth2_client_credentials", (v) => visible(v, "The client’s id")),
    clientSecret: forType("oauth2_client_credentials", (v) => visible(v, "The client’s secret")),
  },
  tls: {
    certificate: (v: string, f: Whole) =>
      pemFault(v, "CERTIFICATE") ??
      (!v.trim() && f.tls.key.trim() && f.tls.key !== mask ? "The certificate that this key belongs to" : null),
    key: (v: string, f: Whole) =>
      v === mask
        ? null
        : (pemFault(v, "PRIVATE KEY") ?? (!v.trim() && f.tls.certificate.trim() ? "The certificate’s key" : null)),
    ca: (v: string) => pemFault(v, "CERTIFICATE"),
  },
  signature: {
    header: forCustom(headerName),
    signed: forCustom((v) => (times(v, "{body}") === 1 ? null : "Text with {body} exactly once")),
    value: forCustom((v) => (times(v, "{signature}") === 1 ? null : "Text with {signature} exactly once")),
    repeat: forCustom((v) => (!v || times(v, "{signature}") === 1 ? null : "Text with {signature} exactly once")),
  },
};

function pemFault(v: string, what: string): string | null {
  if (!v.trim() || new RegExp(`-----BEGIN [A-Z0-9 ]*${what}-----[^]+-----END [A-Z0-9 ]*${what}-----`).test(v))
    return null;
  return `PEM: from -----BEGIN ${what}----- to -----END ${what}-----`;
}
