import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

/** Where `npm run dev` finds a server, started with `postrider serve --dev`. */
const SERVER = process.env["POSTRIDER_URL"] ?? "http://127.0.0.1:8080";

export default defineConfig({
  // The page works under any path prefix.
  base: "./",
  plugins: [svelte()],
  build: {
    outDir: "build",
    target: "es2022",
    // Everything is a file of its own: the policy of the page lets nothing stand in markup.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      output: {
        // A few files for pages that are used together: seventy small ones would take a seventh more, compressed each by itself.
        codeSplitting: {
          groups: [
            { name: "chart", test: /uplot/, priority: 5 },
            { name: "vendor", test: /node_modules/, priority: 4 },
            { name: "kit", test: /src\/(lib|gen|shell)\//, priority: 4 },
            { name: "start", test: /src\/pages\/[Ss]tart/, priority: 3 },
            { name: "watch", test: /src\/pages\/([Dd]eliver|[Ee]vent[s./]|Event\.|PushEvent|[Dd]ead-?[Ll]etters|Jobs)/, priority: 2 },
            { name: "pages", test: /src\/pages\/(?!Overview|KeyEntry|Nowhere)/, priority: 1 },
          ],
        },
      },
    },
  },
  server: { proxy: { "^/(postrider\\.v1|webhook)\\.": SERVER } },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
