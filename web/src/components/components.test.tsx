import { MantineProvider } from "@mantine/core";
import { act, render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { type ReactNode, useState } from "react";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Problem } from "../data/problem";
import { Explanation } from "./explanation";
import { TextFilter } from "./filters";
import { lookups } from "./palette";
import { type Column, Rows } from "./rows";
import { Loaded, ProblemAlert } from "./states";
import { DeliveryBadge, Outcome } from "./status";
import { Time } from "./time";
import { Timeline } from "./timeline";

const show = (what: ReactNode) => render(<MantineProvider>{what}</MantineProvider>);

const columns: Column<{ id: string }>[] = [{ title: "Id", width: "1fr", cell: (r) => <a href={`/${r.id}`}>{r.id}</a> }];
const rows = [{ id: "a" }, { id: "b" }, { id: "c" }];

function Selectable() {
  const [selected, setSelected] = useState(new Set<string>());
  return (
    <>
      <Rows
        label="Things"
        columns={columns}
        rows={rows}
        keyOf={(r) => r.id}
        selection={{ selected, onChange: setSelected, name: (r) => r.id }}
      />
      <output>{[...selected].sort().join()}</output>
    </>
  );
}

describe("Rows", () => {
  it("selects one, all and none", async () => {
    const user = userEvent.setup();
    show(<Selectable />);
    await user.click(screen.getByLabelText("Select b"));
    expect(screen.getByRole("status").textContent).toBe("b");
    await user.click(screen.getByLabelText("Select all rows shown"));
    expect(screen.getByRole("status").textContent).toBe("a,b,c");
    await user.click(screen.getByLabelText("Select all rows shown"));
    expect(screen.getByRole("status").textContent).toBe("");
  });

  it("is a table to those who cannot see it, and is walked with j and k", async () => {
    const user = userEvent.setup();
    show(<Rows label="Things" columns={columns} rows={rows} keyOf={(r) => r.id} />);
    expect(screen.getByRole("table", { name: "Things" })).toBeInTheDocument();
    expect(screen.getAllByRole("row")).toHaveLength(4);
    screen.getByText("a").focus();
    await user.keyboard("jj");
    expect(screen.getByText("c")).toHaveFocus();
    await user.keyboard("jk");
    expect(screen.getByText("b")).toHaveFocus();
  });
});

describe("ProblemAlert", () => {
  it("says what is wrong, where, and by which request id", async () => {
    const retry = vi.fn();
    const error = new Problem({
      status: 422,
      title: "Invalid values",
      detail: "the request has invalid values",
      fields: [{ location: "body.url", message: "must be https" }],
      requestId: "req_9",
    });
    show(<ProblemAlert error={error} retry={retry} />);
    const alert = screen.getByRole("alert");
    for (const text of ["Invalid values", "body.url", "must be https", "req_9"]) expect(alert).toHaveTextContent(text);
    await userEvent.click(screen.getByText("Try again"));
    expect(retry).toHaveBeenCalledOnce();
  });
});

describe("Loaded", () => {
  const refetch = () => undefined;
  it("keeps what was seen while a refetch fails", () => {
    show(<Loaded query={{ data: "seen", error: new Problem({ status: 503 }), refetch }}>{(d) => <p>{d}</p>}</Loaded>);
    expect(screen.getByText("seen")).toBeInTheDocument();
    expect(screen.queryByRole("alert")).toBeNull();
  });

  it("shows the failure when nothing was seen, and that it loads before", () => {
    const { rerender } = show(<Loaded query={{ data: undefined, error: null, refetch }}>{() => null}</Loaded>);
    expect(screen.getByRole("status", { name: "Loading" })).toBeInTheDocument();
    rerender(
      <MantineProvider>
        <Loaded query={{ data: undefined, error: new Problem({ title: "Gone" }), refetch }}>{() => null}</Loaded>
      </MantineProvider>,
    );
    expect(screen.getByRole("alert")).toHaveTextContent("Gone");
  });
});

function Filtered({ accept, heard }: { accept?: RegExp; heard: (value?: string) => void }) {
  const [value, setValue] = useState<string>();
  const hear = (next?: string) => {
    heard(next);
    setValue(next);
  };
  return <TextFilter label="Code" placeholder="" value={value} onChange={hear} accept={accept} />;
}

describe("TextFilter", () => {
  afterEach(() => void vi.useRealTimers());

  it("counts at once on Enter, and takes a change from outside", async () => {
    const onChange = vi.fn();
    const filter = (value?: string) => <TextFilter label="Type" placeholder="" value={value} onChange={onChange} />;
    const { rerender } = show(filter());
    await userEvent.type(screen.getByLabelText("Type"), "order.*{Enter}");
    expect(onChange).toHaveBeenLastCalledWith("order.*");
    rerender(<MantineProvider>{filter("order.*")}</MantineProvider>);
    expect(screen.getByLabelText("Type")).toHaveValue("order.*");
    rerender(<MantineProvider>{filter(undefined)}</MantineProvider>);
    expect(screen.getByLabelText("Type")).toHaveValue("");
  });

  const past = () => act(() => vi.advanceTimersByTimeAsync(1000));
  const filtered = (accept?: RegExp) => {
    vi.useFakeTimers({ shouldAdvanceTime: true });
    const heard = vi.fn();
    show(<Filtered accept={accept} heard={heard} />);
    return { heard, field: screen.getByLabelText("Code"), user: userEvent.setup({ delay: null }) };
  };

  it("says nothing more once it was cleared or Enter was pressed", async () => {
    const { heard, field, user } = filtered();
    await user.type(field, "500");
    await user.click(screen.getByLabelText("Clear Code"));
    await past();
    expect(heard.mock.calls).toEqual([[undefined]]);
    await user.type(field, "404{Enter}");
    await past();
    expect(heard.mock.calls).toEqual([[undefined], ["404"]]);
    expect(field).toHaveValue("404");
  });

  it("leaves what is half typed to the typist, and does not count it", async () => {
    const { heard, field, user } = filtered(/^\d{3}$/);
    await user.type(field, "500");
    await past();
    await user.type(field, "{Backspace}{Enter}");
    await past();
    expect(field).toHaveValue("50");
    await user.type(field, "3");
    await past();
    await user.type(field, "{Backspace}");
    await user.tab();
    expect(field).toHaveValue("503");
    await user.clear(field);
    await past();
    expect(heard.mock.calls).toEqual([["500"], ["503"], [undefined]]);
  });
});

describe("states in words", () => {
  it("calls a pending delivery that failed before retrying", () => {
    show(
      <>
        <DeliveryBadge status="pending" attempts={0} />
        <DeliveryBadge status="pending" attempts={2} />
        <Outcome outcome="http_error" code={503} />
        <Outcome outcome="dns_error" code={null} />
      </>,
    );
    for (const text of ["Pending", "Retrying", "HTTP 503", "DNS error"])
      expect(screen.getByText(text)).toBeInTheDocument();
  });
});

describe("Time", () => {
  it("has UTC on hover", () => {
    show(<Time at="2026-01-31T09:30:00Z" as="full" />);
    expect(screen.getByRole("time")).toHaveAttribute("title", "2026-01-31 09:30:00.000 UTC");
  });
});

describe("Explanation", () => {
  it("puts moments into the reader's zone and leaves the words", () => {
    show(
      <main>
        <Explanation text="The next attempt is due at 2026-01-31 09:30:00 UTC (in 4 min 2 s); it is the last one." />
      </main>,
    );
    const [moment] = screen.getAllByRole("time");
    expect(moment).toHaveAttribute("datetime", "2026-01-31T09:30:00Z");
    expect(screen.getByRole("main")).toHaveTextContent(
      /^The next attempt is due at .* \(.* ago\); it is the last one\.$/,
    );
    expect(screen.getByRole("main")).not.toHaveTextContent("in 4 min");
  });
});

describe("Timeline", () => {
  it("names each attempt and hands over the one chosen", async () => {
    const onSelect = vi.fn();
    const at = Date.parse("2026-01-01T00:00:00Z");
    const marks = [
      { number: 1, at, outcome: "timeout" },
      { number: 2, at: at + 5000, outcome: "http_error", code: 503 },
    ];
    show(<Timeline start={at} marks={marks} next={at + 65_000} selected={2} onSelect={onSelect} />);
    expect(screen.getByRole("button", { name: /^Attempt 2: HTTP 503, 5 s after acceptance/ })).toHaveAttribute(
      "aria-pressed",
      "true",
    );
    await userEvent.click(screen.getByRole("button", { name: /^Attempt 1: Timed out/ }));
    expect(onSelect).toHaveBeenCalledWith(1);
    expect(screen.getByText("attempt 3 is due")).toBeInTheDocument();
  });
});

describe("lookups", () => {
  it("opens what an id names", () => {
    expect(lookups(" evt_1 ")[0]?.to).toBe("/ui/events/evt_1");
    expect(lookups("dlv_1")[0]?.to).toBe("/ui/deliveries/dlv_1");
    expect(lookups("sub_1")[0]?.to).toBe("/ui/subscriptions/sub_1");
  });

  it("looks for types and keys", () => {
    expect(lookups("order.*").map((l) => l.search)).toEqual([{ type: "order.*" }, { q: "order.*" }]);
    expect(lookups("key 17").map((l) => l.search)).toEqual([{ q: "key 17" }]);
    expect(lookups("x")).toEqual([]);
  });
});
