import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openPage, startBrowser, startReceiver, startServer } from "./harness.mjs";

let server;
let browser;
let receiver;
before(async () => {
  [server, browser, receiver] = await Promise.all([startServer(), startBrowser(), startReceiver(500)]);
});
after(async () => {
  await browser?.close();
  await server?.destroy();
  await receiver?.close();
});

test("after an outage, what failed since is counted, replayed, and seen to arrive", async () => {
  const made = await server.subscribe(receiver.url, { description: "Warehouse", retry: { schedule: [] } });
  const events = Array.from({ length: 12 }, (_, i) => ({ type: "order.created", payload: { i } }));
  await server.api("POST", "/events/batch", { events });
  await server.until("/deliveries?status=exhausted", (l) => l.data.length === 12);
  receiver.answer = 200;

  const page = await openPage(browser, server);
  await page.goto(`/ui/subscriptions/${made.id}`);
  await page.getByRole("button", { name: "More actions" }).click();
  await page.getByRole("menuitem", { name: "Replay what failed since…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("12 deliveries").first().waitFor();
  await dialog.getByRole("textbox", { name: "Type" }).fill("nothing.like.it");
  await dialog.getByText("Nothing to replay.").waitFor();
  await dialog.getByRole("textbox", { name: "Type" }).fill("order.*");
  await dialog.getByRole("button", { name: "Replay 12 deliveries" }).click();
  await dialog.waitFor({ state: "detached" });

  const list = page.getByRole("table", { name: "Replays" });
  await list.getByText("Completed").waitFor();
  await list.getByText("12 made").waitFor();
  await list.getByRole("link", { name: "Deliveries" }).click();
  await page.waitForURL(/replay=rpl_/);
  await page.getByRole("table", { name: "Deliveries" }).getByText("Succeeded").nth(11).waitFor();
  assert.deepEqual(page.faults, []);
});

test("a slow replay shows how far it is, and is cancelled", async () => {
  const filter = { status: ["succeeded", "exhausted"] };
  await server.api("POST", "/replays", { filter, rate_limit: { limit: 6, per: "minute" } });
  const page = await openPage(browser, server);
  await page.goto("/ui/replays");
  await page.getByText("1 replay under way.").waitFor();
  await page.getByRole("progressbar").waitFor();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByRole("table", { name: "Replays" }).getByText("Cancelled").waitFor();
  assert.equal(await page.getByRole("button", { name: "Cancel" }).count(), 0);
  assert.deepEqual(page.faults, []);
});
