import { chordFor } from "../pure/keys";
import { clearPrompts, newObject } from "../state/actions";
import { perform } from "../state/commands";
import * as s from "../state/store";
import { applyShape, dropShape, shape, takeAway, takeOutline } from "../stage/editor";
import { Icon, IconButton, type IconName } from "./icons";

/** The rail of tools at the left. */
export function Tools() {
  const tool = s.tool.value;
  const click = tool === "click";
  const item = (icon: IconName, label: string, command: Parameters<typeof perform>[0], pressed: boolean, kind = "") => (
    <IconButton
      icon={icon}
      label={label}
      keys={chordFor(command)}
      pressed={pressed}
      class={`tool ${kind}`}
      size={20}
      hint
      onClick={() => perform(command)}
    />
  );
  return (
    <nav class="tools" aria-label="Tools">
      {item("select", "Select objects", "select", tool === "select")}
      {item("pointIn", "Click: belongs to the object", "positive", click && s.positive.value, "plus")}
      {item("pointOut", "Click: does not belong", "negative", click && !s.positive.value, "minus")}
      {item("box", "Drag a box", "box", tool === "box")}
      {item("text", "Find by words", "text", s.dialog.value === "text")}
      <hr />
      {item("brush", "Brush: add to the mask", "brush", tool === "brush")}
      {item("eraser", "Eraser: take from the mask", "eraser", tool === "eraser")}
      {item("polygon", "Polygon", "polygon", tool === "polygon")}
      <hr />
      {item("click", "Keyboard pointer", "pointer", s.keyboardPointer.value !== null)}
      <span class="spring" />
      {item("fit", "Whole frame", "fit", false)}
      {item(s.allHidden.value ? "eyeOff" : "eye", "Hide or show all masks", "hideAll", s.allHidden.value)}
    </nav>
  );
}

/** Over the picture: whom the tool works on, and the tool's own choices. */
export function ToolOptions() {
  const object = s.activeObject.value;
  const tool = s.tool.value;
  if (!s.video.value) return null;
  return (
    <div class="options" role="toolbar" aria-label="Options of the tool">
      <span class="target">
        {object ? (
          <>
            <i class="swatch" style={{ background: object.colour }} />
            <b class="ellipsis">
              {object.label || "object"} {object.id}
            </b>
          </>
        ) : (
          <>
            <i class="swatch none" />
            <span class="dim">{tool === "select" ? "Nothing selected" : "New object"}</span>
          </>
        )}
      </span>
      {object && (
        <>
          <IconButton
            icon="check"
            label="Finish: label and id"
            text="Finish"
            keys={chordFor("finish")}
            onClick={() => (s.dialog.value = "finish")}
          />
          <IconButton
            icon="close"
            label="Clear its clicks and box on this frame"
            text="Clear"
            keys={chordFor("clear")}
            onClick={() => void clearPrompts()}
          />
          <IconButton
            icon="plus"
            label="Start a new object"
            text="New"
            keys={chordFor("newObject")}
            onClick={() => void newObject()}
          />
        </>
      )}
      {tool === "click" && (
        <label class="check" title="Shows the mask before you click (I)">
          <input
            type="checkbox"
            checked={s.hoverPreview.value}
            onChange={(e) => (s.hoverPreview.value = e.currentTarget.checked)}
          />
          Preview
        </label>
      )}
      {(tool === "brush" || tool === "eraser") && (
        <label class="slider">
          Size
          <input
            type="range"
            min="2"
            max="200"
            value={s.brushSize.value}
            onInput={(e) => (s.brushSize.value = Number(e.currentTarget.value))}
          />
          <output>{s.brushSize.value} px</output>
        </label>
      )}
      {tool === "polygon" && <PolygonOptions />}
    </div>
  );
}

function PolygonOptions() {
  const now = shape.value;
  return (
    <>
      {!now && (
        <IconButton
          icon="pencil"
          label="Pull at the mask's outline"
          text="Edit outline"
          keys="Enter"
          onClick={takeOutline}
        />
      )}
      {!now?.from && (
        <span class="segments" role="group" aria-label="What the polygon does">
          <button type="button" aria-pressed={!takeAway.value} onClick={() => (takeAway.value = false)}>
            Add
          </button>
          <button type="button" aria-pressed={takeAway.value} onClick={() => (takeAway.value = true)}>
            Take away
          </button>
        </span>
      )}
      {now && (
        <>
          <IconButton
            icon="check"
            label="Apply the polygon"
            text="Apply"
            keys="Enter"
            disabled={now.ring.length < 3}
            onClick={() => void applyShape()}
          />
          <IconButton icon="close" label="Discard the polygon" text="Discard" keys="Esc" onClick={dropShape} />
        </>
      )}
      <span class="dim hint">
        {now?.from ? "Drag corners; click an edge to add one; right click removes one" : "Click corners; Enter applies"}
      </span>
    </>
  );
}

/** One line over the picture: what happened, or what the server refused and why. */
export function NoticeLine() {
  const notice = s.notice.value;
  return (
    <div class="notice-place" role="status" aria-live="polite">
      {notice && (
        <div class={`notice ${notice.kind}`} role={notice.kind === "error" ? "alert" : undefined}>
          {notice.kind === "error" && <Icon name="warning" />}
          <span>{notice.text}</span>
          {notice.action && (
            <button
              type="button"
              class="button small accent"
              onClick={() => {
                const { run } = notice.action!;
                s.hush();
                run();
              }}
            >
              {notice.action.label}
            </button>
          )}
          <IconButton icon="close" label="Close this line" class="small" size={14} onClick={s.hush} />
        </div>
      )}
    </div>
  );
}
