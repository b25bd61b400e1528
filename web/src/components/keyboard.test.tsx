import { MantineProvider } from "@mantine/core";
import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, it, vi } from "vitest";
import { useKeyboard } from "./keyboard";
import { type Column, Rows } from "./rows";

vi.mock("@tanstack/react-router", async (original) => ({
  ...(await original<typeof import("@tanstack/react-router")>()),
  useNavigate: () => () => undefined,
}));

const columns: Column<{ id: string }>[] = [
  { title: "Id", width: "1fr", cell: (r) => <a href={`/${r.id}`}>{r.id}</a> },
  { title: "Events", width: "1fr", cell: (r) => <a href={`/${r.id}/events`}>events of {r.id}</a> },
];

function Listing() {
  useKeyboard();
  return (
    <>
      <Rows label="Things" columns={columns} rows={[{ id: "a" }, { id: "b" }, { id: "c" }]} keyOf={(r) => r.id} />
      <Rows label="Others" columns={columns} rows={[{ id: "x" }]} keyOf={(r) => r.id} />
    </>
  );
}

const shown = () => {
  render(
    <MantineProvider>
      <Listing />
    </MantineProvider>,
  );
  return userEvent.setup();
};

describe("j and k", () => {
  it("go from row to row, and not from link to link", async () => {
    const user = shown();
    await user.keyboard("j");
    expect(screen.getByText("a")).toHaveFocus();
    await user.keyboard("j");
    expect(screen.getByText("b")).toHaveFocus();
    screen.getByText("events of b").focus();
    await user.keyboard("k");
    expect(screen.getByText("a")).toHaveFocus();
  });

  it("stay at the ends of a list", async () => {
    const user = shown();
    await user.keyboard("jk");
    expect(screen.getByText("a")).toHaveFocus();
    await user.keyboard("jjjj");
    expect(screen.getByText("c")).toHaveFocus();
    screen.getByText("x").focus();
    await user.keyboard("j");
    expect(screen.getByText("x")).toHaveFocus();
  });
});
