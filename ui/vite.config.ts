import { defineConfig } from "vitest/config";

declare const process: { env: Record<string, string | undefined> };

// Names without hashes: the built files are committed, and a rebuild must give the same files under the same names.
const named = {
  entryFileNames: "assets/[name].js",
  chunkFileNames: "assets/[name].js",
  assetFileNames: "assets/[name][extname]",
};

export default defineConfig({
  base: "./",
  build: {
    outDir: "../src/keepsight/server/static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    cssCodeSplit: false,
    assetsInlineLimit: 0,
    rollupOptions: { input: { page: "index.html" }, output: { ...named, assetFileNames: "assets/page[extname]" } },
  },
  worker: { format: "es", rollupOptions: { output: named } },
  // The host stays the page's own: the server refuses what comes from pages of another origin.
  server: {
    proxy: { "/api": { target: process.env.KEEPSIGHT_SERVER ?? "http://127.0.0.1:8000", changeOrigin: false } },
  },
  test: { include: ["tests/**/*.test.ts"], environment: "node" },
});
