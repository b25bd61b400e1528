import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openPage, startBrowser, startReceiver, startServer } from "./harness.mjs";

let server;
let browser;
let receiver;
before(async () => {
  [server, browser, receiver] = await Promise.all([startServer(), startBrowser(), startReceiver(500)]);
  await server.subscribe(receiver.url, { event_types: ["order.*"], retry: { schedule: [] } });
  for (let i = 0; i < 7; i++) await server.publish(i < 5 ? "order.created" : "order.paid", { i });
  await server.until("/deliveries?status=exhausted", (l) => l.data.length === 7);
});
after(async () => {
  await browser?.close();
  await server?.destroy();
  await receiver?.close();
});

test("filters are kept in the URL over a reload and the back button", async () => {
  const page = await openPage(browser, server);
  await page.goto("/ui/deliveries");
  const rows = page.getByRole("table", { name: "Deliveries" }).getByRole("link");
  await rows.nth(6).waitFor();
  await page.getByRole("textbox", { name: "Type" }).fill("order.paid");
  await page.waitForURL(/type=order\.paid/);
  await page.getByRole("combobox", { name: "Status" }).click();
  await page.getByRole("option", { name: "Exhausted" }).click();
  await page.getByText("1 h", { exact: true }).click();
  await page.waitForURL(/since=1h/);
  await page.waitForFunction(() => document.querySelectorAll("[role=table] a").length === 2);

  await page.reload();
  await rows.nth(1).waitFor();
  assert.equal(await rows.count(), 2);
  assert.equal(await page.getByRole("textbox", { name: "Type" }).inputValue(), "order.paid");
  assert.equal(await page.getByRole("combobox", { name: "Status" }).inputValue(), "Exhausted");

  await rows.first().click();
  await page.getByRole("heading", { name: "Request" }).waitFor();
  await page.goBack();
  await rows.nth(1).waitFor();
  assert.equal(await page.getByRole("textbox", { name: "Type" }).inputValue(), "order.paid");
  assert.match(page.url(), /status=exhausted/);
  assert.deepEqual(page.faults, []);
});

test("rows are walked with the keyboard", async () => {
  const page = await openPage(browser, server);
  await page.goto("/ui/deliveries");
  const links = page.getByRole("table", { name: "Deliveries" }).getByRole("link");
  await links.nth(6).waitFor();
  const third = await links.nth(2).getAttribute("href");
  for (const key of ["j", "j", "j", "j", "k", "Enter"]) await page.keyboard.press(key);
  await page.getByRole("heading", { name: "Request" }).waitFor();
  assert.equal(new URL(page.url()).pathname, third);
});

test("the palette opens with /, finds an id, and ? shows the keys", async () => {
  const page = await openPage(browser, server);
  await page.goto("/");
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await page.keyboard.press("?");
  await page.getByRole("dialog").getByText("Show these keys").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.keyboard.press("/");
  const { id } = (await server.api("GET", "/deliveries?limit=1")).data[0];
  await page.getByPlaceholder("A page, a command").fill(id);
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.waitForURL(`**/ui/deliveries/${id}`);
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.keyboard.press("g");
  await page.keyboard.press("s");
  await page.waitForURL("**/ui/subscriptions");
});

test("selected deliveries, then all that a filter finds, are retried with a count and a confirmation", async () => {
  const page = await openPage(browser, server);
  await page.goto("/ui/deliveries?status=exhausted");
  await page
    .getByRole("checkbox", { name: /^Select order.paid/ })
    .first()
    .check();
  await page
    .getByRole("checkbox", { name: /^Select order.paid/ })
    .last()
    .check();
  receiver.answer = 200;
  await page.getByRole("button", { name: "Retry selected" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Retry 2 deliveries" }).click();
  await server.until("/deliveries?status=succeeded", (l) => l.data.length === 2);

  await page.getByRole("button", { name: "Retry all" }).click();
  await page.getByRole("dialog").getByText("5 deliveries").first().waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Retry 5 deliveries" }).click();
  await server.until("/deliveries?status=succeeded", (l) => l.data.length === 7);
  await page.getByText("No delivery matches").waitFor();
  assert.deepEqual(page.faults, []);
});

test("pending deliveries are cancelled together", async () => {
  receiver.answer = 500;
  await server.subscribe(receiver.url, { event_types: ["slow.*"], retry: { schedule: [900] } });
  for (let i = 0; i < 3; i++) await server.publish("slow.one", { i });
  await server.until("/deliveries?event_type=slow.*", (l) => l.data.filter((d) => d.attempts === 1).length === 3);
  const page = await openPage(browser, server);
  await page.goto("/ui/deliveries?type=slow.*&status=pending");
  await page.getByRole("button", { name: "Cancel all" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel 3 deliveries" }).click();
  await server.until("/deliveries?status=cancelled", (l) => l.data.length === 3);
});
