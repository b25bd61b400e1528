// Problem details (RFC 9457): every error of the API, and what a person can do about it.

export interface FieldProblem {
  location: string;
  message: string;
}

/** Problem is any failed request: an answer of the API, or none at all (status 0). */
export class Problem extends Error {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly fields: FieldProblem[];
  readonly requestId?: string;
  /** Seconds the server asked to wait. */
  readonly retryAfter?: number;

  constructor(p: Partial<Pick<Problem, "status" | "title" | "detail" | "fields" | "requestId" | "retryAfter">>) {
    super(p.detail || p.title || "The request failed");
    this.name = "Problem";
    this.status = p.status ?? 0;
    this.title = p.title || "The request failed";
    this.detail = p.detail ?? "";
    this.fields = p.fields ?? [];
    this.requestId = p.requestId;
    this.retryAfter = p.retryAfter;
  }

  /** The server could not be reached, or cannot answer now: the same request may work later. */
  get passing(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

function readFields(errors: unknown): FieldProblem[] {
  if (!Array.isArray(errors)) return [];
  return errors.flatMap((e) =>
    e && typeof e === "object" && "message" in e
      ? [{ location: String((e as { location?: unknown }).location ?? ""), message: String(e.message) }]
      : [],
  );
}

/** Reads an answer that was not a success. */
export function problemOf(body: unknown, response: Response | undefined): Problem {
  if (body instanceof Problem) return body;
  if (!response) {
    return new Problem({ title: "Posthorn cannot be reached", detail: "The server did not answer." });
  }
  const p = (body && typeof body === "object" ? body : {}) as Record<string, unknown>;
  const wait = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return new Problem({
    status: response.status,
    title: String(p.title || response.statusText || `HTTP ${response.status}`),
    detail: String(p.detail ?? (typeof body === "string" ? body.slice(0, 300) : "")),
    fields: readFields(p.errors),
    requestId: response.headers.get("X-Request-Id") ?? undefined,
    retryAfter: Number.isNaN(wait) ? undefined : wait,
  });
}

/** Any thrown value as a Problem. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem({ title: "Something went wrong in this page", detail: String(error) });
}

/**
 * Field errors by form path: `body.retry.schedule[2]` becomes `retry.schedule.2`, and what lies deeper than a form's
 * field counts for that field.
 */
export function formErrors(error: unknown, fields: readonly string[]): Record<string, string> {
  const out: Record<string, string> = {};
  if (!(error instanceof Problem)) return out;
  for (const f of error.fields) {
    const path = f.location.replace(/^body\.?/, "").replace(/\[(\d+)\]/g, ".$1");
    const field = fields.find((name) => path === name || path.startsWith(`${name}.`));
    if (field && !out[field]) out[field] = f.message;
  }
  return out;
}
