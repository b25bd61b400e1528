// From nothing to a delivered webhook: a receiver, a subscription, an event, and the delivery as it happens.
import { Button, Code, Group, Stack, Stepper, Tabs, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { IconSend } from "@tabler/icons-react";
import { useMutation, useQuery } from "@tanstack/react-query";
import { Explanation } from "../components/explanation";
import { CodeView } from "../components/json";
import { ButtonLink } from "../components/link";
import { Card, Page } from "../components/page";
import { ProblemAlert } from "../components/states";
import { DeliveryBadge, Outcome } from "../components/status";
import { eventStatus, usePublish } from "../data/events";
import { bin, binUrl } from "../data/play";
import { asProblem } from "../data/problem";
import { useCreateSubscription } from "../data/subscriptions";
import { Bin } from "./bin";
import { validate } from "./subscriptionvalues";

const receivers = [
  {
    name: "Node.js",
    text: `node -e 'require("http").createServer((q, s) => { q.pipe(process.stdout); s.end("ok") }).listen(9000)'`,
  },
  {
    name: "Python",
    text: `python3 -c 'import http.server as h
class R(h.BaseHTTPRequestHandler):
    def do_POST(s):
        print(s.rfile.read(int(s.headers["Content-Length"])).decode(), flush=True)
        s.send_response(200); s.end_headers()
h.HTTPServer(("", 9000), R).serve_forever()'`,
  },
];

const binName = "first";

export default function Start() {
  const receiver = useQuery(bin(binName));
  if (receiver.isPending) return null;
  return <Guide play={!!receiver.data} />;
}

function Guide({ play }: { play: boolean }) {
  const create = useCreateSubscription();
  const publish = usePublish();
  const form = useForm({
    initialValues: { url: play ? binUrl(binName) : "http://localhost:9000/webhooks" },
    validate: { url: validate.url },
    validateInputOnBlur: true,
  });
  const go = useMutation({
    mutationFn: async (url: string) => {
      // Trying again after a mistake must not leave a second subscription to the same place.
      const made =
        create.data?.url === url ? create.data : await create.mutateAsync({ url, description: "My first receiver" });
      const payload = `{\n  "id": 4711,\n  "total": "12.50"\n}`;
      return { event: await publish.mutateAsync({ type: "order.created", payload }), subscription: made };
    },
  });
  const step = go.data ? 3 : create.data ? 1 : 0;
  return (
    <Page title="Send the first webhook" lead="A subscription, an event, and its delivery, in under a minute.">
      <Card>
        <Stepper active={step} size="sm" mb="lg" allowNextStepsSelect={false}>
          <Stepper.Step label="A receiver" description="where it goes" />
          <Stepper.Step label="An event" description="what happened" />
          <Stepper.Step label="A delivery" description="signed and sent" />
        </Stepper>
        <Stack>
          <form onSubmit={form.onSubmit(({ url }) => go.mutate(url.trim()))}>
            <Group align="flex-start" gap="sm">
              <TextInput
                label="URL of a receiver"
                description={
                  play
                    ? "The built-in test receiver, or any other that answers a POST with 2xx."
                    : "Anything that answers a POST with 2xx."
                }
                flex="1 1 260px"
                {...form.getInputProps("url")}
              />
              <Button
                type="submit"
                loading={go.isPending}
                leftSection={<IconSend size={16} />}
                mt={{ base: 0, xs: 46 }}
              >
                {go.data ? "Send another" : "Subscribe and send"}
              </Button>
            </Group>
          </form>
          {go.error && <ProblemAlert error={asProblem(go.error)} />}
          {go.data && <Watch event={go.data.event.id} />}
        </Stack>
      </Card>
      {play ? <Bin name={binName} /> : <OwnReceiver />}
      <Card title="The same from a program">
        <Program />
      </Card>
    </Page>
  );
}

/** How to have a receiver where there is no built-in one. */
function OwnReceiver() {
  return (
    <Card title="No receiver at hand? Run one of these">
      <Tabs defaultValue="Node.js" keepMounted={false}>
        <Tabs.List mb="xs">
          {receivers.map((r) => (
            <Tabs.Tab key={r.name} value={r.name}>
              {r.name}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        {receivers.map((r) => (
          <Tabs.Panel key={r.name} value={r.name}>
            <CodeView text={r.text} label={`receiver in ${r.name}`} />
          </Tabs.Panel>
        ))}
      </Tabs>
      <Text size="xs" c="dimmed" mt="sm">
        Plain http and addresses of this machine are allowed with <Code>posthorn serve --dev</Code>; otherwise see{" "}
        <Code>POSTHORN_ALLOW_HTTP</Code> and <Code>POSTHORN_ALLOW_PRIVATE</Code>.
      </Text>
    </Card>
  );
}

/** The deliveries of the event just published, live. */
function Watch({ event }: { event: string }) {
  const status = useQuery(eventStatus(event)).data;
  if (!status) return null;
  return (
    <Stack gap="xs" role="status">
      {status.deliveries.map((d) => (
        <Group key={d.id} gap="sm" justify="space-between">
          <Group gap="xs">
            <DeliveryBadge status={d.status} attempts={d.attempts} />
            <Outcome outcome={d.last_outcome} code={d.last_status_code} />
            <Text size="sm" component="div">
              <Explanation text={d.explanation} />
            </Text>
          </Group>
          <ButtonLink to="/ui/deliveries/$id" params={{ id: d.id }} size="xs" variant="default">
            Request and response
          </ButtonLink>
        </Group>
      ))}
    </Stack>
  );
}

function Program() {
  const text = `curl ${location.origin}/events \\
  -H 'Authorization: Bearer phk_…' \\
  -H 'Content-Type: application/json' \\
  -d '{"type":"order.created","payload":{"id":4711,"total":"12.50"}}'`;
  return (
    <Stack gap="xs" align="flex-start">
      <Group w="100%" grow>
        <CodeView text={text} label="publish with curl" />
      </Group>
      <Group>
        <Button component="a" href="/docs" target="_blank" size="xs" variant="default">
          API documentation
        </Button>
      </Group>
    </Stack>
  );
}
