import { describe, expect, it } from "vitest";
import { signedContent, signV1 } from "./signature";

describe("signV1", () => {
  it("gives the signature of the Standard Webhooks specification's example", async () => {
    const content = signedContent("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", '{"test": 2432232314}');
    expect(await signV1("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", content)).toBe(
      "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    );
  });
});
