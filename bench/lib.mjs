// What the benchmarks share: inputs made of seeded numbers, the co-process, ONNX Runtime, statistics, CSV.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import { appendFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { writeNpy } from '../tests/support/npy.mjs';

// ---- command line: positional arguments and --name value ----

export function parseArgs(argv, defaults) {
  const options = { ...defaults };
  const positional = [];
  for (let i = 0; i < argv.length; i++) {
    if (!argv[i].startsWith('--')) positional.push(argv[i]);
    else if (argv[i].slice(2) in defaults) options[argv[i].slice(2)] = argv[++i];
    else throw new Error(`unknown option ${argv[i]}`);
  }
  return { positional, options };
}

// ---- inputs: the same numbers for both engines, in every run ----

function generator(seed) {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const floats = (dims, scale = 1) => ({ type: 'float32', dims, fill: (r) => (r() * 2 - 1) * scale });
const integers = (dims, fill) => ({ type: 'int64', dims, fill });

export const image = (name, dims) => ({ [name]: floats(dims) });
export const bert = (n, texts = 1) => ({
  input_ids: integers([texts, n], (r) => Math.floor(r() * 30000)),
  attention_mask: integers([texts, n], () => 1),
  token_type_ids: integers([texts, n], () => 0),
});
export const gpt2 = (n) => ({ input_ids: integers([1, n], (r) => Math.floor(r() * 50000)) });
export const silero = () => ({ input: floats([1, 512], 0.3), state: floats([2, 1, 128], 0), sr: integers([], () => 16000) });

export function makeInputs(spec) {
  const out = {};
  for (const [name, { type, dims, fill }] of Object.entries(spec)) {
    const r = generator(dims.reduce((a, b) => a * 31 + b, 7));
    const length = dims.reduce((a, b) => a * b, 1);
    const data = type === 'int64' ? BigInt64Array.from({ length }, () => BigInt(fill(r))) : Float32Array.from({ length }, () => fill(r));
    out[name] = { type, dims, data };
  }
  return out;
}

// ---- the two engines ----

export class Ours {
  constructor(build, model, threads, options = []) {
    this.process = spawn(path.join(build, 'bench/eml-bench'), [...options, model, String(threads)], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.lines = createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
  }
  async ask(line) {
    this.process.stdin.write(line + '\n');
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`eml-bench ended at: ${line}`);
    return value;
  }
  async numbers(line) {
    return (await this.ask(line)).split(' ').map(Number);
  }
  async setInputs(inputs, scratch) {
    for (const [name, tensor] of Object.entries(inputs)) {
      const file = path.join(scratch, 'in.npy');
      writeNpy(file, tensor);
      await this.ask(`input ${name} ${file}`);
    }
  }
  // Milliseconds of n runs in a row.
  async bare(n) {
    return (await this.numbers(`bare ${n}`)).map((ns) => ns / 1e6);
  }
  // The same of whole requests.
  async requests(n) {
    return (await this.numbers(`requests ${n}`)).map((ns) => ns / 1e6);
  }
  async end() {
    const ended = new Promise((r) => this.process.once('exit', r));
    this.process.stdin.end();
    await ended;
  }
}

export const nowMs = () => Number(process.hrtime.bigint()) / 1e6;

export class OnnxRuntime {
  static load(models) {
    OnnxRuntime.ort = createRequire(path.resolve(models, 'x.js'))('onnxruntime-node');
  }
  static async create(model, threads) {
    const self = new OnnxRuntime();
    const start = nowMs();
    self.session = await OnnxRuntime.ort.InferenceSession.create(model, { intraOpNumThreads: threads, interOpNumThreads: 1 });
    self.createMs = nowMs() - start;
    return self;
  }
  setInputs(inputs) {
    this.feeds = {};
    for (const [name, t] of Object.entries(inputs)) this.feeds[name] = new OnnxRuntime.ort.Tensor(t.type, t.data, t.dims);
  }
  async outputs() {
    const result = await this.session.run(this.feeds);
    return this.session.outputNames.map((name) => result[name].data);
  }
  // Milliseconds of n runs in a row. Idle threads of ONNX Runtime spin for a while: they are asleep when this returns.
  async bare(n) {
    const ms = [];
    for (let i = 0; i < n; i++) {
      const start = nowMs();
      await this.session.run(this.feeds);
      ms.push(nowMs() - start);
    }
    await new Promise((r) => setTimeout(r, 60));
    return ms;
  }
  async end() {
    await this.session.release?.();
  }
}

// Runs in a row of one engine before the other has its turn: about 30 ms, so that short runs find warm caches and threads.
export const burst = (ms) => Math.max(1, Math.min(50, Math.round(30 / Math.max(ms, 0.05))));

// ---- numbers ----

const sorted = (list) => [...list].sort((a, b) => a - b);
export const quantile = (list, q) => sorted(list)[Math.min(list.length - 1, Math.floor(list.length * q))];
export const median = (list) => quantile(list, 0.5);
export const p95 = (list) => quantile(list, 0.95);
export const geometricMean = (list) => Math.exp(list.reduce((a, v) => a + Math.log(v), 0) / list.length);

const relTolerance = 1e-3;
const absTolerance = 1e-5;
export function deviation(ours, theirs) {
  const d = { maxAbs: 0, maxRel: 0, outside: 0 };
  if (ours.length !== theirs.length) throw new Error(`lengths ${ours.length} and ${theirs.length}`);
  for (let i = 0; i < ours.length; i++) {
    const abs = Math.abs(ours[i] - theirs[i]);
    d.maxAbs = Math.max(d.maxAbs, abs);
    d.maxRel = Math.max(d.maxRel, abs / (absTolerance / relTolerance + Math.abs(theirs[i])));
    if (!(abs <= absTolerance + relTolerance * Math.abs(theirs[i]))) d.outside++;
  }
  return d;
}

// ---- tables and files ----

// columns: [title, width]; a negative width aligns left.
export class Table {
  constructor(columns, note) {
    this.columns = columns;
    console.log(note);
    this.row(columns.map((c) => c[0]));
  }
  row(cells) {
    const text = this.columns.map(([, width], i) => {
      const cell = String(cells[i] ?? '');
      return width < 0 ? cell.padEnd(-width) : cell.padStart(width);
    });
    console.log(text.join(' ').trimEnd());
  }
}

export const fixed = (v, digits) => (Number.isFinite(v) ? v.toFixed(digits) : '-');
export const ms = (v) => fixed(v, v < 0.1 ? 4 : v < 1 ? 3 : 2);
export const times = (v) => fixed(v, 2);
export const percent = (v) => fixed((v - 1) * 100, 0);

// Raw samples; nothing is written if there is no folder.
// RFC 4180: what holds a comma or a quote stands in quotes.
function quoted(cell) {
  const text = String(cell);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export class Csv {
  constructor(folder, name, columns) {
    this.file = folder ? path.join(folder, name) : '';
    if (this.file) writeFileSync(this.file, columns.join(',') + '\n');
  }
  row(...cells) {
    if (this.file) appendFileSync(this.file, cells.map(quoted).join(',') + '\n');
  }
}

export function withScratch(work) {
  const dir = mkdtempSync(path.join(tmpdir(), 'eml-bench-'));
  return work(dir).finally(() => rmSync(dir, { recursive: true, force: true }));
}

export function present(models, file) {
  if (existsSync(path.join(models, file))) return true;
  console.log(`skipped: ${file} is not in ${models}`);
  return false;
}
