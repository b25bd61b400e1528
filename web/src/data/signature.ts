// Standard Webhooks signatures, computed in the browser to show a subscriber what is signed and whether it fits.

/** What is signed: the id, the timestamp and the body, joined by dots. */
export function signedContent(id: string, timestamp: string, body: string): string {
  return `${id}.${timestamp}.${body}`;
}

/** The v1 signature (HMAC-SHA256) under a whsec_ secret. */
export async function signV1(secret: string, content: string): Promise<string> {
  const raw = Uint8Array.from(atob(secret.replace(/^whsec_/, "")), (c) => c.charCodeAt(0));
  const key = await crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const mac = await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(content));
  return `v1,${btoa(String.fromCharCode(...new Uint8Array(mac)))}`;
}

/** Whether this page may compute signatures: browsers allow it over https and on localhost only. */
export function canSign(): boolean {
  return typeof crypto !== "undefined" && !!crypto.subtle;
}
