import { createReadStream, createWriteStream } from "node:fs";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import react from "@vitejs/plugin-react";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

/** Writes a .gz beside every text file of the build, which the binary serves as it is, and keeps dist in git. */
function compress(outDir: string): Plugin {
  return {
    name: "posthorn-compress",
    apply: "build",
    async closeBundle() {
      for (const entry of await readdir(outDir, { recursive: true })) {
        if (!/\.(js|css|html|svg)$/.test(entry)) continue;
        const file = join(outDir, entry);
        await pipeline(createReadStream(file), createGzip({ level: 9 }), createWriteStream(`${file}.gz`));
      }
      await writeFile(join(outDir, ".keep"), "");
    },
  };
}

const api = process.env.POSTHORN_URL ?? "http://localhost:8000";
// What the development server leaves to the API: everything that is not the dashboard's (see Prefix in embed.go).
const toAPI = "^/(?!$|\\?|ui(/|$|\\?)|@|src/|node_modules/|assets/|scheme\\.js|favicon\\.svg|index\\.html).+";

export default defineConfig({
  plugins: [react(), compress("dist")],
  // Nothing is inlined: the Content-Security-Policy allows fonts and scripts of our own address only.
  build: { target: "es2022", assetsInlineLimit: 0, chunkSizeWarningLimit: 900 },
  server: { port: 5173, strictPort: true, proxy: { [toAPI]: { target: api, changeOrigin: true } } },
  test: {
    environment: "happy-dom",
    include: ["src/**/*.test.{ts,tsx}"],
    setupFiles: ["src/test/setup.ts"],
    restoreMocks: true,
  },
});
