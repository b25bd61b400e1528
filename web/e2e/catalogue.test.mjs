import assert from "node:assert/strict";
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

test("an event type is described, tried, enforced, and its example offered to publish", async () => {
  const page = await openPage(browser, server);
  await page.goto("/ui/event-types");
  await page.getByText("The catalogue is empty").waitFor();
  await page.getByRole("link", { name: "Create", exact: true }).click();
  await page.getByRole("textbox", { name: "Name", exact: true }).fill("order.created");
  await page.getByRole("textbox", { name: "Description", exact: true }).fill("An order was placed.");
  const schema = { type: "object", required: ["id"], properties: { id: { type: "integer" } } };
  await page.getByRole("textbox", { name: "Schema" }).fill("not json");
  await page.getByRole("textbox", { name: "Example" }).fill('{"id": 7}');
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByText("This is not JSON yet").waitFor();
  await page.getByRole("textbox", { name: "Schema" }).fill(JSON.stringify(schema));
  await page.getByRole("switch", { name: "Enforce the schema" }).check();
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByRole("heading", { name: "Try a payload" }).waitFor();
  const saved = await server.api("GET", "/event-types/order.created");
  assert.deepEqual(saved.schema, schema);
  assert.equal(saved.enforce, true);

  await page.getByRole("textbox", { name: "Payload" }).fill('{"id": "seven"}');
  await page.getByRole("button", { name: "Try it" }).click();
  await page.getByText("It breaks the schema").waitFor();
  await page.getByText("A publish would be refused.").waitFor();

  await page.getByRole("link", { name: "Publish one" }).click();
  await page.getByRole("textbox", { name: "Payload" }).filter({ hasText: '"id": 7' }).waitFor();
  await page.getByRole("button", { name: "Show the schema" }).click();
  await page.getByRole("region", { name: "Schema" }).getByText("integer").waitFor();
  await page.getByRole("textbox", { name: "Payload" }).fill('{"id": "seven"}');
  await page.getByText("The payload breaks the schema, and would be refused").waitFor();
  await page.getByRole("button", { name: "Publish", exact: true }).click();
  await page.getByRole("alert").first().waitFor();
  await page.getByRole("textbox", { name: "Payload" }).fill('{"id": 8}');
  await page.getByRole("button", { name: "Publish", exact: true }).click();
  await page.getByText("the event is kept all the same").waitFor();
  assert.deepEqual(page.faults, []);
});

test("a change stands in the audit log, with what it was before", async () => {
  const made = await server.subscribe(`${server.url}/play/one`, { description: "Before" });
  await server.api("PATCH", `/subscriptions/${made.id}`, { description: "After" });
  const page = await openPage(browser, server);
  await page.goto(`/ui/audit?object=${made.id}`);
  await page.getByRole("link", { name: "subscription.update" }).click();
  const changed = page.getByRole("dialog").getByRole("table", { name: "What changed" });
  await changed.getByText("Before", { exact: true }).last().waitFor();
  await changed.getByText("After", { exact: true }).last().waitFor();
  await page.reload();
  await page.getByRole("dialog").getByRole("table", { name: "What changed" }).waitFor();
  assert.deepEqual(page.faults, []);
});

test("the configuration is shown to an administrator with its secrets masked", async () => {
  const page = await openPage(browser, server);
  await page.goto("/ui/settings?tab=configuration");
  const variables = page.getByRole("table", { name: "Variables" });
  await variables.getByText("POSTHORN_API_KEY").waitFor();
  await variables.getByText("[set, not shown]").first().waitFor();
  assert.equal(await variables.getByText("phk_").count(), 0);
  await page.getByRole("switch", { name: "Only what differs from the default" }).check();
  await variables.getByText("POSTHORN_HOLD").waitFor({ state: "detached" });
  assert.deepEqual(page.faults, []);
});
