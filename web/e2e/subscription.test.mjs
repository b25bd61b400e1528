import assert from "node:assert/strict";
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

test("a subscription is created, edited, tested, paused, resumed, rotated and deleted", async () => {
  const page = await openPage(browser, server);
  await page.goto("/ui/subscriptions");
  await page.getByRole("link", { name: "Create", exact: true }).click();

  await page.getByRole("textbox", { name: "URL", exact: true }).fill("not a url");
  await page.getByText("An absolute URL like https://example.com/webhooks").waitFor();
  await page.getByRole("textbox", { name: "URL", exact: true }).fill(receiver.url);
  await page.getByRole("textbox", { name: "Description", exact: true }).fill("Billing");
  await page.getByRole("combobox", { name: "Event types" }).pressSequentially("order.*,invoice.paid,");
  await page.getByRole("button", { name: "Headers and metadata" }).click();
  await page.getByRole("button", { name: "Add" }).first().click();
  await page.getByLabel("Headers: name 1").fill("X-Team");
  await page.getByLabel("Headers: value 1").fill("blue-42");
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByRole("heading", { name: "Subscription created" }).waitFor();
  const secret = await page.getByText(/^whsec_/).innerText();
  await page.getByRole("link", { name: "Open the subscription" }).click();

  await page.getByRole("heading", { name: "Billing" }).waitFor();
  await page.getByRole("link", { name: "Edit" }).click();
  await page.getByRole("textbox", { name: "Description", exact: true }).fill("Billing at Example");
  await page.getByRole("button", { name: "Retries and timeout" }).click();
  await page.getByText("Schedule", { exact: true }).click();
  await page.getByLabel("Delays in seconds").fill("1, 2, 3");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { name: "Billing at Example" }).waitFor();
  const id = page.url().split("/").at(-1).split("?")[0];
  const saved = await server.api("GET", `/subscriptions/${id}`);
  assert.deepEqual(saved.retry, { schedule: [1, 2, 3] });
  assert.deepEqual(saved.event_types, ["invoice.paid", "order.*"]);

  await page.getByRole("tab", { name: "Test" }).click();
  await page.getByRole("button", { name: "Send a test" }).click();
  await page.getByRole("heading", { name: "Response" }).waitFor();
  const got = receiver.requests.at(-1);
  assert.equal(got.headers["webhook-event-type"], "posthorn.test");
  assert.equal(got.headers["x-team"], "blue-42", "the edit left the masked header as it was");

  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByText("Its deliveries are held").waitFor();
  await server.publish("order.created");
  await page.getByRole("button", { name: "Resume" }).click();
  await page.getByRole("button", { name: "Pause" }).waitFor();
  await server.until("/deliveries?event_type=order.created", (l) => l.data[0].status === "succeeded");

  await page.getByRole("tab", { name: "Secret and verification" }).click();
  await page.getByRole("button", { name: "Reveal" }).click();
  await page.getByText(secret, { exact: true }).waitFor();
  await page.getByRole("button", { name: "Rotate" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Rotate" }).click();
  await page.getByText("Previous, still signing").waitFor();
  const rotated = await page
    .getByText(/^whsec_/)
    .first()
    .innerText();
  assert.notEqual(rotated, secret);
  await page.getByText(secret, { exact: true }).waitFor();
  await server.publish("order.created");
  await server.until("/deliveries?event_type=order.created", (l) => l.data.every((d) => d.status === "succeeded"));
  assert.equal(receiver.requests.at(-1).headers["webhook-signature"].split(" ").length, 2, "both secrets sign");

  await page.getByRole("button", { name: "More actions" }).click();
  await page.getByRole("menuitem", { name: "Delete…" }).click();
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await page.getByText("No subscriptions yet").waitFor();
  assert.deepEqual(page.faults, []);
});

test("what the API refuses stands at its field, and nothing typed is lost", async () => {
  const page = await openPage(browser, server);
  await page.goto("/ui/subscriptions/new");
  await page.getByRole("textbox", { name: "URL", exact: true }).fill("https://user:password@example.com/hook");
  await page.getByRole("textbox", { name: "Description", exact: true }).fill("Kept");
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByRole("alert").first().waitFor();
  assert.equal(await page.getByRole("textbox", { name: "Description", exact: true }).inputValue(), "Kept");
  assert.equal(await page.getByRole("textbox", { name: "URL", exact: true }).getAttribute("aria-invalid"), "true");
});

test("a paused subscription says what it holds, and is resumed without it", async () => {
  const { id } = await server.subscribe(receiver.url, { description: "On holiday", event_types: ["holiday.*"] });
  const page = await openPage(browser, server);
  await page.goto(`/ui/subscriptions/${id}`);
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByText("Its deliveries are held").waitFor();
  await server.publish("holiday.over");
  await page.getByText("1 at present").waitFor();
  await page.getByText("What was held for 30 d is cancelled").waitFor();
  await page.getByRole("button", { name: "More actions" }).click();
  await page.getByRole("menuitem", { name: "Resume without the backlog (1)…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Resume without it" }).click();
  await page.getByRole("button", { name: "Pause" }).waitFor();
  await server.until("/deliveries?event_type=holiday.over", (l) => l.data[0].status === "cancelled");
  await server.api("DELETE", `/subscriptions/${id}`);
  assert.deepEqual(page.faults, []);
});

test("an event says who did not get it, and a replay reaches them", async () => {
  await server.subscribe(receiver.url, { description: "Invoices only", event_types: ["invoice.*"] });
  const { id } = await server.publish("parcel.sent", { weight: 3 });
  await server.subscribe(receiver.url, {
    description: "Heavy only",
    event_types: ["parcel.*"],
    filter: "payload.weight > 10",
  });
  const late = await server.subscribe(receiver.url, { description: "Came late", event_types: ["parcel.*"] });
  const page = await openPage(browser, server);
  await page.goto(`/ui/events/${id}`);
  await page.getByText("wants only invoice.*").waitFor();
  await page.getByText("was created after the event").waitFor();
  await page.getByText("has a filter that it does not fulfil: payload.weight > 10").waitFor();
  await page.getByRole("button", { name: "Replay" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Replay" }).click();
  await page.getByText("1 new delivery on the way.").waitFor();
  await page.getByText("Delivered: attempt 1 was answered 200 OK.").waitFor();
  assert.equal((await server.api("GET", `/deliveries?event_id=${id}`)).data[0].subscription_id, late.id);
  assert.deepEqual(page.faults, []);
});
