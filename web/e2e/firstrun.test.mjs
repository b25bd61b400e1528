import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { key, openPage, startBrowser, startServer } from "./harness.mjs";

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([startServer(), startBrowser()]);
});
after(async () => {
  await browser?.close();
  await server?.destroy();
});

test("from an empty install to the first delivery", async () => {
  const page = await openPage(browser, server, { signedIn: false });
  await page.goto("/");
  await page.getByLabel("API key", { exact: true }).fill(key);
  await page.getByRole("button", { name: "Sign in" }).click();

  await page.getByRole("heading", { name: "Welcome to Posthorn" }).waitFor();
  await page.getByRole("link", { name: "Send the first webhook" }).click();
  await page.getByRole("heading", { name: "Send the first webhook" }).waitFor();
  assert.equal(await page.getByRole("textbox", { name: "URL of a receiver" }).inputValue(), `${server.url}/play/first`);
  await page.getByRole("button", { name: "Subscribe and send" }).click();

  await page.getByText("Delivered: attempt 1 was answered 200 OK.").waitFor();
  await page.getByText("answered 200", { exact: true }).waitFor();
  await page.getByText("webhook-signature", { exact: false }).first().waitFor();

  await page.getByRole("link", { name: "Request and response" }).click();
  await page.getByRole("heading", { name: "Response" }).waitFor();
  await page.getByRole("button", { name: "Verify" }).click();
  await page.getByText("The signature is right").waitFor();
  assert.deepEqual(page.faults, []);
});

test("an event is published from the form, byte for byte", async () => {
  const page = await openPage(browser, server);
  await page.goto("/ui/events/publish");
  await page.getByRole("combobox", { name: "Type" }).fill("order.created");
  const editor = page.getByRole("textbox", { name: "Payload" });
  const payload = '{"n": 12345678901234567890, "f": 1.00}';
  await editor.fill(payload);
  await page.getByText("1 subscription would get it").waitFor();
  await page.getByRole("button", { name: "Publish", exact: true }).click();
  await page.getByText("1 delivery on the way.").waitFor();
  await page.getByRole("link", { name: "See what becomes of it" }).click();
  await page.getByRole("region", { name: "Payload" }).waitFor();
  assert.equal(await page.getByRole("region", { name: "Payload" }).innerText(), payload);
  await page.getByText("Delivered: attempt 1 was answered 200 OK.").waitFor();
  assert.deepEqual(page.faults, []);
});

test("a payload that is not JSON is said to be wrong before it is sent", async () => {
  const page = await openPage(browser, server);
  await page.goto("/ui/events/publish?type=order.created");
  await page.getByRole("textbox", { name: "Payload" }).fill("{");
  await page.getByText("This is not JSON yet.").waitFor();
  assert.ok(await page.getByRole("button", { name: "Publish", exact: true }).isDisabled());
});
