// How a receiver verifies a signature, in several languages: each sample is complete and uses nothing that its language
// does not bring, or the Standard Webhooks library where that is the custom.
import { Tabs, Text } from "@mantine/core";
import { CodeView } from "../components/json";
import { samples } from "./sampletexts";

export function CodeSamples() {
  return (
    <>
      <Text size="sm" c="dimmed" mb="sm">
        Verify before you trust a delivery, over the raw body: not over JSON that was parsed and written again. Refuse
        timestamps older than five minutes, and answer with any 2xx as soon as the event is stored on your side.
      </Text>
      <Tabs defaultValue={samples[0]?.name} keepMounted={false}>
        <Tabs.List mb="xs">
          {samples.map((s) => (
            <Tabs.Tab key={s.name} value={s.name}>
              {s.name}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        {samples.map((s) => (
          <Tabs.Panel key={s.name} value={s.name}>
            <CodeView text={s.text} label={`${s.name} sample`} />
          </Tabs.Panel>
        ))}
      </Tabs>
    </>
  );
}
