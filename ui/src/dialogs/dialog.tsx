import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { IconButton } from "../parts/icons";
import { Icon } from "../parts/icons";
import * as s from "../state/store";

interface Props {
  title: string;
  wide?: boolean;
  children: ComponentChildren;
  onClose?: () => void;
}

/** A modal dialog of the browser's own kind: it keeps the focus, closes on Esc, and gives the focus back. */
export function Dialog({ title, wide, children, onClose }: Props) {
  const element = useRef<HTMLDialogElement>(null);
  const close = onClose ?? (() => (s.dialog.value = null));
  const closing = useRef(close);
  closing.current = close;
  useLayoutEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    element.current?.showModal();
    element.current?.querySelector<HTMLElement>("[data-first]")?.focus();
    return () => before?.focus?.();
  }, []);
  useLayoutEffect(() => {
    // At once, not when the browser gets to it: it tells of a closed dialog with the next picture, and a key that comes before
    // is meant for the page already. Of the window, for a button that went away when it was pressed has left the focus nowhere.
    const escape = (e: KeyboardEvent) => {
      if (e.key !== "Escape" || e.isComposing || e.defaultPrevented) return;
      e.preventDefault();
      closing.current();
    };
    addEventListener("keydown", escape);
    return () => removeEventListener("keydown", escape);
  }, []);
  return (
    <dialog
      ref={element}
      class={wide ? "wide" : ""}
      aria-label={title}
      onClose={close}
      onPointerDown={(e) => e.target === element.current && close()}
    >
      <div class="dialog-head">
        <h2>{title}</h2>
        <IconButton icon="close" label="Close" keys="Esc" onClick={close} />
      </div>
      <div class="dialog-body">{children}</div>
    </dialog>
  );
}

/** The server's line, where the person has just pressed. */
export function Problem({ text }: { text: string | null }) {
  return text ? (
    <p class="problem" role="alert">
      <Icon name="warning" />
      {text}
    </p>
  ) : null;
}

export const lineOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
