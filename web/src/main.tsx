import "@mantine/core/styles.css";
import "@mantine/notifications/styles.css";
import "@mantine/spotlight/styles.css";
import "@fontsource-variable/inter";
import "@fontsource-variable/jetbrains-mono";
import "./main.css";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Surroundings } from "./components/surroundings";
import { followSession } from "./data/live";
import { resume } from "./data/session";
import { makeRouter } from "./routes";

const router = makeRouter();
followSession();
void resume();

const element = document.getElementById("root");
if (element) {
  createRoot(element).render(
    <StrictMode>
      <Surroundings>
        <RouterProvider router={router} />
      </Surroundings>
    </StrictMode>,
  );
}
