// What the comparisons with ONNX Runtime share: running a model of ours, comparing, printing.
import { createRequire } from 'node:module';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { tmpdir } from 'node:os';
import { readNpy, writeNpy } from '../support/npy.mjs';

const dir = mkdtempSync(join(tmpdir(), 'eml-compare-'));
process.on('exit', () => rmSync(dir, { recursive: true }));

export function onnxRuntime(modulesDir) {
  return createRequire(join(resolve(modulesDir), 'x.js'))('onnxruntime-node');
}

export function random(seed) {
  let s = seed >>> 0;
  return () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s / 4294967296;
  };
}
const count = (dims) => dims.reduce((a, b) => a * b, 1);
export function floats(dims, f) {
  return { type: 'float32', data: Float32Array.from({ length: count(dims) }, (_, i) => f(i)), dims };
}
export function integers(dims, f) {
  return { type: 'int64', data: BigInt64Array.from({ length: count(dims) }, (_, i) => BigInt(f(i))), dims };
}
export function tokens(dims, below, seed = 1) {
  const r = random(seed);
  return integers(dims, () => Math.floor(r() * below));
}
export const bert = (b, s, pad = 0) => ({
  input_ids: tokens([b, s], 30522),
  attention_mask: integers([b, s], (i) => (i % s < s - pad ? 1 : 0)),
  token_type_ids: integers([b, s], (i) => (i % s > s / 2 ? 1 : 0)),
});

// Runs the program run-model: { stats, outputs } with the outputs in the model's order.
export function ours(runModel, path, inputs, outputs, options = []) {
  const args = [path, dir, ...options.map(String)];
  for (const [name, t] of Object.entries(inputs)) {
    const file = join(dir, `${name}.npy`);
    writeNpy(file, t);
    args.push(`${name}=${file}`);
  }
  const stats = JSON.parse(execFileSync(runModel, args, { stdio: ['ignore', 'pipe', 'pipe'] }));
  return { stats, outputs: Object.fromEntries(outputs.map((name, i) => [name, readNpy(join(dir, `output_${i}.npy`))])) };
}
export function feeds(ort, inputs) {
  return Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, new ort.Tensor(t.type, t.data, t.dims)]));
}

// Largest differences, and how many elements are not within rtol 1e-3, atol 1e-5 (and what may come on top).
export function deviation(a, b, spread = 0) {
  if (a.dims.join() !== b.dims.join()) return { abs: Infinity, rel: Infinity, bad: -1 };
  let abs = 0, rel = 0, bad = 0;
  for (let i = 0; i < b.data.length; i++) {
    const x = Number(a.data[i]), y = Number(b.data[i]);
    const d = Math.abs(x - y);
    abs = Math.max(abs, d);
    rel = Math.max(rel, d / (Math.abs(y) + 1e-2));
    if (!(d <= 1e-5 + 1e-3 * Math.abs(y) + spread)) bad++;
  }
  return { abs, rel, bad };
}
export function worst(list) {
  return list.reduce((w, d) => ({ abs: Math.max(w.abs, d.abs), rel: Math.max(w.rel, d.rel), bad: w.bad || d.bad }), { abs: 0, rel: 0, bad: 0 });
}
export function row(c) {
  console.log(c.map((v, i) => String(v).padEnd([14, 15, 10, 9, 9, 9, 9, 0][i])).join(' ').trimEnd());
}
