import { GROUPS, spell } from "../pure/keys";
import { Dialog } from "./dialog";

/** ?: every shortcut, from the table that the keyboard itself uses. */
export function HelpDialog() {
  return (
    <Dialog title="Shortcuts" wide>
      <div class="shortcuts">
        {GROUPS.map(([name, bindings]) => (
          <section key={name}>
            <h3>{name}</h3>
            <dl>
              {bindings.map((b) => (
                <div key={b.command}>
                  <dt>
                    {b.chords
                      .filter((c) => c !== "shift+?" && c !== "shift++")
                      .map((c) => (
                        <kbd key={c}>{spell(c)}</kbd>
                      ))}
                  </dt>
                  <dd>{b.says}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
        <section>
          <h3>Mouse</h3>
          <dl>
            <div>
              <dt>Right click</dt>
              <dd>Does not belong to the object</dd>
            </div>
            <div>
              <dt>
                <kbd>Alt</kbd> click
              </dt>
              <dd>Selects the object under the pointer</dd>
            </div>
            <div>
              <dt>Wheel</dt>
              <dd>
                Zooms the picture; with <kbd>Ctrl</kbd> the timeline
              </dd>
            </div>
            <div>
              <dt>Drag, middle drag</dt>
              <dd>Moves the picture</dd>
            </div>
            <div>
              <dt>Timeline</dt>
              <dd>Click jumps; the handles at its ends set the range</dd>
            </div>
          </dl>
        </section>
      </div>
    </Dialog>
  );
}
