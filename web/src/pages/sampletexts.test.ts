import { createHmac, randomBytes } from "node:crypto";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { samples } from "./sampletexts";

type Verify = (secret: string, headers: Record<string, string>, body: Buffer) => void;

async function load(): Promise<Verify> {
  const text = samples.find((s) => s.name === "TypeScript")?.text ?? "";
  const options = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 };
  const script = ts.transpileModule(text, { compilerOptions: options }).outputText;
  const url = `data:text/javascript;base64,${Buffer.from(script).toString("base64")}`;
  return ((await import(/* @vite-ignore */ url)) as { verify: Verify }).verify;
}

describe("the sample in TypeScript", async () => {
  const verify = await load();
  const body = Buffer.from('{"total": 12.50}');
  const key = randomBytes(32);
  const secret = `whsec_${key.toString("base64")}`;
  const headers = (under: Buffer, age = 0) => {
    const timestamp = String(Math.floor(Date.now() / 1000) - age);
    const mac = createHmac("sha256", under).update(`evt_1.${timestamp}.`).update(body).digest("base64");
    return { "webhook-id": "evt_1", "webhook-timestamp": timestamp, "webhook-signature": `v1a,AAAA v1,${mac}` };
  };

  it("accepts what was signed with the secret", () => {
    expect(() => verify(secret, headers(key), body)).not.toThrow();
  });

  it("refuses another secret, another body, an old timestamp and none at all", () => {
    expect(() => verify(secret, headers(randomBytes(32)), body)).toThrow("no signature fits");
    expect(() => verify(secret, headers(key), Buffer.from('{"total":12.5}'))).toThrow("no signature fits");
    expect(() => verify(secret, headers(key, 301), body)).toThrow("timestamp too old");
    expect(() => verify(secret, {}, body)).toThrow("timestamp too old");
  });
});
