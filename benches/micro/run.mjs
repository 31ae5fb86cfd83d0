// Runs the benches natively and in Node's V8, and reports both side by side: `scripts/bench micro`.

import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release } from "node:os";
import { dirname, join, resolve } from "node:path";
import process, { env, versions } from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const usage = `What the parts of the filter cost, natively and inside a WebAssembly VM.

  scripts/bench micro [--quick]

  --quick   a minute instead of six, with wider intervals
  --help    this text`;

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

// Envoy starts its V8 with this flag: every function is compiled by the optimizing compiler, none by the baseline one.
const v8Flags = ["--no-liftoff"];
const platforms = {
  native: { cargo: [], environment: {} },
  wasm: {
    cargo: ["--target", "wasm32-wasip1"],
    environment: {
      // Split at blanks by cargo, and relative to the package's root, where cargo starts it.
      CARGO_TARGET_WASM32_WASIP1_RUNNER: `node ${v8Flags.join(" ")} --no-warnings scripts/wasi.mjs`,
    },
  },
};

// Resampling is most of the time at criterion's own 100,000, and tells nothing more of so few samples.
const thorough = ["--warm-up-time", "1", "--measurement-time", "4", "--sample-size", "50", "--nresamples", "10000"];
const quick = ["--warm-up-time", "0.2", "--measurement-time", "0.5", "--sample-size", "20", "--nresamples", "5000"];

// What must hold inside the VM, in nanoseconds, by the id of the bench.
const bounds = new Map([
  // Long text at 1.5 GB/s, and what is dense with escapes, numbers and small fields at 400 MB/s.
  ["body/prose, model first/220 KB", 147_000],
  ["body/prose, model first/1 MB", 667_000],
  ["body/image/20 MB", 13_300_000],
  ["body/escapes, model first/220 KB", 550_000],
  ["body/unicode escapes/220 KB", 550_000],
  ["body/small fields/220 KB", 550_000],
  ["body/token ids/220 KB", 550_000],
  ["exposition/parse and map/vLLM, 52 KB", 60_000],
  ["decision/default profile/10", 5_000],
  ["decision/default profile/100", 20_000],
  ["decision/default profile/1000", 150_000],
]);

// One run of the benches on a platform, by cargo.
function benches(platform, folder, criterion, stdout) {
  const { cargo, environment } = platforms[platform];
  // Without the feature `filter`, so that the program for the VM is one of WASI.
  const target = ["--package", "endpoint-picker", "--bench", "micro", "--no-default-features", ...cargo];
  const home = join(folder, "criterion", platform);
  mkdirSync(home, { recursive: true });
  const output = execFileSync("cargo", ["bench", "--locked", "--quiet", ...target, "--", ...criterion], {
    cwd: root,
    encoding: "utf8",
    env: { ...env, ...environment, CRITERION_HOME: home },
    stdio: ["ignore", stdout, "inherit"],
  });
  return { output, home };
}

// The ids of all benches, in the order of the code.
function list(folder) {
  const { output } = benches("native", folder, ["--list"], "pipe");
  const ids = [...output.matchAll(/^(.+): benchmark$/gm)].map(([, id]) => id);
  for (const id of bounds.keys()) {
    if (!ids.includes(id)) throw new Error(`there is a bound for "${id}", and no such bench`);
  }
  return ids;
}

// What criterion found on one platform, by id.
function measure(platform, folder, ids, options) {
  console.log(`\n== bench: micro, ${platform}`);
  const { home } = benches(platform, folder, ["--noplot", "--quiet", ...options], "inherit");
  const found = new Map();
  for (const file of readdirSync(home, { recursive: true })) {
    if (!file.endsWith(join("new", "benchmark.json"))) continue;
    const read = (name) => JSON.parse(readFileSync(join(home, dirname(file), name), "utf8"));
    const { full_id, throughput } = read("benchmark.json");
    // The median of the samples: the one that a neighbour on the machine disturbs least.
    const { point_estimate, confidence_interval } = read("estimates.json").median;
    found.set(full_id, {
      bytes: throughput?.Bytes,
      nanoseconds: point_estimate,
      interval: [confidence_interval.lower_bound, confidence_interval.upper_bound],
    });
  }
  for (const id of ids) {
    if (!found.has(id)) throw new Error(`"${id}" was not measured, ${platform}`);
  }
  return found;
}

function facts(started, options) {
  const output = (command, ...args) => execFileSync(command, args, { cwd: root, encoding: "utf8" }).trim();
  const revision = () => {
    try {
      return output("git", "describe", "--always", "--dirty", "--abbrev=12");
    } catch {
      return "unknown";
    }
  };
  return {
    kind: "micro",
    started,
    command: ["scripts/bench micro", ...options].join(" "),
    revision: revision(),
    rustc: output("rustc", "--version"),
    node: versions.node,
    v8: [versions.v8, ...v8Flags].join(" "),
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    // The benches keep one core busy. What goes beyond were neighbours, which slow them down.
    load: Number(loadavg()[1].toFixed(1)),
    kernel: release(),
  };
}

// `number` to three digits, in the largest unit that it fills.
function scaled(number, units) {
  const step = Math.min(Math.max(Math.floor(Math.log10(number) / 3), 0), units.length - 1);
  const value = number / 1000 ** step;
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${units[step]}`;
}

const time = (nanoseconds) => scaled(nanoseconds, ["ns", "µs", "ms", "s"]);
const rate = ({ bytes, nanoseconds }) =>
  bytes === undefined ? "" : scaled((bytes * 1e9) / nanoseconds, ["B/s", "KB/s", "MB/s", "GB/s"]);

// As Markdown, which is as readable.
function table(results) {
  const head = ["part", "native", "", "Wasm VM", "", "VM / native", "bound in the VM"];
  const body = results.map(({ id, native, wasm, bound }) => [
    id.replaceAll("/", ": "),
    time(native.nanoseconds),
    rate(native),
    time(wasm.nanoseconds),
    rate(wasm),
    (wasm.nanoseconds / native.nanoseconds).toFixed(2),
    bound === undefined ? "" : `${time(bound)}: ${wasm.nanoseconds <= bound ? "held" : "EXCEEDED"}`,
  ]);
  const widths = head.map((_, column) => Math.max(3, ...[head, ...body].map((row) => row[column].length)));
  const line = (cells) => `| ${cells.join(" | ")} |`;
  const padded = (row) => row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at]) : cell.padStart(widths[at])));
  const rule = widths.map((width, at) => (at === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  return [padded(head), rule, ...body.map(padded)].map(line).join("\n");
}

function main() {
  const { values } = parseArgs({ options: { quick: { type: "boolean" }, help: { type: "boolean" } } });
  if (values.help) {
    console.log(usage);
    return;
  }
  const started = new Date().toISOString().replace(/\.\d+/, "");
  const folder = join(root, "reports", `micro-${started.replaceAll(":", "-")}`);
  const ids = list(folder);
  const options = values.quick ? quick : thorough;
  const native = measure("native", folder, ids, options);
  const wasm = measure("wasm", folder, ids, options);

  const what = facts(started, values.quick ? ["--quick"] : []);
  const results = ids.map((id) => ({ id, native: native.get(id), wasm: wasm.get(id), bound: bounds.get(id) }));
  const text = table(results);
  const told = `micro bench of ${what.started}
${what.command}
revision ${what.revision}, ${what.rustc}
Wasm VM: V8 ${what.v8} in Node ${what.node}
${what.cpu}, ${what.cores} cores, load ${what.load} over five minutes, Linux ${what.kernel}
`;
  writeFileSync(join(folder, "report.json"), `${JSON.stringify({ facts: what, results }, null, 2)}\n`);
  writeFileSync(join(folder, "report.txt"), `${told}\n${text}\n`);
  console.log(`\n${told}\n${text}\n\nReport: ${folder}`);
}

try {
  main();
} catch (error) {
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
}
