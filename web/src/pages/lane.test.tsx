import { MantineProvider } from "@mantine/core";
import { render, screen } from "@testing-library/react";
import { describe, expect, it } from "vitest";
import type { LaneState } from "../data/api";
import { LaneBadges } from "./lane";

function show(breakerUntil: number) {
  const lane = { breaker_until: new Date(breakerUntil).toISOString() } as LaneState;
  render(
    <MantineProvider>
      <LaneBadges lane={lane} />
    </MantineProvider>,
  );
}

describe("a breaker", () => {
  it("is open until its time, and then a probe is due", () => {
    show(Date.now() + 60_000);
    expect(screen.getByText("Breaker open")).toBeInTheDocument();
    expect(screen.queryByText("Probing")).toBeNull();
  });

  it("is not called open once that is past", () => {
    show(Date.now() - 60_000);
    expect(screen.getByText("Probing")).toBeInTheDocument();
    expect(screen.queryByText("Breaker open")).toBeNull();
  });
});
