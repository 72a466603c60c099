import { useState } from "preact/hooks";
import { api, send } from "../api/client";
import { current } from "../state/session";
import * as s from "../state/store";
import { Dialog, lineOf, Problem } from "./dialog";

function lossLines(header: string | null): string[] {
  if (!header) return [];
  try {
    const value: unknown = JSON.parse(header);
    if (Array.isArray(value)) return value.map(String);
    if (value && typeof value === "object")
      return Object.entries(value).map(([what, count]) => `${what}: ${String(count)}`);
    return [String(value)];
  } catch {
    return [header];
  }
}

export function ExportDialog() {
  const formats = s.info.value?.formats ?? [];
  const [format, setFormat] = useState(formats[0]?.name ?? "");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const [losses, setLosses] = useState<string[] | null>(null);
  const save = async (event: Event) => {
    event.preventDefault();
    const open = current();
    if (!open) return;
    setBusy(true);
    setProblem(null);
    setLosses(null);
    try {
      const response = await send("GET", api.exportUrl(open.id, format));
      const name = /filename="?([^";]+)"?/.exec(response.headers.get("Content-Disposition") ?? "")?.[1];
      const url = URL.createObjectURL(await response.blob());
      const link = document.createElement("a");
      link.href = url;
      link.download = name ?? `${s.video.peek()?.name ?? "keepsight"}-${format}.zip`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
      setLosses(lossLines(response.headers.get("X-Keepsight-Losses")));
    } catch (error) {
      setProblem(lineOf(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <Dialog title="Export">
      <form class="form" onSubmit={save}>
        <fieldset class="choices">
          <legend>Format</legend>
          {formats.map((f, i) => (
            <label key={f.name} class={f.name === format ? "chosen" : ""}>
              <input
                type="radio"
                name="format"
                {...(i === 0 ? { "data-first": true } : {})}
                checked={f.name === format}
                onChange={() => setFormat(f.name)}
              />
              <span>
                <b>{f.name}</b>
                <span class="dim">{f.summary}</span>
              </span>
            </label>
          ))}
        </fieldset>
        <Problem text={problem} />
        {losses && (
          <div class="result" role="status">
            <p>Saved by the browser as a zip file.</p>
            {losses.length > 0 && (
              <>
                <p>What this format cannot hold:</p>
                <ul>
                  {losses.map((line) => (
                    <li key={line}>{line}</li>
                  ))}
                </ul>
              </>
            )}
          </div>
        )}
        <div class="buttons">
          <button type="button" class="button" onClick={() => (s.dialog.value = null)}>
            Close
          </button>
          <button type="submit" class="button accent" disabled={busy || !format}>
            {busy ? "Writing …" : "Export"}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
