import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openPage, startBrowser, startReceiver, startServer } from "./harness.mjs";

let server;
let browser;
let receiver;
before(async () => {
  [server, browser, receiver] = await Promise.all([startServer(), startBrowser(), startReceiver(503)]);
});
after(async () => {
  await browser?.close();
  await server?.destroy();
  await receiver?.close();
});

test("a failing delivery is found, understood, retried and seen to succeed, without reloading", async () => {
  await server.subscribe(receiver.url, { description: "Warehouse", retry: { schedule: [0.1] } });
  const { id } = await server.publish("order.shipped", { id: 1 });
  await server.until(`/events/${id}/status`, (s) => s.status === "failed");

  const page = await openPage(browser, server);
  await page.goto("/");
  await page
    .getByRole("table", { name: "Subscriptions in trouble" })
    .getByRole("link", { name: "Warehouse" })
    .waitFor();

  await page.getByRole("navigation").getByRole("link", { name: "Deliveries" }).click();
  await page.getByRole("combobox", { name: "Status" }).click();
  await page.getByRole("option", { name: "Exhausted" }).click();
  await page.waitForURL(/status=exhausted/);
  await page.getByRole("table", { name: "Deliveries" }).getByRole("link", { name: "order.shipped" }).click();

  await page.getByText("Given up after 2 attempts, as many as its retry policy allows.").waitFor();
  await page.getByRole("button", { name: /^Attempt 1: HTTP 503/ }).click();
  await page.waitForURL(/attempt=1/);
  await page.getByRole("region", { name: "Response body" }).getByText("try again later").waitFor();
  await page.getByRole("region", { name: "Request body" }).getByText("{").waitFor();

  receiver.answer = 200;
  await page.getByRole("button", { name: "Retry now" }).click();
  await page.getByText("Delivered: attempt 3 was answered 200 OK.").waitFor();
  await page.getByRole("button", { name: /^Attempt 3: HTTP 200/ }).click();
  await page.getByText("by hand").waitFor();
  assert.equal(await page.getByRole("button", { name: "Retry now" }).count(), 0);
  assert.deepEqual(page.faults, []);
});

test("the command copied as curl reaches the receiver with the same body and a signature", async () => {
  const page = await openPage(browser, server);
  const list = await server.api("GET", "/deliveries?limit=1");
  await page.goto(`/ui/deliveries/${list.data[0].id}`);
  await page.getByRole("button", { name: "Copy as curl" }).click();
  const command = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(command, /^curl -X POST 'http/);
  assert.match(command, /-H 'webhook-signature: v1,/i);
  assert.match(command, /--data-raw '{"id":1}'$/);
});

test("a pending delivery is cancelled", async () => {
  receiver.answer = 500;
  await server.subscribe(receiver.url, { event_types: ["cancel.me"], retry: { schedule: [600] } });
  const { id } = await server.publish("cancel.me");
  const one = (s) => s.data.find((d) => d.event_type === "cancel.me" && d.next_attempt_at && d.attempts === 1);
  const list = await server.until(`/deliveries?event_id=${id}&event_type=cancel.me`, (l) => one(l));
  const page = await openPage(browser, server);
  await page.goto(`/ui/deliveries/${one(list).id}`);
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText("Cancelled on request.").waitFor();
});

test("the live tail shows attempts as they are made", async () => {
  receiver.answer = 200;
  const page = await openPage(browser, server);
  await page.goto("/ui/live");
  await page.getByText("Waiting for something to happen").waitFor();
  await server.publish("live.one");
  const tail = page.getByRole("region", { name: "Live tail" });
  await tail.getByRole("link", { name: "live.one" }).first().waitFor();

  await page.getByRole("button", { name: "Pause" }).click();
  await server.publish("live.two");
  await server.until("/deliveries?event_type=live.two", (l) => l.data[0]?.status === "succeeded");
  assert.equal(await tail.getByRole("link", { name: "live.two" }).count(), 0);
  await page.getByRole("button", { name: "Resume" }).click();
  await tail.getByRole("link", { name: "live.two" }).first().waitFor();

  const events = Array.from({ length: 600 }, (_, i) => ({ type: "live.burst", payload: { i } }));
  await server.api("POST", "/events/batch", { events });
  await server.until("/deliveries?event_type=live.burst&status=pending&limit=1", (l) => l.data.length === 0);
  await page.getByText(/^60\d shown$/).waitFor();
  assert.ok((await tail.getByRole("listitem").count()) < 100, "only the rows in sight are drawn");
  assert.deepEqual(page.faults, []);
});
