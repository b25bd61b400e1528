import { describe, expect, it } from "vitest";
import type { Source } from "../data/sources";
import { blankSource, fromSource, toSourceInput } from "./sourcevalues";

const source = {
  name: "Repositories",
  description: "",
  provider: "hmac",
  enabled: false,
  rate_limit: { limit: 5, per: "second" },
  event_type: "repo.{header.X-Event}",
  default_type: "repo.event",
  message_id: "{header.X-Id}",
  keep_headers: ["X-Event"],
  tolerance_seconds: 60,
  scheme: { header: "X-Sig", encoding: "base64", algorithm: "sha512", secret_encoding: "text", signed: "{body}" },
} as Source;

describe("a source in the form", () => {
  it("comes back as it was, with what the form does not show", () => {
    const input = JSON.parse(JSON.stringify(toSourceInput(fromSource(source), source)));
    expect(input).toEqual(JSON.parse(JSON.stringify(source)));
  });

  it("leaves the usual texts to another provider", () => {
    const input = toSourceInput({ ...fromSource(source), provider: "github" }, source);
    expect(input.event_type).toBeUndefined();
    expect(input.scheme).toBeUndefined();
    expect(input.enabled).toBe(false);
  });

  it("leaves everything that is not typed to the API", () => {
    const input = toSourceInput({ ...blankSource, name: " GitHub " });
    expect(JSON.parse(JSON.stringify(input))).toEqual({
      name: "GitHub",
      description: "",
      provider: "github",
      keep_headers: [],
    });
  });
});
