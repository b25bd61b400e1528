// Every page of the dashboard, with something on it: for the accessibility tests and the screenshots.

const catalogue = [
  [
    "order.created",
    "A customer placed an order.",
    {
      schema: {
        type: "object",
        required: ["id", "total"],
        properties: { id: { type: "integer" }, total: { type: "string" }, currency: { type: "string" } },
      },
      example: { id: 1000, total: "59.90", currency: "EUR" },
      enforce: true,
    },
  ],
  ["order.paid", "The order was paid in full.", {}],
  ["invoice.paid", "An invoice was paid.", { schema: { type: "object" } }],
  ["customer.created", "Somebody signed up; use customer.registered.", { deprecated: true }],
];

/** Fills a server with subscriptions and deliveries of every kind. Gives the pages' paths by name. */
export async function fill(server, { good, bad, slow }) {
  const shop = await server.subscribe(good.url, {
    description: "Shop back office",
    event_types: ["order.*", "invoice.*"],
    metadata: { team: "shop" },
  });
  await server.subscribe(bad.url, {
    description: "Warehouse",
    event_types: ["order.*"],
    retry: { schedule: [0.2, 0.3, 900] },
  });
  const ledger = await server.subscribe(bad.url, {
    description: "Ledger",
    event_types: ["ledger.*"],
    retry: { schedule: [0.3, 1.5, 900] },
  });
  const crm = await server.subscribe(slow.url, {
    description: "Customer relations",
    event_types: ["customer.*"],
    rate_limit: { limit: 10, per: "second" },
  });
  const gone = await server.subscribe(bad.url, {
    description: "Old integration",
    event_types: ["gone.*"],
    retry: { schedule: [] },
  });
  for (const [name, description, rest] of catalogue) {
    await server.api("PUT", `/event-types/${name}`, { description, ...rest });
  }
  const source = await server.api("POST", "/sources", { name: "Our repositories", provider: "github" });
  await server.api("POST", "/sources", { name: "Payments", provider: "stripe" });
  const types = ["order.created", "order.paid", "order.shipped", "invoice.paid", "customer.created"];
  for (let i = 0; i < 40; i++) {
    await server.publish(types[i % types.length], {
      id: 1000 + i,
      total: "59.90",
      currency: "EUR",
      lines: [{ sku: "A-1", n: 2 }],
    });
  }
  await server.publish("gone.away", { id: 1 });
  const event = await server.publish("order.created", {
    id: 2041,
    total: "129.00",
    customer: { name: "Zoë", vip: true },
    notes: null,
  });
  await server.until("/deliveries?status=exhausted", (l) => l.data.length >= 1);
  await server.publish("ledger.closed", { month: "2026-01", balance: "10450.10" });
  const failing = await server.until(`/deliveries?subscription_id=${ledger.id}`, (l) => l.data[0]?.attempts === 3);
  await server.api("POST", `/subscriptions/${crm.id}/pause`);
  await server.publish("customer.created", { id: 9 });
  await server.until(`/deliveries?subscription_id=${gone.id}&status=exhausted`, (l) => l.data.length === 1);
  await server.api("POST", "/replays", { filter: { status: ["succeeded"], subscription_id: shop.id } });
  await server.until("/replays", (l) => l.data[0].status === "completed");
  return {
    overview: "/",
    start: "/ui/start",
    events: "/ui/events",
    publish: "/ui/events/publish?type=order.created",
    event: `/ui/events/${event.id}`,
    deliveries: "/ui/deliveries",
    delivery: `/ui/deliveries/${failing.data[0].id}`,
    replays: "/ui/replays",
    newreplay: "/ui/replays?start=failed&since=1h",
    live: "/ui/live",
    eventtypes: "/ui/event-types",
    eventtype: "/ui/event-types/order.created",
    newtype: "/ui/event-types/new",
    subscriptions: "/ui/subscriptions",
    subscription: `/ui/subscriptions/${shop.id}`,
    test: `/ui/subscriptions/${shop.id}?tab=test`,
    verify: `/ui/subscriptions/${shop.id}?tab=verify`,
    details: `/ui/subscriptions/${shop.id}?tab=settings`,
    edit: `/ui/subscriptions/${shop.id}/edit`,
    create: "/ui/subscriptions/new",
    sources: "/ui/sources",
    source: `/ui/sources/${source.id}`,
    newsource: "/ui/sources/new",
    workers: "/ui/workers",
    keys: "/ui/settings",
    tenants: "/ui/settings?tab=tenants",
    health: "/ui/settings?tab=health",
    configuration: "/ui/settings?tab=configuration",
    audit: "/ui/audit",
    missing: "/ui/nowhere",
  };
}

/** Answers as a warehouse in trouble: mostly with 503. */
export function trouble(request) {
  return request.headers["webhook-event-type"] === "gone.away"
    ? 404
    : { status: 503, text: '{"error":"database is read-only"}' };
}

/** Waits until a page has drawn what it has: a heading, nothing loading or moving, and nothing more arriving for a moment. */
export async function settle(page) {
  await page.locator("h1").first().waitFor();
  await page.waitForFunction(() => !document.querySelector("[aria-label=Loading], .mantine-Skeleton-root"));
  await page.evaluate(async () => {
    await document.fonts.ready;
    let last = document.body.innerHTML.length;
    for (let quiet = 0; quiet < 3; ) {
      await new Promise((resolve) => setTimeout(resolve, 60));
      const now = document.body.innerHTML.length;
      const moving = document
        .getAnimations()
        .some((a) => a.playState === "running" && a.effect?.getTiming().iterations !== Infinity);
      quiet = now === last && !moving ? quiet + 1 : 0;
      last = now;
    }
  });
}
