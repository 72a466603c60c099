/** Light or dark: the system's wish until the person says otherwise. */

import { signal } from "@preact/signals";

const wish = matchMedia("(prefers-color-scheme: dark)");
const stored = () => {
  try {
    return localStorage.getItem("keepsight-theme");
  } catch {
    return null; // storage may be forbidden; the system's wish then counts
  }
};

export const dark = signal(true);

function apply(): void {
  const own = stored();
  dark.value = own ? own === "dark" : wish.matches;
  document.documentElement.dataset.theme = dark.value ? "dark" : "light";
}

export function startTheme(): void {
  apply();
  wish.addEventListener("change", apply);
}

export function switchTheme(): void {
  try {
    localStorage.setItem("keepsight-theme", dark.peek() ? "light" : "dark");
    apply();
  } catch {
    dark.value = !dark.peek();
    document.documentElement.dataset.theme = dark.peek() ? "dark" : "light";
  }
}
