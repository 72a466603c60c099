import { render } from "preact";
import { App } from "./app";
import { onKey } from "./state/commands";
import { startTheme } from "./state/theme";
import "./styles/base.css";
import "./styles/layout.css";
import "./styles/parts.css";
import "./styles/dialogs.css";

startTheme();
addEventListener("keydown", onKey);
render(<App />, document.getElementById("page") as HTMLElement);
