// What the browser tests stand on: the real binary with a store of its own, receivers that misbehave, a real Chromium.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("../..", import.meta.url));
const binary = process.env.POSTHORN_BIN ?? join(root, "bin/posthorn");
export const key = "phk_browsertests0123456789abcdefghijklmnop";

/** A running server. Its store lives until destroy(), so that stop() and start() are a restart. */
export class Server {
  constructor(dir, env) {
    this.dir = dir;
    this.env = env;
    this.port = 0;
  }

  async start() {
    if (!existsSync(binary)) throw new Error(`${binary} is missing: run make build first, or name it in POSTHORN_BIN`);
    const args = ["serve", "--dev", `--port=${this.port}`, `--data-dir=${this.dir}`];
    const env = {
      PATH: process.env.PATH,
      HOME: this.dir,
      POSTHORN_API_KEY: key,
      POSTHORN_LOG_LEVEL: "warn",
      ...this.env,
    };
    this.process = spawn(binary, args, { env, stdio: ["ignore", "pipe", "inherit"] });
    this.url = await new Promise((resolve, reject) => {
      let said = "";
      this.process.stdout.on("data", (piece) => {
        said += piece;
        const url = /listening on (\S+)/.exec(said)?.[1];
        if (url) resolve(url);
      });
      this.process.once("exit", (code) => reject(new Error(`posthorn ended with ${code}`)));
    });
    this.port = Number(new URL(this.url).port);
    return this;
  }

  /** Ends the process, at once with SIGKILL. */
  async stop(signal = "SIGTERM") {
    if (!this.process || this.process.exitCode !== null) return;
    const ended = new Promise((resolve) => this.process.once("exit", resolve));
    this.process.kill(signal);
    await ended;
  }

  async destroy() {
    await this.stop("SIGKILL");
    await rm(this.dir, { recursive: true, force: true });
  }

  /** Calls the API; throws on a refusal. */
  async api(method, path, body, as = key) {
    const response = await fetch(this.url + path, {
      method,
      headers: { Authorization: `Bearer ${as}`, ...(body ? { "Content-Type": "application/json" } : {}) },
      body: body && JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : undefined;
  }

  subscribe(url, fields = {}) {
    return this.api("POST", "/subscriptions", { url, ...fields });
  }

  publish(type, payload = { id: 4711 }) {
    return this.api("POST", "/events", { type, payload });
  }

  /** Waits until the API says so. */
  async until(path, done) {
    const end = Date.now() + 40_000;
    for (;;) {
      const answer = await this.api("GET", path);
      if (done(answer)) return answer;
      if (Date.now() > end) throw new Error(`${path} never came to it: ${JSON.stringify(answer).slice(0, 500)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

export async function startServer(env = {}) {
  return new Server(await mkdtemp(join(tmpdir(), "posthorn-e2e-")), env).start();
}

/** A receiver whose answers the test sets: a status, or a function of the request. */
export async function startReceiver(answer = 200) {
  const receiver = { answer, requests: [] };
  const server = http.createServer((request, response) => {
    let body = "";
    request.on("data", (piece) => {
      body += piece;
    });
    request.on("end", () => {
      const got = { headers: request.headers, body, path: request.url };
      receiver.requests.push(got);
      const is = typeof receiver.answer === "function" ? receiver.answer(got, request) : receiver.answer;
      if (is === "hang") return;
      const { status = is, headers = {}, text = status < 300 ? "ok" : '{"error":"try again later"}' } = Object(is);
      response.writeHead(Number(status), { "Content-Type": "application/json", ...headers });
      response.end(text);
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  receiver.url = `http://127.0.0.1:${server.address().port}/webhooks`;
  receiver.close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return receiver;
}

const flags = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export function startBrowser() {
  const found = [
    process.env.CHROMIUM_BIN,
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
  ].find((path) => path && existsSync(path));
  if (!found) throw new Error("Chromium is missing: install it, or name it in CHROMIUM_BIN");
  return chromium.launch({ executablePath: found, args: flags });
}

/**
 * A page of its own context. Whatever it must not do is gathered in page.faults: errors in the console, requests to
 * another host, violations of the Content-Security-Policy.
 */
export async function openPage(
  browser,
  server,
  { signedIn = true, scheme = "light", width = 1280, height = 860 } = {},
) {
  const context = await browser.newContext({
    baseURL: server.url,
    viewport: { width, height },
    colorScheme: scheme,
    reducedMotion: "reduce",
    locale: "en-GB",
    timezoneId: "Europe/Berlin",
    permissions: ["clipboard-read", "clipboard-write"],
  });
  const page = await context.newPage();
  // Long enough for a machine that is busy with other tests.
  page.setDefaultTimeout(30_000);
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(`page error: ${error}`));
  page.on("console", (message) => {
    const text = message.text();
    // The browser reports refused requests by itself; what the page makes of them is the tests' subject.
    if (message.type() === "error" && !/^Failed to load resource/.test(text)) page.faults.push(`console: ${text}`);
  });
  page.on("request", (request) => {
    if (/^https?:/.test(request.url()) && !request.url().startsWith(server.url))
      page.faults.push(`foreign: ${request.url()}`);
  });
  if (signedIn) {
    const answer = await context.request.post("/session", { headers: { Authorization: `Bearer ${key}` } });
    if (!answer.ok()) throw new Error(`sign in: ${answer.status()} ${await answer.text()}`);
  }
  return page;
}
