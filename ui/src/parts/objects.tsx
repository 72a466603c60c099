import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { TrackedObject } from "../api/types";
import { chordFor } from "../pure/keys";
import { presenceAt, total } from "../pure/spans";
import { changeObject, newObject, removeObject } from "../state/actions";
import { renaming } from "../state/commands";
import { current } from "../state/session";
import * as s from "../state/store";
import { IconButton } from "./icons";

const WORDS = { present: "here", low: "low score", absent: "absent", untracked: "not tracked here" } as const;

export function ObjectList() {
  const objects = s.objects.value;
  return (
    <section class="objects" aria-label="Objects">
      <div class="panel-head">
        <h2>
          Objects <span class="dim">{objects.length || ""}</span>
        </h2>
        <IconButton
          icon="plus"
          label="New object"
          text="New"
          keys={chordFor("newObject")}
          onClick={() => void newObject()}
        />
      </div>
      {objects.length === 0 ? (
        <p class="empty">
          Click on something in the picture, or press <kbd>R</kbd> and drag a box around it. Its mask appears at once;{" "}
          <kbd>M</kbd> then follows it through the video.
        </p>
      ) : (
        <ul class="object-list">
          {objects.map((o) => (
            <ObjectRow key={o.id} object={o} />
          ))}
        </ul>
      )}
      <datalist id="known-labels">
        {s.labels.value.map((label) => (
          <option key={label} value={label ?? undefined} />
        ))}
      </datalist>
    </section>
  );
}

function ObjectRow({ object }: { object: TrackedObject }) {
  const active = s.active.value === object.id;
  const lane = s.lanes.value.get(object.id);
  const frame = s.shown.value;
  void s.masksRead.value;
  const presence = presenceAt(lane, frame);
  const mask = current()?.masks.get(frame, object.id);
  const frames = lane ? total(lane.present) : 0;
  const row = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (active) row.current?.scrollIntoView({ block: "nearest" });
  }, [active]);
  const name = `${object.label || "object"} ${object.id}`;
  return (
    <li
      ref={row}
      class={`object ${active ? "active" : ""} ${object.hidden ? "hidden-object" : ""}`}
      onMouseEnter={() => (s.hovered.value = object.id)}
      onMouseLeave={() => (s.hovered.value = null)}
    >
      <label class="swatch-button" style={{ background: object.colour }} title="Colour">
        <span class="visually-hidden">Colour of {name}</span>
        <input
          type="color"
          value={object.colour}
          onChange={(e) => void changeObject(object.id, { colour: e.currentTarget.value })}
        />
      </label>
      {renaming.value === object.id ? (
        <NameField object={object} />
      ) : (
        <button
          type="button"
          class="object-name"
          aria-pressed={active}
          title={active ? "Double click to rename (F2)" : "Select"}
          onClick={() => (s.active.value = active ? null : object.id)}
          onDblClick={() => {
            s.active.value = object.id;
            renaming.value = object.id;
          }}
        >
          <span class="ellipsis">{object.label || "object"}</span> <span class="object-id">{object.id}</span>
          <span class={`presence ${presence}`}>
            {WORDS[presence]}
            {mask && mask.area > 0 && presence !== "untracked" ? ` · ${mask.score.toFixed(2)}` : ""}
            {frames > 0 && (
              <span class="dim">
                {" "}
                · {frames} {frames === 1 ? "frame" : "frames"}
              </span>
            )}
          </span>
        </button>
      )}
      <span class="row-tools">
        <IconButton
          icon="pencil"
          label={`Rename ${name}`}
          class="small quiet"
          size={15}
          onClick={() => {
            s.active.value = object.id;
            renaming.value = object.id;
          }}
        />
        <IconButton
          icon={object.hidden ? "eyeOff" : "eye"}
          label={object.hidden ? `Show ${name}` : `Hide ${name}`}
          pressed={object.hidden}
          class={`small ${object.hidden ? "" : "quiet"}`}
          size={15}
          onClick={() => void changeObject(object.id, { hidden: !object.hidden })}
        />
        <IconButton
          icon={object.locked ? "lock" : "unlock"}
          label={object.locked ? `Unlock ${name}` : `Lock ${name}`}
          pressed={object.locked}
          class={`small ${object.locked ? "" : "quiet"}`}
          size={15}
          onClick={() => void changeObject(object.id, { locked: !object.locked })}
        />
        <IconButton
          icon="trash"
          label={`Delete ${name}`}
          class="small quiet danger"
          size={15}
          disabled={object.locked}
          onClick={() => void removeObject(object.id)}
        />
      </span>
    </li>
  );
}

function NameField({ object }: { object: TrackedObject }) {
  const field = useRef<HTMLInputElement>(null);
  const [text, setText] = useState(object.label ?? "");
  const left = useRef(false);
  // Before the next key arrives: what is typed right after F2 belongs into the field.
  useLayoutEffect(() => {
    field.current?.focus();
    field.current?.select();
  }, []);
  const leave = (save: boolean) => {
    if (left.current) return;
    left.current = true;
    renaming.value = null;
    const label = text.trim();
    if (save && label && label !== (object.label ?? "")) void changeObject(object.id, { label });
  };
  return (
    <input
      ref={field}
      class="name-field"
      list="known-labels"
      value={text}
      aria-label={`New label of object ${object.id}`}
      maxLength={120}
      onInput={(e) => setText(e.currentTarget.value)}
      onBlur={() => leave(true)}
      onKeyDown={(e) => {
        if (e.key === "Enter") leave(true);
        if (e.key === "Escape") leave(false);
        e.stopPropagation();
      }}
    />
  );
}
