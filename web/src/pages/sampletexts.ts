// The texts of the samples. sampletexts.test.ts runs the one in TypeScript.

export const samples = [
  {
    name: "Go",
    text: `// Secret is what follows whsec_, decoded from base64.
func Verify(secret []byte, h http.Header, body []byte) error {
	id, timestamp := h.Get("webhook-id"), h.Get("webhook-timestamp")
	sent, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || time.Since(time.Unix(sent, 0)).Abs() > 5*time.Minute {
		return errors.New("webhook: timestamp missing or too old")
	}
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%s.%s.%s", id, timestamp, body)
	want := mac.Sum(nil)
	for _, signature := range strings.Fields(h.Get("webhook-signature")) {
		encoded, ok := strings.CutPrefix(signature, "v1,")
		if got, err := base64.StdEncoding.DecodeString(encoded); ok && err == nil && hmac.Equal(got, want) {
			return nil
		}
	}
	return errors.New("webhook: no signature fits")
}`,
  },
  {
    name: "Python",
    text: `import base64, hashlib, hmac, time

def verify(secret: str, headers: dict, body: bytes) -> None:
    """Raises ValueError unless the delivery is genuine. Secret begins with whsec_."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    if abs(time.time() - int(timestamp)) > 300:
        raise ValueError("timestamp too old")
    signed = f"{id}.{timestamp}.".encode() + body
    want = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    for signature in headers["webhook-signature"].split():
        version, _, got = signature.partition(",")
        if version == "v1" and hmac.compare_digest(got, want):
            return
    raise ValueError("no signature fits")`,
  },
  {
    name: "TypeScript",
    text: `import { createHmac, timingSafeEqual } from "node:crypto";

/** Throws unless the delivery is genuine. Secret begins with whsec_; body is the raw request body. */
export function verify(secret: string, headers: Record<string, string>, body: Buffer): void {
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const id = headers["webhook-id"];
  const timestamp = headers["webhook-timestamp"];
  if (!(Math.abs(Date.now() / 1000 - Number(timestamp)) <= 300)) throw new Error("timestamp too old");
  const want = createHmac("sha256", key).update(\`\${id}.\${timestamp}.\`).update(body).digest();
  for (const signature of (headers["webhook-signature"] ?? "").split(" ")) {
    const [version, encoded = ""] = signature.split(",");
    const got = Buffer.from(encoded, "base64");
    if (version === "v1" && got.length === want.length && timingSafeEqual(got, want)) return;
  }
  throw new Error("no signature fits");
}`,
  },
  {
    name: "Ruby",
    text: `require "openssl"
require "base64"

# Raises unless the delivery is genuine. Secret begins with whsec_; body is the raw request body.
def verify!(secret, headers, body)
  key = Base64.strict_decode64(secret.delete_prefix("whsec_"))
  id, timestamp = headers.values_at("webhook-id", "webhook-timestamp")
  raise "timestamp too old" if (Time.now.to_i - Integer(timestamp)).abs > 300

  want = Base64.strict_encode64(OpenSSL::HMAC.digest("SHA256", key, "#{id}.#{timestamp}.#{body}"))
  genuine = headers.fetch("webhook-signature").split.any? do |signature|
    version, got = signature.split(",", 2)
    version == "v1" && OpenSSL.secure_compare(got, want)
  end
  raise "no signature fits" unless genuine
end`,
  },
  {
    name: "PHP",
    text: `<?php
/** Throws unless the delivery is genuine. $secret begins with whsec_; $body is file_get_contents('php://input'). */
function verify(string $secret, array $headers, string $body): void {
    $key = base64_decode(preg_replace('/^whsec_/', '', $secret), true);
    $id = $headers['webhook-id'];
    $timestamp = $headers['webhook-timestamp'];
    if (abs(time() - (int) $timestamp) > 300) {
        throw new RuntimeException('timestamp too old');
    }
    $want = base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
    foreach (explode(' ', $headers['webhook-signature']) as $signature) {
        [$version, $got] = array_pad(explode(',', $signature, 2), 2, '');
        if ($version === 'v1' && hash_equals($want, $got)) {
            return;
        }
    }
    throw new RuntimeException('no signature fits');
}`,
  },
  {
    name: "Java",
    text: `/** Throws unless the delivery is genuine. Secret begins with whsec_; body is the raw request body. */
static void verify(String secret, Map<String, String> headers, byte[] body) throws GeneralSecurityException {
    byte[] key = Base64.getDecoder().decode(secret.replaceFirst("^whsec_", ""));
    String id = headers.get("webhook-id"), timestamp = headers.get("webhook-timestamp");
    if (Math.abs(Instant.now().getEpochSecond() - Long.parseLong(timestamp)) > 300) {
        throw new SignatureException("timestamp too old");
    }
    Mac mac = Mac.getInstance("HmacSHA256");
    mac.init(new SecretKeySpec(key, "HmacSHA256"));
    mac.update((id + "." + timestamp + ".").getBytes(StandardCharsets.UTF_8));
    byte[] want = mac.doFinal(body);
    for (String signature : headers.get("webhook-signature").split(" ")) {
        if (signature.startsWith("v1,")
                && MessageDigest.isEqual(want, Base64.getDecoder().decode(signature.substring(3)))) {
            return;
        }
    }
    throw new SignatureException("no signature fits");
}`,
  },
];
