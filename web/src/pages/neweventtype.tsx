import { Page } from "../components/page";
import { TypeForm } from "./eventtypeform";

export default function NewEventType() {
  return (
    <Page title="Create an event type" back={{ to: "/ui/event-types", label: "Event types" }}>
      <TypeForm />
    </Page>
  );
}
