import { describe, expect, it } from "vitest";
import { mask } from "../components/secretinput";
import type { EndpointAuth } from "../data/api";
import { blankEndpoint, type EndpointForm, fromEndpoint, toEndpoint, validateEndpoint } from "./endpointvalues";

const pem = (what: string) => `-----BEGIN ${what}-----\nAAAA\n-----END ${what}-----\n`;
const standard = { auth: null, tls: null, signature: null };

function formWith(change: {
  auth?: Partial<EndpointForm["auth"]>;
  tls?: Partial<EndpointForm["tls"]>;
  signature?: Partial<EndpointForm["signature"]>;
}): EndpointForm {
  return {
    auth: { ...blankEndpoint.auth, ...change.auth },
    tls: { ...blankEndpoint.tls, ...change.tls },
    signature: { ...blankEndpoint.signature, ...change.signature },
  };
}

describe("authentication", () => {
  const ways: EndpointAuth[] = [
    { type: "basic", username: "posthorn", password: mask },
    { type: "api_key", header: "X-Key", value: mask },
    {
      type: "oauth2_client_credentials",
      token_url: "https://example.com/token",
      client_id: "posthorn",
      client_secret: mask,
      scopes: ["hooks"],
      audience: "hooks",
      params: { resource: mask },
      auth_style: "body",
    },
  ];
  it.each(ways)("$type comes back as it was, its secrets masked", (auth) => {
    expect(toEndpoint(fromEndpoint({ auth, tls: null, signature: {} })).auth).toEqual(auth);
  });

  it("sends the fields of the chosen type alone", () => {
    expect(toEndpoint(formWith({ auth: { type: "bearer", token: " t ", password: "p" } })).auth).toEqual({
      type: "bearer",
      token: "t",
    });
    expect(toEndpoint(formWith({ auth: { type: "none", token: "t" } }))).toEqual(standard);
  });

  it("asks only for what the type needs", () => {
    const rule = validateEndpoint.auth.token;
    expect(rule("", formWith({ auth: { type: "none" } }))).toBeNull();
    expect(rule("", formWith({ auth: { type: "bearer" } }))).toMatch(/visible/);
    expect(rule(mask, formWith({ auth: { type: "bearer" } }))).toBeNull();
  });
});

describe("TLS", () => {
  it("keeps a key that was not touched, and drops it with its certificate", () => {
    const tls = { certificate: pem("CERTIFICATE"), key: mask, ca: "" };
    expect(toEndpoint(formWith({ tls })).tls).toEqual({ certificate: tls.certificate, key: mask });
    expect(toEndpoint(formWith({ tls: { ...tls, certificate: "" } })).tls).toBeNull();
  });

  it.each([
    [pem("CERTIFICATE"), pem("EC PRIVATE KEY"), true, true],
    [pem("CERTIFICATE"), "", true, false],
    ["", pem("PRIVATE KEY"), false, true],
    ["MIIB", mask, false, true],
  ])("certificate %j with key %j", (certificate, key, certificateGood, keyGood) => {
    const form = formWith({ tls: { certificate, key } });
    expect(validateEndpoint.tls.certificate(certificate, form) === null).toBe(certificateGood);
    expect(validateEndpoint.tls.key(key, form) === null).toBe(keyGood);
  });
});

describe("the signature", () => {
  it("of a preset just chosen is its name, and of one read back all of it", () => {
    const chosen = formWith({ signature: { profile: "github" } });
    expect(toEndpoint(chosen).signature).toEqual({ profile: "github", keep_standard: true });
    const header = "X-Hub-Signature-256";
    const read = fromEndpoint({ auth: null, tls: null, signature: { profile: "github", header } });
    expect(toEndpoint(read).signature).toMatchObject({ profile: "github", header, signed: "{body}" });
  });

  it.each([
    ["{body}", true],
    ["{timestamp}.{body}", true],
    ["{timestamp}", false],
    ["{body}{body}", false],
  ])("signs %j: %s", (text, good) =>
    expect(validateEndpoint.signature.signed(text, formWith({ signature: { profile: "custom" } })) === null).toBe(good),
  );
});
