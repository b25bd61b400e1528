import { notifications } from "@mantine/notifications";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { Card, Page } from "../components/page";
import { Loaded } from "../components/states";
import { subscriptionById, useReplaceSubscription } from "../data/subscriptions";
import { SubscriptionForm, showErrors } from "./subscriptionform";

const route = getRouteApi("/ui/subscriptions/$id/edit");

export default function EditSubscription() {
  const { id } = route.useParams();
  const navigate = route.useNavigate();
  // Read once: what is being typed must not be overwritten by what happens meanwhile.
  const query = useQuery({ ...subscriptionById(id), refetchOnMount: "always", staleTime: Number.POSITIVE_INFINITY });
  const replace = useReplaceSubscription();
  const leave = () => void navigate({ to: "/ui/subscriptions/$id", params: { id } });
  return (
    <Page title="Edit the subscription" back={{ to: "/ui/subscriptions", label: "Subscriptions" }}>
      <Card>
        <Loaded query={query}>
          {(subscription) => (
            <SubscriptionForm
              subscription={subscription}
              error={replace.error}
              busy={replace.isPending}
              onCancel={leave}
              onSubmit={(input, form) =>
                replace.mutate(
                  { id, input },
                  {
                    onError: (e) => showErrors(form, e),
                    onSuccess: () => {
                      notifications.show({ color: "teal", message: "The subscription was saved." });
                      leave();
                    },
                  },
                )
              }
            />
          )}
        </Loaded>
      </Card>
    </Page>
  );
}
