// The frame of all pages: the sign-in page for those without a session, whatever the URL; the shell for the others.
import { Button } from "@mantine/core";
import type { ErrorComponentProps } from "@tanstack/react-router";
import { Activity, useState } from "react";
import { ButtonLink } from "../components/link";
import { Page } from "../components/page";
import { Shell } from "../components/shell";
import { Empty, ProblemAlert } from "../components/states";
import { continues, useSession } from "../data/session";
import { Waiting } from "./entrance";
import SignIn from "./signin";

/** A session that ends by itself leaves the page as it is, out of sight: signing in again goes on with what was typed. */
export function Root() {
  const { who, asking, problem, left } = useSession();
  const [seat, setSeat] = useState({ of: who, number: 0 });
  const of = who ?? left ?? null;
  if (of !== seat.of) {
    setSeat({ of, number: of && seat.of && continues(of, seat.of) ? seat.number : seat.number + 1 });
  }
  if (asking) return problem ? <Waiting problem={problem} /> : null;
  return (
    <>
      {!who && <SignIn />}
      {of && (
        <Activity key={seat.number} mode={who ? "visible" : "hidden"}>
          <Shell />
        </Activity>
      )}
    </>
  );
}

export function NotFound() {
  return (
    <Page
      title="There is no such page"
      lead="The address may be mistyped, or from another version of Posthorn."
      actions={
        <ButtonLink to="/" variant="default">
          Go to the overview
        </ButtonLink>
      }
    />
  );
}

/** A page that failed to draw, or whose file could not be loaded: after an upgrade of the server, the old files are gone. */
export function Failure({ error }: ErrorComponentProps) {
  const gone = /dynamically imported module|module script failed/i.test(String(error));
  return (
    <Page title="Something went wrong">
      {gone ? (
        <Empty
          title="This page is from an older version"
          action={<Button onClick={() => location.reload()}>Reload</Button>}
        >
          The server was upgraded meanwhile, or cannot be reached. Reloading brings the present version.
        </Empty>
      ) : (
        <ProblemAlert error={error} retry={() => location.reload()} />
      )}
    </Page>
  );
}
