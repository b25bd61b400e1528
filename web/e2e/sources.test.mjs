import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, test } from "node:test";
import { openPage, startBrowser, startServer } from "./harness.mjs";

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([startServer(), startBrowser()]);
});
after(async () => {
  await browser?.close();
  await server?.destroy();
});

/** Sends as GitHub does. */
async function send(url, secret, body) {
  const signature = `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`;
  const headers = {
    "Content-Type": "application/json",
    "X-Hub-Signature-256": signature,
    "X-GitHub-Event": "push",
    "X-GitHub-Delivery": "one",
  };
  return (await fetch(url, { method: "POST", headers, body })).status;
}

test("a source is created, takes in what is signed, is disabled and enabled, rotated and saved", async () => {
  const page = await openPage(browser, server);
  await page.goto("/ui/sources");
  await page.getByRole("link", { name: "Create", exact: true }).click();
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByText("A name says what comes in here").waitFor();
  await page.getByRole("textbox", { name: "Name", exact: true }).fill("Our repositories");
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByRole("heading", { name: "Source created" }).waitFor();
  const url = await page.getByText(/^http.*\/ingest\/src_/).innerText();
  const id = url.split("/").at(-1);
  const secret = await page.getByRole("status").filter({ hasText: "Secret" }).locator("p[title]").nth(1).innerText();
  assert.ok((await send(url, secret, '{"ref":"main"}')) < 300);
  assert.ok((await send(url, "wrong", '{"ref":"main"}')) >= 400);

  await page.getByRole("link", { name: "Open the source" }).click();
  await page.getByRole("heading", { name: "Our repositories" }).waitFor();
  await server.until(`/sources/${id}`, (s) => s.accepted === 1 && s.refused === 1);
  await page.getByRole("button", { name: "Disable" }).click();
  await page.getByRole("button", { name: "Enable" }).waitFor();
  assert.ok((await send(url, secret, '{"ref":"b"}')) >= 400);
  await page.getByRole("button", { name: "Enable" }).click();
  await page.getByRole("button", { name: "Disable" }).waitFor();

  await page.getByRole("button", { name: "Rotate" }).click();
  await page.getByText("The secret was changed").waitFor();
  await page.getByText("Still verifies").waitFor();

  await page.getByRole("textbox", { name: "Description", exact: true }).fill("Pushes of all repositories");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("The source was saved.").waitFor();
  const saved = await server.api("GET", `/sources/${id}`);
  assert.equal(saved.description, "Pushes of all repositories");
  assert.equal(saved.event_type, "github.{header.X-GitHub-Event}.{payload.action}");

  await page.goto("/ui/events?type=github.*");
  await page.getByRole("table", { name: "Events" }).getByRole("link").first().waitFor();
  assert.deepEqual(page.faults, []);
});
