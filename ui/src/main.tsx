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
// After a press of the mouse the keys belong to the picture again: Space plays and does not press the button once more.
addEventListener("click", ({ detail, target }) => {
  if (detail === 0 || !(target instanceof Element) || target.closest("dialog")) return;
  const pressed = target.closest("button, input[type=checkbox]");
  // What the press has opened (a dialog, a field for a name) keeps the focus that it took.
  if (pressed && (document.activeElement === pressed || document.activeElement === document.body))
    document.querySelector<HTMLElement>("canvas.canvas")?.focus({ preventScroll: true });
});
addEventListener("beforeunload", (event) => {
  // Asked only while something waits for the server, so that a page that is closed loses nothing.
  if (s.busy.peek() > 0) event.preventDefault();
});
render(<App />, document.getElementById("page") as HTMLElement);
