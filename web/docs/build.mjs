// Puts what the page at /docs needs of Swagger UI into dist/, compressed; the server's build script embeds what it finds there.
import { readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const from = new URL("node_modules/swagger-ui-dist/", import.meta.url);
const to = new URL("dist/", import.meta.url);

// With the licences that have to go where the code goes.
for (const name of ["swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-bundle.js.LICENSE.txt", "LICENSE", "NOTICE"]) {
  // The maps of the sources are not shipped, so nobody is sent to look for them.
  const text = readFileSync(new URL(name, from), "utf8").replace(/\n?(\/\*# sourceMappingURL=[^*]*\*\/|\/\/# sourceMappingURL=\S*)\s*$/, "\n");
  writeFileSync(new URL(`${name}.gz`, to), gzipSync(text, { level: 9 }));
}
