// usage: node models.mjs BUILD_DIR MODELS_DIR [--runs N] [--threads 1,2] [--only NAME] [--csv FILE]
// Times each model in this engine and in ONNX Runtime in turn, run by run, in one go: only the ratios of one pair of runs count.
// Prints, per model: deviation of the results, medians of ONNX Runtime's warm run, the bare run, and the whole request (decode,
// plan, decrypt, run, wipe), with ratios. Needs onnxruntime-node in MODELS_DIR/node_modules.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { appendFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { readNpy, writeNpy } from "../tests/support/npy.mjs";

const args = process.argv.slice(2);
const flag = (name, otherwise) => {
  const i = args.indexOf("--" + name);
  return i < 0 ? otherwise : args.splice(i, 2)[1];
};
const runs = Number(flag("runs", "15"));
const threadCounts = flag("threads", "1,2").split(",").map(Number);
const only = flag("only", "");
const csv = flag("csv", "");
const [build, models] = args;
const ort = createRequire(path.resolve(models, "x.js"))("onnxruntime-node");

// Seeded, so that every run and both engines see the same numbers.
function generator(seed) {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
const image = (name, dims) => () => ({ [name]: { type: "float32", dims, fill: (r) => r() * 2 - 1 } });
const tokens = (n) => () => ({
  input_ids: { type: "int64", dims: [1, n], fill: (r) => Math.floor(r() * 30000) },
  attention_mask: { type: "int64", dims: [1, n], fill: () => 1 },
  token_type_ids: { type: "int64", dims: [1, n], fill: () => 0 },
});
const cases = [
  ["PP-OCR det 640x640", "ppocr-det.onnx", image("x", [1, 3, 640, 640])],
  ["PP-OCR rec 48x320", "ppocr-rec.onnx", image("x", [1, 3, 48, 320])],
  ["PP-OCR cls 48x192", "ppocr-cls.onnx", image("x", [1, 3, 48, 192])],
  ["MobileFaceNet", "mobilefacenet.onnx", image("input", [1, 3, 112, 112])],
  ["DenseNet-121", "densenet121.onnx", image("input", [1, 3, 224, 224])],
  ["MiniLM-L6 @32", "minilm-l6.onnx", tokens(32)],
  ["MiniLM-L6 @128", "minilm-l6.onnx", tokens(128)],
  ["MiniLM-L6 @256", "minilm-l6.onnx", tokens(256)],
  ["ResNet-50", "resnet50.onnx", image("input", [1, 3, 224, 224])],
  ["MobileNetV2", "mobilenetv2.onnx", image("input", [1, 3, 224, 224])],
];

function makeInputs(spec) {
  const out = {};
  for (const [name, { type, dims, fill }] of Object.entries(spec)) {
    const r = generator(dims.reduce((a, b) => a * 31 + b, 7));
    const n = dims.reduce((a, b) => a * b, 1);
    const data = type === "int64" ? BigInt64Array.from({ length: n }, () => BigInt(fill(r))) : Float32Array.from({ length: n }, () => fill(r));
    out[name] = { type, dims, data };
  }
  return out;
}

class Ours {
  constructor(model, threads) {
    this.process = spawn(path.join(build, "bench/eml-bench"), [model, String(threads)], { stdio: ["pipe", "pipe", "inherit"] });
    this.lines = createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
  }
  async ask(line) {
    this.process.stdin.write(line + "\n");
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`eml-bench ended at: ${line}`);
    return value;
  }
  end() {
    this.process.stdin.end();
  }
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const p95 = (list) => [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * 0.95))];
const rest = (ms) => new Promise((r) => setTimeout(r, ms));
const relTolerance = 1e-3;
const absTolerance = 1e-5;

function deviation(ours, theirs) {
  let maxAbs = 0;
  let maxRel = 0;
  let outside = 0;
  if (ours.length !== theirs.length) throw new Error(`lengths ${ours.length} and ${theirs.length}`);
  for (let i = 0; i < ours.length; i++) {
    const d = Math.abs(ours[i] - theirs[i]);
    maxAbs = Math.max(maxAbs, d);
    maxRel = Math.max(maxRel, d / (absTolerance / relTolerance + Math.abs(theirs[i])));
    if (!(d <= absTolerance + relTolerance * Math.abs(theirs[i]))) outside++;
  }
  return { maxAbs, maxRel, outside };
}

async function bench(name, file, spec, threads, scratch) {
  const model = path.join(models, file);
  const inputs = makeInputs(spec());
  const ours = new Ours(model, threads);
  const feeds = {};
  for (const [key, t] of Object.entries(inputs)) {
    const npy = path.join(scratch, "in.npy");
    writeNpy(npy, t);
    await ours.ask(`input ${key} ${npy}`);
    feeds[key] = new ort.Tensor(t.type, t.data, t.dims);
  }
  const created = process.hrtime.bigint();
  const session = await ort.InferenceSession.create(model, { intraOpNumThreads: threads, interOpNumThreads: 1 });
  const createMs = Number(process.hrtime.bigint() - created) / 1e6;
  await ours.ask(`write ${scratch}`);
  const first = await session.run(feeds);
  const deviations = session.outputNames.map((o, i) => deviation(readNpy(path.join(scratch, `${i}.npy`)).data, first[o].data));
  const samples = { ort: [], bare: [], request: [], open: [], wipe: [], exposure: [] };
  for (let i = -3; i < runs; i++) {
    const t0 = process.hrtime.bigint();
    await session.run(feeds);
    const ortMs = Number(process.hrtime.bigint() - t0) / 1e6;
    await rest(80); // ONNX Runtime's idle threads spin for a while: they must be asleep
    const bare = Number(await ours.ask("bare")) / 1e6;
    const [, open, wipe, total, exposure] = (await ours.ask("request")).split(" ").map((v) => Number(v) / 1e6);
    // The session was closed by the request: one run to assemble it again, not counted.
    await ours.ask("bare");
    if (i < 0) continue;
    for (const [k, v] of Object.entries({ ort: ortMs, bare, request: total, open, wipe, exposure })) samples[k].push(v);
    if (csv) appendFileSync(csv, [name, threads, i, ortMs, bare, total, open, wipe, exposure].join(",") + "\n");
  }
  const ready = Number(await ours.ask("ready")) / 1e6;
  const peakKib = Number(await ours.ask("peak"));
  ours.end();
  await session.release?.();
  return { name, threads, deviations, samples, createMs, ready, peakKib };
}

const pad = (s, n) => String(s).padStart(n);
const scratch = mkdtempSync(path.join(tmpdir(), "eml-bench-"));
if (csv) writeFileSync(csv, "model,threads,run,ort_ms,bare_ms,request_ms,open_ms,wipe_ms,exposure_ms\n");
let failed = 0;
try {
  console.log("medians in ms of alternating runs; x = ONNX Runtime's time / ours; +% = request over bare");
  console.log(`${"model".padEnd(20)} thr  max abs   max rel  ORT ms bare ms     x  request   +%     x   open   wipe  create  ready`);
  for (const threads of threadCounts) {
    const ratios = [];
    for (const [name, file, spec] of cases) {
      if (only && !name.includes(only)) continue;
      if (!existsSync(path.join(models, file))) {
        console.log(`${name.padEnd(20)} skipped: ${file} is not in ${models}`);
        continue;
      }
      const r = await bench(name, file, spec, threads, scratch);
      const m = Object.fromEntries(Object.entries(r.samples).map(([k, v]) => [k, median(v)]));
      const abs = Math.max(...r.deviations.map((d) => d.maxAbs));
      const rel = Math.max(...r.deviations.map((d) => d.maxRel));
      const outside = r.deviations.reduce((a, d) => a + d.outside, 0);
      failed += outside ? 1 : 0;
      ratios.push([median(r.samples.ort.map((v, i) => v / r.samples.bare[i])), median(r.samples.request.map((v, i) => v / r.samples.bare[i]))]);
      console.log(
        `${name.padEnd(20)} ${pad(threads, 3)} ${pad(abs.toExponential(1), 8)} ${pad(rel.toExponential(1), 9)} ${pad(m.ort.toFixed(2), 7)} ${pad(m.bare.toFixed(2), 7)}` +
          ` ${pad(ratios.at(-1)[0].toFixed(2), 5)} ${pad(m.request.toFixed(2), 8)} ${pad(((ratios.at(-1)[1] - 1) * 100).toFixed(0), 4)}` +
          ` ${pad(median(r.samples.ort.map((v, i) => v / r.samples.request[i])).toFixed(2), 5)} ${pad(m.open.toFixed(2), 6)} ${pad(m.wipe.toFixed(2), 6)}` +
          ` ${pad(r.createMs.toFixed(0), 7)} ${pad(r.ready.toFixed(2), 6)}${outside ? `  ${outside} ELEMENTS OUTSIDE rtol 1e-3 atol 1e-5` : ""}`
      );
      if (p95(r.samples.bare) > 2 * m.bare) console.log(`${"".padEnd(24)} noisy: p95 of bare ${p95(r.samples.bare).toFixed(2)} ms`);
    }
    const geo = (k) => Math.exp(ratios.reduce((a, r) => a + Math.log(r[k]), 0) / ratios.length);
    if (ratios.length > 1) console.log(`${"geometric mean".padEnd(20)} ${pad(threads, 3)} ${"".padEnd(36)}${pad(geo(0).toFixed(2), 5)} ${"".padEnd(8)} ${pad(((geo(1) - 1) * 100).toFixed(0), 4)}`);
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);
