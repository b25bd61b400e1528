// One ticking clock for everything on the page that shows how long ago something was.
import { useSyncExternalStore } from "react";

let now = Date.now();
let timer: ReturnType<typeof setInterval> | undefined;
const listeners = new Set<() => void>();

function tick() {
  if (document.hidden) return;
  now = Date.now();
  for (const listener of listeners) listener();
}

function watch(listener: () => void): () => void {
  if (listeners.size === 0) {
    timer = setInterval(tick, 1000);
    document.addEventListener("visibilitychange", tick);
  }
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    clearInterval(timer);
    document.removeEventListener("visibilitychange", tick);
  };
}

/** The time in milliseconds, read again every so many seconds while the page can be seen. */
export function useNow(seconds = 1): number {
  const step = seconds * 1000;
  return useSyncExternalStore(watch, () => (seconds === 1 ? current() : Math.floor(current() / step) * step));
}

/** Not older than a tick, also when nobody watched for a while. */
function current(): number {
  if (Date.now() - now >= 2000) now = Date.now();
  return now;
}
