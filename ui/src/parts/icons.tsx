/** The page's own icons: 20 x 20, drawn with one stroke width, coloured by the text around them. */

const PATHS = {
  select: "M5 3.500v12l3.200-3 2 4.500 2-.900-2-4.400h4.300z",
  plus: "M10 4.500v11M4.500 10h11",
  pointIn: "M10 2.800a7.200 7.200 0 1 0 0 14.400 7.200 7.200 0 0 0 0-14.400zM10 6.800v6.400M6.800 10h6.400",
  pointOut: "M10 2.800a7.200 7.200 0 1 0 0 14.400 7.200 7.200 0 0 0 0-14.400zM6.800 10h6.400",
  minus: "M4.500 10h11",
  click: "M10 2.500v3M10 14.500v3M2.500 10h3M14.500 10h3M10 6.500a3.500 3.500 0 1 0 0 7 3.500 3.500 0 0 0 0-7z",
  box: "M3.5 5h13v10h-13zM2.600 4.100h1.800v1.800h-1.800zM15.600 14.100h1.800v1.800h-1.800z",
  brush:
    "M16.500 3.500 9 11M9 11c-2-.6-3.800.4-4.200 2.300-.2 1.200-.7 2-1.800 2.700 2.700 1 6.600.3 7.300-2.400.3-1.100-.2-2.200-1.300-2.600z",
  eraser: "m8 16.500-4.500-4.500 8-8.500 5 5-7.500 8zM16.500 16.500H8M7 8.500l5 5",
  polygon: "M5 15.500 3.500 7 10 3.500l6.500 5-3.500 8z",
  text: "M4 5.500v-1.500h12v1.500M10 4v12M7.500 16h5",
  undo: "M4 8h8a4 4 0 0 1 0 8H8M4 8l3.500-3.500M4 8l3.500 3.500",
  redo: "M16 8H8a4 4 0 0 0 0 8h4M16 8l-3.500-3.500M16 8l-3.500 3.500",
  play: "M6.500 4v12l9.500-6z",
  pause: "M7 4.500v11M13 4.500v11",
  stop: "M5.500 5.500h9v9h-9z",
  first: "M5 4.500v11M15 4.500 8 10l7 5.500z",
  last: "M15 4.500v11M5 4.500 12 10l-7 5.500z",
  previous: "M12.500 4.500 7 10l5.500 5.500",
  next: "M7.500 4.500 13 10l-5.500 5.500",
  back: "M16 10H4M8.500 5.500 4 10l4.500 4.500",
  forth: "M4 10h12M11.500 5.500 16 10l-4.500 4.500",
  both: "M3 10h14M6.500 6.500 3 10l3.500 3.500M13.500 6.500 17 10l-3.500 3.500",
  run: "M5 4v12l7-6zM15 4.500v11",
  eye: "M2.500 10S5.500 5 10 5s7.500 5 7.500 5-3 5-7.500 5-7.500-5-7.500-5zM10 7.800a2.200 2.200 0 1 0 0 4.400 2.200 2.200 0 0 0 0-4.400z",
  eyeOff:
    "M3 3l14 14M8 5.300A7 7 0 0 1 10 5c4.500 0 7.500 5 7.500 5a14 14 0 0 1-2.200 2.700M12.500 14.500A7 7 0 0 1 10 15c-4.500 0-7.500-5-7.500-5a13 13 0 0 1 3.200-3.600",
  lock: "M5 9h10v7.500H5zM7 9V6.500a3 3 0 0 1 6 0V9",
  unlock: "M5 9h10v7.500H5zM7 9V6.500a3 3 0 0 1 5.800-1",
  trash: "M4 5.500h12M8 5.500V3.500h4v2M5.500 5.500l.8 11h7.400l.8-11M8.500 8.500v5M11.500 8.500v5",
  check: "M4 10.500 8.200 15 16 5.500",
  export: "M10 12.500V3.500M6.500 7 10 3.500 13.500 7M4 12.500v4h12v-4",
  help: "M7.500 7.500a2.500 2.500 0 1 1 3.700 2.200c-.8.400-1.200.900-1.200 1.800M10 14.500v.200M10 2.500a7.500 7.500 0 1 0 0 15 7.500 7.500 0 0 0 0-15z",
  sun: "M10 6.500a3.500 3.500 0 1 0 0 7 3.500 3.500 0 0 0 0-7zM10 2v1.500M10 16.500V18M2 10h1.500M16.500 10H18M4.300 4.300l1.100 1.100M14.600 14.600l1.100 1.100M15.700 4.300l-1.100 1.100M5.400 14.600l-1.100 1.100",
  moon: "M16.500 11.500A6.800 6.800 0 0 1 8.500 3.500a6.800 6.800 0 1 0 8 8z",
  people:
    "M7.500 4.500a2.500 2.500 0 1 0 0 5 2.500 2.500 0 0 0 0-5zM2.500 16c0-2.800 2.200-4.500 5-4.500s5 1.700 5 4.500M13 5a2.300 2.300 0 0 1 0 4.400M14.500 11.800c1.800.5 3 2 3 4.200",
  tag: "M3.500 3.500h6l7 7-6 6-7-7zM6.800 6.800v.100",
  tracks: "M3.500 6h4l5 8h4M3.500 14h4l1.500-2.500M11 8.500 12.500 6h4",
  film: "M3.500 4.500h13v11h-13zM6.500 4.500v11M13.500 4.500v11M3.500 8.200h3M3.500 11.800h3M13.500 8.200h3M13.500 11.800h3",
  close: "M5 5l10 10M15 5 5 15",
  pencil: "M4 16l.8-3.500L13 4.300l2.700 2.700-8.200 8.200zM11.500 5.800l2.700 2.700",
  fit: "M3 7.500V3h4.500M12.500 3H17v4.500M17 12.500V17h-4.500M7.500 17H3v-4.500",
  warning: "M10 3.500 2.500 16.500h15zM10 8.500v4M10 14.300v.200",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 18 }: { name: IconName; size?: number }) {
  return (
    <svg class="icon" width={size} height={size} viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

interface ButtonProps {
  icon: IconName;
  /** What it does; read aloud and shown as a tip, with its key. */
  label: string;
  keys?: string;
  pressed?: boolean;
  disabled?: boolean;
  text?: string;
  class?: string;
  size?: number;
  /** Shows the key at the button's corner. */
  hint?: boolean;
  onClick: (event: MouseEvent) => void;
}

export function IconButton(props: ButtonProps) {
  const { icon, label, keys, pressed, disabled, text, class: kind = "", size, hint, onClick } = props;
  return (
    <button
      type="button"
      class={`button ${text ? "" : "square"} ${kind}`}
      title={keys ? `${label} (${keys})` : label}
      aria-label={label}
      aria-keyshortcuts={keys?.replace("Ctrl", "Control")}
      aria-pressed={pressed}
      disabled={disabled}
      onClick={onClick}
    >
      <Icon name={icon} {...(size ? { size } : {})} />
      {text && <span>{text}</span>}
      {hint && keys && keys.length === 1 && (
        <span class="key-hint" aria-hidden="true">
          {keys}
        </span>
      )}
    </button>
  );
}
