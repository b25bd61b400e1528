import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { key, openPage, startBrowser, startReceiver, startServer } from "./harness.mjs";

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([startServer(), startBrowser()]);
});
after(async () => {
  await browser?.close();
  await server?.destroy();
});

async function signIn(page, text) {
  await page.getByLabel("API key", { exact: true }).fill(text);
  await page.getByRole("button", { name: "Sign in" }).click();
}

test("a wrong key is refused in words; a right one opens the page that was asked for; signing out forgets it", async () => {
  const page = await openPage(browser, server, { signedIn: false });
  await page.goto("/ui/events?type=order.*");
  await signIn(page, "phk_wrong0123456789012345678901234567890123");
  await page.getByText("This key is unknown, expired or revoked").waitFor();
  await signIn(page, key);
  await page.getByRole("heading", { name: "Events", exact: true }).waitFor();
  assert.match(page.url(), /type=order\.\*/);

  // While the store is away nobody is signed out.
  const unavailable = { status: 503, json: { title: "Temporarily unavailable", status: 503 } };
  let away = true;
  await page.route("**/session", (route) => (away ? route.fulfill(unavailable) : route.continue()));
  await page.reload();
  await page.getByText("This page tries again by itself").waitFor();
  assert.equal(await page.getByRole("button", { name: "Sign in" }).count(), 0);
  away = false;
  await page.getByRole("heading", { name: "Events", exact: true }).waitFor();
  await page.getByRole("button", { name: "Account" }).click();
  await page.getByRole("menuitem", { name: "Sign out" }).click();
  await page.getByRole("button", { name: "Sign in" }).waitFor();
  await page.reload();
  await page.getByRole("button", { name: "Sign in" }).waitFor();
  assert.equal(
    await page
      .evaluate(() => JSON.stringify(sessionStorage) + JSON.stringify(localStorage) + document.cookie)
      .then((s) => s.includes("phk_")),
    false,
  );
  assert.deepEqual(page.faults, []);
});

test("a key that may only publish is told what it lacks", async () => {
  const made = await server.api("POST", "/keys", { name: "publisher", scopes: ["publish"] });
  const page = await openPage(browser, server, { signedIn: false });
  await page.goto("/");
  await signIn(page, made.key);
  await page.getByText("Sign in with a key whose scope allows this").waitFor();
});

test("an expired key ends the session by itself, with the reason", async () => {
  const page = await openPage(browser, server, { signedIn: false });
  await page.goto("/");
  await page.getByRole("button", { name: "Sign in" }).waitFor();
  // The key must outlive the signing in, also on a busy machine.
  const expires_at = new Date(Date.now() + 8000).toISOString();
  const made = await server.api("POST", "/keys", { name: "short", scopes: ["read"], expires_at });
  await signIn(page, made.key);
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await page.getByText("its key expired or was revoked").waitFor({ timeout: 60_000 });
  await signIn(page, key);
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  assert.deepEqual(page.faults, []);
});

test("what was typed survives the end of a session, for whoever signs in with as much right", async () => {
  const made = await server.api("POST", "/keys", { name: "revoked while typing", scopes: ["read", "manage"] });
  const page = await openPage(browser, server, { signedIn: false });
  await page.goto("/ui/subscriptions/new");
  await signIn(page, made.key);
  await page.getByRole("textbox", { name: "URL", exact: true }).fill(`${server.url}/play/typed`);
  await page.getByRole("textbox", { name: "Description", exact: true }).fill("Typed before");
  await server.api("DELETE", `/keys/${made.id}`);
  await page.getByRole("button", { name: "Create", exact: true }).click();
  await page.getByText("its key expired or was revoked").waitFor();
  assert.equal(await page.getByRole("textbox", { name: "URL", exact: true }).count(), 0);
  await signIn(page, key);
  await page.getByRole("button", { name: "Create", exact: true }).click();
  await page.getByRole("heading", { name: "Subscription created" }).waitFor();
  const { data } = await server.api("GET", "/subscriptions");
  assert.ok(data.some((s) => s.description === "Typed before"));

  await page.getByRole("button", { name: "Account" }).click();
  await page.getByRole("menuitem", { name: "Sign out" }).click();
  await page.getByRole("button", { name: "Sign in" }).waitFor();
  assert.equal(await page.getByText("Subscription created").count(), 0);
  assert.deepEqual(page.faults, []);
});

test("keys are created, shown once, and revoked", async () => {
  const page = await openPage(browser, server);
  await page.goto("/ui/settings");
  await page.getByRole("button", { name: "Create a key" }).click();
  await page.getByRole("textbox", { name: "Name", exact: true }).fill("billing service");
  await page.getByRole("dialog").getByRole("button", { name: "Create" }).click();
  const text = await page.getByRole("dialog").getByText(/^phk_/).innerText();
  await server.api("POST", "/events", { type: "a.b", payload: 1 }, text);
  await page.getByRole("button", { name: "Done" }).click();
  await page.getByRole("button", { name: "Revoke billing service" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await page.getByRole("button", { name: "Revoke billing service" }).waitFor({ state: "detached" });
  await assert.rejects(server.api("POST", "/events", { type: "a.b", payload: 1 }, text), /401/);
});

test("the server goes away and comes back: the page says so, recovers, and shows what happened meanwhile", async () => {
  const receiver = await startReceiver();
  await server.subscribe(receiver.url);
  const page = await openPage(browser, server);
  await page.goto("/ui/events");
  await page.getByText("Live", { exact: true }).waitFor();
  await server.stop("SIGKILL");
  await page.getByText("Posthorn cannot be reached").waitFor();
  await page.getByText("Reconnecting").waitFor();
  await page.getByRole("button", { name: "Try now" }).click();
  await page.getByText("Reconnecting").waitFor();
  await server.start();
  await server.publish("while.away");
  await page.getByText("Posthorn cannot be reached").waitFor({ state: "detached" });
  await page.getByRole("link", { name: "while.away" }).waitFor();
  await page.getByText("Live", { exact: true }).waitFor();

  await server.publish("after.return");
  await page.getByRole("link", { name: "after.return" }).waitFor();
  await receiver.close();
});
