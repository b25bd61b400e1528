// The last attempts, newest first, for the live tail. The stream may repeat itself; an attempt is kept once.
import type { Update } from "./live";
import { wants } from "./subscriptions";

export interface TailRow {
  key: string;
  at: number;
  delivery: string;
  subscription: string;
  type: string;
  number: number;
  outcome: string;
  code: number | null;
  took: number;
  /** What the attempt made of its delivery, once that is known. */
  status?: string;
}

const most = 2000;

export class Tail {
  private list: TailRow[] = [];
  private byKey = new Map<string, TailRow>();
  private latest = new Map<string, TailRow>();
  private dirty = false;

  add(updates: Update[]) {
    for (const u of updates) {
      if (u.kind === "attempt") this.attempt(u.data);
      else if (u.kind === "delivery") this.delivery(u.data);
    }
    if (this.list.length > most + 200) this.trim();
  }

  private attempt(a: Extract<Update, { kind: "attempt" }>["data"]) {
    if (this.byKey.has(a.id)) return;
    const row: TailRow = {
      key: a.id,
      at: Date.parse(a.recorded_at),
      delivery: a.delivery_id,
      subscription: a.subscription_id,
      type: a.event_type,
      number: a.number,
      outcome: a.outcome,
      code: a.status_code,
      took: a.total_ms,
    };
    this.byKey.set(row.key, row);
    this.latest.set(row.delivery, row);
    this.list.push(row);
    this.dirty = true;
  }

  private delivery(d: Extract<Update, { kind: "delivery" }>["data"]) {
    const row = this.latest.get(d.id);
    if (!row || row.number !== d.attempts || row.status === d.status) return;
    // Rows are drawn as they are: a changed one must be another object.
    const next = { ...row, status: d.status };
    this.byKey.set(next.key, next);
    this.latest.set(next.delivery, next);
    this.dirty = true;
  }

  private trim() {
    const gone = this.list.splice(0, this.list.length - most);
    for (const row of gone) {
      this.byKey.delete(row.key);
      if (this.latest.get(row.delivery)?.key === row.key) this.latest.delete(row.delivery);
    }
  }

  /** Whether there is something that rows() has not given yet. */
  changed(): boolean {
    return this.dirty;
  }

  /** All rows, newest first. */
  rows(): TailRow[] {
    this.dirty = false;
    const out: TailRow[] = [];
    for (let i = this.list.length - 1; i >= 0; i--) {
      const row = this.byKey.get(this.list[i]?.key ?? "");
      if (row) out.push(row);
    }
    return out;
  }

  clear() {
    this.list = [];
    this.byKey.clear();
    this.latest.clear();
    this.dirty = false;
  }
}

/** What the filters of the live tail let through. */
export function tailFilter(filter: {
  type?: string;
  status?: string;
  subscription?: string;
}): (row: TailRow) => boolean {
  const types = filter.type?.split(",").map((t) => t.trim());
  return (row) =>
    (!types || wants(types, row.type)) &&
    (!filter.subscription || row.subscription === filter.subscription) &&
    (!filter.status || (row.outcome === "succeeded") === (filter.status === "succeeded"));
}
