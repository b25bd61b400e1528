// Every page and what its URL may say. Filters live in the URL as plain text, so that a view can be kept and shared.
import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from "@tanstack/react-router";
import { Failure, NotFound, Root } from "./pages/root";

/** The search parameters named, as text; others are dropped. */
function only<const K extends string>(...names: K[]) {
  return (search: Record<string, unknown>): { [P in K]?: string } => {
    const out: { [P in K]?: string } = {};
    for (const name of names) {
      const value = search[name];
      if (typeof value === "string" && value !== "") out[name] = value;
    }
    return out;
  };
}

const root = createRootRoute({ component: Root, notFoundComponent: NotFound, errorComponent: Failure });

const overview = createRoute({
  getParentRoute: () => root,
  path: "/",
  validateSearch: only("range"),
  component: lazyRouteComponent(() => import("./pages/overview")),
});

const start = createRoute({
  getParentRoute: () => root,
  path: "/ui/start",
  component: lazyRouteComponent(() => import("./pages/start")),
});

const events = createRoute({
  getParentRoute: () => root,
  path: "/ui/events",
  validateSearch: only("q", "type", "status", "subscription", "since", "until"),
  component: lazyRouteComponent(() => import("./pages/events")),
});

const publish = createRoute({
  getParentRoute: () => root,
  path: "/ui/events/publish",
  validateSearch: only("type", "like"),
  component: lazyRouteComponent(() => import("./pages/publish")),
});

const event = createRoute({
  getParentRoute: () => root,
  path: "/ui/events/$id",
  component: lazyRouteComponent(() => import("./pages/event")),
});

const eventTypes = createRoute({
  getParentRoute: () => root,
  path: "/ui/event-types",
  validateSearch: only("q", "deprecated"),
  component: lazyRouteComponent(() => import("./pages/eventtypes")),
});

const newEventType = createRoute({
  getParentRoute: () => root,
  path: "/ui/event-types/new",
  component: lazyRouteComponent(() => import("./pages/neweventtype")),
});

const eventType = createRoute({
  getParentRoute: () => root,
  path: "/ui/event-types/$name",
  component: lazyRouteComponent(() => import("./pages/eventtype")),
});

const deliveries = createRoute({
  getParentRoute: () => root,
  path: "/ui/deliveries",
  validateSearch: only("status", "outcome", "code", "subscription", "event", "type", "since", "until", "replay"),
  component: lazyRouteComponent(() => import("./pages/deliveries")),
});

const delivery = createRoute({
  getParentRoute: () => root,
  path: "/ui/deliveries/$id",
  validateSearch: only("attempt"),
  component: lazyRouteComponent(() => import("./pages/delivery")),
});

const replays = createRoute({
  getParentRoute: () => root,
  path: "/ui/replays",
  validateSearch: only("start", "subscription", "since"),
  component: lazyRouteComponent(() => import("./pages/replays")),
});

const live = createRoute({
  getParentRoute: () => root,
  path: "/ui/live",
  validateSearch: only("type", "status", "subscription"),
  component: lazyRouteComponent(() => import("./pages/live")),
});

const subscriptions = createRoute({
  getParentRoute: () => root,
  path: "/ui/subscriptions",
  validateSearch: only("q", "status"),
  component: lazyRouteComponent(() => import("./pages/subscriptions")),
});

const newSubscription = createRoute({
  getParentRoute: () => root,
  path: "/ui/subscriptions/new",
  component: lazyRouteComponent(() => import("./pages/newsubscription")),
});

const subscription = createRoute({
  getParentRoute: () => root,
  path: "/ui/subscriptions/$id",
  validateSearch: only("tab"),
  component: lazyRouteComponent(() => import("./pages/subscription")),
});

const editSubscription = createRoute({
  getParentRoute: () => root,
  path: "/ui/subscriptions/$id/edit",
  component: lazyRouteComponent(() => import("./pages/editsubscription")),
});

const sources = createRoute({
  getParentRoute: () => root,
  path: "/ui/sources",
  component: lazyRouteComponent(() => import("./pages/sources")),
});

const newSource = createRoute({
  getParentRoute: () => root,
  path: "/ui/sources/new",
  component: lazyRouteComponent(() => import("./pages/newsource")),
});

const source = createRoute({
  getParentRoute: () => root,
  path: "/ui/sources/$id",
  component: lazyRouteComponent(() => import("./pages/source")),
});

const workers = createRoute({
  getParentRoute: () => root,
  path: "/ui/workers",
  validateSearch: only("range"),
  component: lazyRouteComponent(() => import("./pages/workers")),
});

const audit = createRoute({
  getParentRoute: () => root,
  path: "/ui/audit",
  validateSearch: only("action", "object", "key", "since", "until", "entry"),
  component: lazyRouteComponent(() => import("./pages/audit")),
});

const settings = createRoute({
  getParentRoute: () => root,
  path: "/ui/settings",
  validateSearch: only("tab"),
  component: lazyRouteComponent(() => import("./pages/settings")),
});

const tree = root.addChildren([
  overview,
  start,
  events,
  publish,
  event,
  eventTypes,
  newEventType,
  eventType,
  deliveries,
  delivery,
  replays,
  live,
  subscriptions,
  newSubscription,
  subscription,
  editSubscription,
  sources,
  newSource,
  source,
  workers,
  audit,
  settings,
]);

export function makeRouter() {
  return createRouter({
    routeTree: tree,
    defaultPreload: "intent",
    scrollRestoration: true,
    parseSearch: (text) => Object.fromEntries(new URLSearchParams(text)),
    stringifySearch: (search) => {
      const pairs = Object.entries(search).filter(([, v]) => v !== undefined && v !== "");
      const text = new URLSearchParams(pairs.map(([k, v]) => [k, String(v)])).toString();
      return text ? `?${text}` : "";
    },
  });
}

declare module "@tanstack/react-router" {
  interface Register {
    router: ReturnType<typeof makeRouter>;
  }
}
