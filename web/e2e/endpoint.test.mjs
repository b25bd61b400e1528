import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, test } from "node:test";
import { openPage, startBrowser, startReceiver, startServer } from "./harness.mjs";

let server;
let browser;
let receiver;
before(async () => {
  [server, browser, receiver] = await Promise.all([startServer(), startBrowser(), startReceiver(200)]);
});
after(async () => {
  await browser?.close();
  await server?.destroy();
  await receiver?.close();
});

async function deliver(n) {
  const { id } = await server.publish("order.created", { n });
  await server.until(`/events/${id}/status`, (s) => s.status === "succeeded");
  return receiver.requests.at(-1);
}

test("a subscription with a bearer token and a signature of its own keeps both through an edit", async () => {
  const page = await openPage(browser, server);
  const field = (name) => page.getByRole("textbox", { name, exact: true });
  const choose = async (list, option) => {
    await page.getByRole("combobox", { name: list, exact: true }).click();
    await page.getByRole("option", { name: option, exact: true }).click();
  };
  await page.goto("/ui/subscriptions/new");
  await field("URL").fill(receiver.url);
  await field("Description").fill("Old receiver");
  await page.getByRole("button", { name: "Authentication" }).click();
  await choose("Authentication", "Bearer token");
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByText("The token: visible ASCII characters without spaces").waitFor();
  await page.getByLabel("Token").fill("tok-4711");
  await page.getByRole("button", { name: "Signature", exact: true }).click();
  await choose("Signed", "Custom");
  await field("Header of the signature").fill("X-Acme-Signature");
  await field("What is signed").fill("{timestamp}");
  await page.getByText("Text with {body} exactly once").waitFor();
  await field("What is signed").fill("{timestamp}.{body}");
  await field("Its value").fill("t={timestamp},s={signature}");
  await field("Secret").fill("a secret the receiver has");
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByRole("heading", { name: "Subscription created" }).waitFor();

  const wanted = (got) => {
    assert.equal(got.headers.authorization, "Bearer tok-4711");
    const [, at, signature] = /^t=(\d+),s=([0-9a-f]{64})$/.exec(got.headers["x-acme-signature"]);
    assert.equal(
      signature,
      createHmac("sha256", "a secret the receiver has").update(`${at}.${got.body}`).digest("hex"),
    );
  };
  wanted(await deliver(1));

  await page.getByRole("link", { name: "Open the subscription" }).click();
  await page.getByRole("link", { name: "Edit" }).click();
  await page.getByRole("button", { name: "Authentication" }).click();
  await page.getByText("Set, and never shown again").waitFor();
  await field("Description").fill("Old receiver, edited");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { name: "Old receiver, edited" }).waitFor();
  wanted(await deliver(2));
  assert.deepEqual(page.faults, []);
});
