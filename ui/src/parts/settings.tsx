import type { Output } from "../api/types";
import { setSettings } from "../state/actions";
import * as s from "../state/store";

const OUTPUTS: [Output, string][] = [
  ["masks", "Masks"],
  ["boxes", "Boxes"],
  ["both", "Both"],
];

export function SettingsPanel() {
  const video = s.video.value;
  const info = s.info.value;
  if (!video || !info) return null;
  const { model, policy, non_overwrite, output } = video.settings;
  const summary = info.policies.find((p) => p.name === policy)?.summary;
  return (
    <section class="settings" aria-label="Settings of this video">
      <div class="setting">
        <span id="show-what">Show</span>
        <span class="segments" role="group" aria-labelledby="show-what">
          {OUTPUTS.map(([value, name]) => (
            <button
              key={value}
              type="button"
              aria-pressed={output === value}
              onClick={() => void setSettings({ output: value })}
            >
              {name}
            </button>
          ))}
        </span>
      </div>
      <label class="setting">
        <span>Model</span>
        <select value={model} onChange={(e) => void setSettings({ model: e.currentTarget.value })}>
          {info.models.map((m) => (
            <option key={m.name} value={m.name} disabled={!m.available}>
              {m.name}
              {m.available ? "" : ` (${m.note || "not on this machine"})`}
            </option>
          ))}
        </select>
      </label>
      <label class="setting" title={summary}>
        <span>Memory</span>
        <select value={policy} onChange={(e) => void setSettings({ policy: e.currentTarget.value })}>
          {info.policies.map((p) => (
            <option key={p.name} value={p.name} title={p.summary}>
              {p.name}
            </option>
          ))}
        </select>
      </label>
      <label class="check" title="Tracking then fills only frames on which an object has no mask yet">
        <input
          type="checkbox"
          checked={non_overwrite}
          onChange={(e) => void setSettings({ non_overwrite: e.currentTarget.checked })}
        />
        Do not overwrite masks that are there
      </label>
    </section>
  );
}
