import { Anchor, Badge, Collapse, Group, List, Stack, Text } from "@mantine/core";
import { useDebouncedValue, useDisclosure } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { JsonView } from "../components/json";
import { isJSON } from "../data/events";
import { type EventType, payloadVerdict } from "../data/eventtypes";
import { jsonText } from "./eventtypeform";

/** What the catalogue says of a type, and while typing whether a payload fulfils its schema. */
export function SchemaHelp({ type, payload }: { type: EventType; payload: string }) {
  const [open, { toggle }] = useDisclosure();
  const [settled] = useDebouncedValue(payload, 400);
  const hasSchema = type.schema !== null;
  const verdict = useQuery({
    ...payloadVerdict({ name: type.name, payload: settled }),
    enabled: hasSchema && isJSON(settled),
    placeholderData: (before) => before,
  }).data;
  const broken = isJSON(payload) && verdict?.valid === false;
  return (
    <Stack gap={4} mt={-8}>
      <Group gap="xs">
        {type.description && (
          <Text size="xs" c="dimmed">
            {type.description}
          </Text>
        )}
        {type.deprecated && <Badge color="orange">deprecated</Badge>}
        {hasSchema && (
          <Anchor component="button" type="button" size="xs" onClick={toggle} aria-expanded={open}>
            {open ? "Hide the schema" : "Show the schema"}
          </Anchor>
        )}
      </Group>
      {hasSchema && (
        <Collapse expanded={open}>
          <JsonView text={jsonText(type.schema)} label="Schema" maxHeight={260} />
        </Collapse>
      )}
      <div aria-live="polite">
        {broken && (
          <Text size="xs" component="div" c={verdict.enforced ? "var(--mantine-color-error)" : "dimmed"}>
            The payload breaks the schema
            {verdict.enforced ? ", and would be refused:" : "; it would be accepted all the same:"}
            <List size="xs">
              {verdict.errors.map((e) => (
                <List.Item key={e.location + e.message}>
                  <code>{e.location}</code> {e.message}
                </List.Item>
              ))}
            </List>
          </Text>
        )}
      </div>
    </Stack>
  );
}
