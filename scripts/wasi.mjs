// Runs a WASI program in Node's V8: `node --no-liftoff scripts/wasi.mjs PROGRAM.wasm [ARGUMENT...]`. Cargo's runner for
// the benches, set by benches/micro/run.mjs.

import { readFile } from "node:fs/promises";
import { argv, env, exit } from "node:process";
import { WASI } from "node:wasi";

const [program, ...args] = argv.slice(2);
// All it may touch: where criterion keeps what it measured.
const folder = env.CRITERION_HOME;
const wasi = new WASI({
  version: "preview1",
  args: [program, ...args],
  env: { CRITERION_HOME: folder },
  preopens: { [folder]: folder },
});
const module = await WebAssembly.compile(await readFile(program));
exit(wasi.start(await WebAssembly.instantiate(module, wasi.getImportObject())));
