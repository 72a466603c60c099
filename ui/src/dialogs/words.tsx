import { useState } from "preact/hooks";
import { findByWords } from "../state/actions";
import { jobFor } from "../pure/request";
import { track } from "../state/runs";
import * as s from "../state/store";
import { Dialog, lineOf, Problem } from "./dialog";

let last = "";

/** T: finds everything that the words name, on this frame or through the video. */
export function WordsDialog() {
  const detectors = s.info.value?.detectors ?? [];
  const able = detectors.filter((d) => d.available);
  const [text, setText] = useState(last);
  const [detector, setDetector] = useState((able.find((d) => d.words) ?? able[0])?.name ?? "");
  const [threshold, setThreshold] = useState("");
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const chosen = detectors.find((d) => d.name === detector);
  const choices = () => ({ ...(detector ? { detector } : {}), ...(threshold ? { threshold: Number(threshold) } : {}) });
  const find = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    last = text;
    try {
      const found = await findByWords(text, detector || undefined, threshold ? Number(threshold) : undefined);
      if (found === null) return;
      if (found === 0)
        setProblem(`Nothing found for “${text}” on frame ${s.frame.peek()}. Try a lower threshold or another frame.`);
      else {
        s.dialog.value = null;
        s.say(`Found ${found} ${found === 1 ? "object" : "objects"}. M tracks them.`);
      }
    } catch (error) {
      setProblem(lineOf(error));
    } finally {
      setBusy(false);
    }
  };
  const run = () => {
    last = text;
    s.dialog.value = null;
    void track({ ...jobFor(s.direction.peek(), s.frame.peek(), s.range.peek()), text, ...choices() });
  };
  return (
    <Dialog title="Find by words">
      <form class="form" onSubmit={find}>
        <label>
          What to find, several things separated by commas
          <input
            data-first
            value={text}
            placeholder="cow, person in blue"
            maxLength={400}
            required
            onInput={(e) => setText(e.currentTarget.value)}
          />
        </label>
        <div class="row">
          <label>
            Detector
            <select value={detector} onChange={(e) => setDetector(e.currentTarget.value)}>
              {detectors.map((d) => (
                <option key={d.name} value={d.name} disabled={!d.available}>
                  {d.name}
                  {d.available ? "" : " (not on this machine)"}
                </option>
              ))}
            </select>
          </label>
          <label>
            Threshold
            <input
              class="narrow"
              type="number"
              min="0"
              max="1"
              step="0.05"
              value={threshold}
              placeholder="default"
              onInput={(e) => setThreshold(e.currentTarget.value)}
            />
          </label>
        </div>
        {chosen && !chosen.words && (
          <p class="dim">
            “{chosen.name}” does not understand words: it finds what it finds, and the words become labels.
          </p>
        )}
        <Problem text={problem} />
        <div class="buttons">
          <button type="button" class="button" disabled={busy || !text.trim()} onClick={run}>
            Find and track
          </button>
          <button type="submit" class="button accent" disabled={busy || !text.trim()}>
            {busy ? "Looking …" : "Find on this frame"}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
