import { render } from "preact";
import { App } from "./app";
import { onKey } from "./state/commands";
import * as s from "./state/store";
import { startTheme } from "./state/theme";
import "./styles/base.css";
import "./styles/layout.css";
import "./styles/parts.css";
import "./styles/dialogs.css";

startTheme();
addEventListener("keydown", onKey);
addEventListener("beforeunload", (event) => {
  // Asked only while something waits for the server, so that a page that is closed loses nothing.
  if (s.busy.peek() > 0) event.preventDefault();
});
render(<App />, document.getElementById("page") as HTMLElement);
