import { MantineProvider } from "@mantine/core";
import { ModalsProvider } from "@mantine/modals";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { render, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import type { ReactNode } from "react";
import { describe, expect, it, vi } from "vitest";
import { backlogIn, type QueueView } from "../data/queue";
import { type SettingsView, settings } from "../data/settings";
import type { Subscription } from "../data/subscriptions";
import { BacklogFigures } from "./backlog";
import { Held } from "./held";
import { backlogOf } from "./lane";
import { SubscriptionActions } from "./subscriptionactions";

vi.mock("@tanstack/react-router", async (original) => ({
  ...(await original<typeof import("@tanstack/react-router")>()),
  useNavigate: () => () => undefined,
}));
vi.mock("../components/link", () => ({ ButtonLink: () => null }));

function show(what: ReactNode) {
  const client = new QueryClient({ defaultOptions: { queries: { staleTime: Number.POSITIVE_INFINITY } } });
  client.setQueryData(settings().queryKey, { hold_seconds: 2_592_000 } as SettingsView);
  return render(
    <MantineProvider>
      <QueryClientProvider client={client}>
        <ModalsProvider>{what}</ModalsProvider>
      </QueryClientProvider>
    </MantineProvider>,
  );
}

const paused = {
  id: "sub_1",
  status: "paused",
  lane: { held_since: "2026-01-31T09:30:00Z", backlog: 12, capped: false },
} as Subscription;

describe("a backlog", () => {
  const lanes = (n: number) =>
    ({ lanes: Array.from({ length: n }, (_, i) => ({ subscription_id: `s${i}`, backlog: i })) }) as QueueView;

  it("is a figure only where it is known", () => {
    expect(backlogOf(backlogIn(lanes(50), "s7"))).toBe("7");
    expect(backlogOf(backlogIn(lanes(50), "other"))).toBe("–");
    expect(backlogOf(backlogIn(undefined, "other"))).toBe("–");
    expect(backlogOf(backlogIn(lanes(3), "other"))).toBe("0");
    expect(backlogOf({ backlog: 9000, capped: true })).toBe("9,000+");
  });

  it("is counted, and is late once the oldest has waited a minute past its time", () => {
    const of = (oldest: number) =>
      ({ pending: 9000, capped: true, due: 12, held: 3, oldest_due_seconds: oldest }) as QueueView;
    const { unmount } = show(<BacklogFigures backlog={of(0.4)} />);
    for (const text of ["9,000+", "12 due now, 3 held", "none"]) expect(screen.getByText(text)).toBeInTheDocument();
    unmount();
    show(<BacklogFigures backlog={of(61)} />);
    expect(screen.getByText("1 m 1 s").style.color).toBe("var(--ph-warn)");
  });

  it("is named where it is held, with the end of that", () => {
    show(<Held subscription={paused} />);
    expect(screen.getByRole("alert")).toHaveTextContent(/12 at present, and are sent when it is resumed/);
    expect(screen.getByRole("alert")).toHaveTextContent(/held for 30 d is cancelled, from/);
    expect(screen.getAllByRole("time")[1]).toHaveAttribute("datetime", "2026-03-02T09:30:00.000Z");
  });

  it("is left behind on request, once that is confirmed", async () => {
    const answer = () => Promise.resolve(new Response("{}", { headers: { "Content-Type": "application/json" } }));
    const sent = vi.spyOn(globalThis, "fetch").mockImplementation(answer);
    const user = userEvent.setup();
    show(<SubscriptionActions subscription={paused} />);
    await user.click(screen.getByLabelText("More actions"));
    await user.click(await screen.findByText("Resume without the backlog (12)…"));
    const dialog = await screen.findByRole("dialog");
    expect(dialog).toHaveTextContent("12 at present");
    expect(sent).not.toHaveBeenCalled();
    await user.click(within(dialog).getByText("Resume without it"));
    const request = sent.mock.calls[0]?.[0] as Request;
    expect(new URL(request.url).pathname).toBe("/subscriptions/sub_1/resume");
    expect(await request.json()).toEqual({ backlog: "skip" });
  });
});
