import { MantineProvider } from "@mantine/core";
import { act, render, screen } from "@testing-library/react";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { Problem } from "../data/problem";
import { become } from "../data/session";
import { Root } from "./root";

vi.mock("../components/shell", () => ({ Shell: () => "the shell" }));

beforeEach(() => {
  become({ who: null, asking: true });
  render(
    <MantineProvider>
      <Root />
    </MantineProvider>,
  );
});

const problem = (status: number) => new Problem({ status, title: "Temporarily unavailable", detail: "no store" });
const signIn = () => screen.queryByRole("button", { name: "Sign in" });

describe("a page that starts", () => {
  it("says what it waits for, and asks nobody to sign in meanwhile", () => {
    act(() => become({ who: null, asking: true, problem: problem(503) }));
    expect(screen.getByRole("alert")).toHaveTextContent("Temporarily unavailable");
    expect(screen.getByText(/tries again by itself/)).toBeInTheDocument();
    expect(signIn()).toBeNull();
    act(() => become({ who: { scopes: ["admin"] } as never }));
    expect(screen.getByText("the shell")).toBeInTheDocument();
    expect(screen.queryByText(/tries again by itself/)).toBeNull();
  });

  it("says why it could not be told who is signed in, and calls nobody signed out", () => {
    act(() => become({ who: null, problem: problem(500) }));
    expect(screen.getByRole("alert")).toHaveTextContent("no store");
    expect(screen.queryByText("Signed out")).toBeNull();
    expect(signIn()).not.toBeNull();
  });
});
