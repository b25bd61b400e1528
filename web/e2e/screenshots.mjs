// Takes the pictures of docs/images: each page in both themes, of a real server with real deliveries. Names as arguments
// take those pages alone.
import { mkdir, stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { openPage, startBrowser, startReceiver, startServer } from "./harness.mjs";
import { fill, settle, trouble } from "./pages.mjs";

const folder = fileURLToPath(new URL("../../docs/images/", import.meta.url));
const asked = process.argv.slice(2);
const shown = [
  "overview",
  "events",
  "event",
  "publish",
  "deliveries",
  "delivery",
  "replays",
  "live",
  "eventtypes",
  "eventtype",
  "subscriptions",
  "subscription",
  "verify",
  "create",
  "edit",
  "sources",
  "source",
  "workers",
  "audit",
  "keys",
  "tenants",
  "health",
  "configuration",
  "start",
];

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const types = ["order.created", "order.paid", "order.shipped", "invoice.paid", "invoice.sent"];

/** Goes on publishing, so that the charts have more than a moment to show and the live tail something to follow. */
function traffic(server) {
  let n = 0;
  const timer = setInterval(() => {
    const events = Array.from({ length: 1 + (n % 4) }, () => ({
      type: types[n++ % types.length],
      payload: { id: 5000 + n },
    }));
    server.api("POST", "/events/batch", { events }).catch(() => undefined);
  }, 350);
  return () => clearInterval(timer);
}

await mkdir(folder, { recursive: true });
const [server, browser] = await Promise.all([startServer(), startBrowser()]);
const slowly = (_, request) => (request.socket.bytesRead % 29 === 0 ? 500 : 200);
const receivers = {
  good: await startReceiver(slowly),
  bad: await startReceiver(trouble),
  slow: await startReceiver(200),
};
try {
  const pages = await fill(server, receivers);
  const stop = traffic(server);
  await sleep(Number(process.env.SCREENSHOT_TRAFFIC_MS ?? 150_000));
  for (const scheme of ["light", "dark"]) {
    const page = await openPage(browser, server, { scheme, width: 1280, height: 800 });
    const shoot = async (name) => {
      const path = `${folder}${name}-${scheme}.png`;
      await page.screenshot({ path });
      console.log(`${name}-${scheme}.png ${Math.round((await stat(path)).size / 1024)} KiB`);
    };
    for (const name of shown.filter((page) => asked.length === 0 || asked.includes(page))) {
      await page.goto(pages[name]);
      await (name === "live" ? sleep(6000) : settle(page));
      await shoot(name);
    }
    if (asked.length > 0) continue;
    const outside = await openPage(browser, server, { scheme, signedIn: false, width: 1280, height: 800 });
    await outside.goto("/");
    await settle(outside);
    await outside.screenshot({ path: `${folder}signin-${scheme}.png` });
    const phone = await openPage(browser, server, { scheme, width: 390, height: 844 });
    await phone.goto(pages.delivery);
    await settle(phone);
    await phone.screenshot({ path: `${folder}phone-${scheme}.png` });
  }
  stop();
} finally {
  await browser.close();
  await server.destroy();
  for (const receiver of Object.values(receivers)) await receiver.close();
}
