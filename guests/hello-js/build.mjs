// node build.mjs <http.wit> <out.wasm>: makes a component of the app.js beside it.

import { componentize } from '@bytecodealliance/componentize-js';
import { readFile, writeFile } from 'node:fs/promises';

const [wit, out] = process.argv.slice(2);
const source = await readFile(new URL('app.js', import.meta.url), 'utf8');
const { component } = await componentize(source, {
  sourceName: 'app.js',
  witPath: wit,
  worldName: 'http',
  // The engine's own http server is not used; its client has to stay, or wasi:http goes with it.
  disableFeatures: ['fetch-event'],
});
await writeFile(out, component);
