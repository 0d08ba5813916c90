// usage: node models.mjs BUILD_DIR MODELS_DIR [--runs N] [--rounds N] [--threads 1,2] [--only NAME] [--results DIR]
// Times each model in this engine and in ONNX Runtime in turn, in one go: a turn is a burst of runs of one, then of the other, then a
// whole request (decode, plan, decrypt, run, wipe). Ratios are medians over turns of the ratio within a turn. Every round starts both
// engines anew. Needs onnxruntime-node in MODELS_DIR/node_modules.
import path from 'node:path';
import { readNpy } from '../tests/support/npy.mjs';
import * as b from './lib.mjs';

const { positional, options } = b.parseArgs(process.argv.slice(2), { runs: '10', rounds: '2', threads: '1,2', only: '', results: '' });
const [build, models] = positional;
b.OnnxRuntime.load(models);

// A bf16 row is not part of the geometric mean, and its deviation is that of the weights: it was reported when they were rounded.
const cases = [
  { name: 'PP-OCR det 640x640', file: 'ppocr-det.onnx', spec: b.image('x', [1, 3, 640, 640]) },
  { name: 'PP-OCR rec 48x320', file: 'ppocr-rec.onnx', spec: b.image('x', [1, 3, 48, 320]) },
  { name: 'PP-OCR cls 48x192', file: 'ppocr-cls.onnx', spec: b.image('x', [1, 3, 48, 192]) },
  { name: 'MobileFaceNet', file: 'mobilefacenet.onnx', spec: b.image('input', [1, 3, 112, 112]) },
  { name: 'DenseNet-121', file: 'densenet121.onnx', spec: b.image('input', [1, 3, 224, 224]) },
  { name: 'Silero v5 chunk', file: 'silero-v5.onnx', spec: b.silero() },
  { name: 'MiniLM-L6 @32', file: 'minilm-l6.onnx', spec: b.bert(32) },
  { name: 'MiniLM-L6 @128', file: 'minilm-l6.onnx', spec: b.bert(128) },
  { name: 'MiniLM-L6 @256', file: 'minilm-l6.onnx', spec: b.bert(256) },
  { name: 'ResNet-50', file: 'resnet50.onnx', spec: b.image('input', [1, 3, 224, 224]) },
  { name: 'MobileNetV2', file: 'mobilenetv2.onnx', spec: b.image('input', [1, 3, 224, 224]) },
  { name: 'GPT-2 @32', file: 'gpt2-small.onnx', spec: b.gpt2(32) },
  { name: 'MiniLM @128 bf16', file: 'minilm-l6.onnx', spec: b.bert(128), bf16: true },
];

const csv = new b.Csv(options.results, 'models.csv', [
  'model', 'threads', 'round', 'turn', 'ort_ms', 'bare_ms', 'request_ms', 'open_ms', 'wipe_ms', 'exposure_ms',
]);
const summary = new b.Csv(options.results, 'models-summary.csv', [
  'model', 'threads', 'ort_ms', 'ort_p95_ms', 'bare_ms', 'bare_p95_ms', 'bare_ratio', 'request_ms', 'request_p95_ms', 'request_over_bare',
  'request_ratio', 'create_ms', 'ready_ms', 'exposure_ms', 'opened_bytes', 'window_bytes', 'arena_request_bytes', 'topology_bytes',
  'sealed_bytes', 'max_abs', 'max_rel', 'outside',
]);

async function compare(ours, theirs, scratch) {
  await ours.ask(`write ${scratch}`);
  const want = await theirs.outputs();
  const all = want.map((data, i) => b.deviation(readNpy(path.join(scratch, `${i}.npy`)).data, data));
  return {
    maxAbs: Math.max(...all.map((d) => d.maxAbs)),
    maxRel: Math.max(...all.map((d) => d.maxRel)),
    outside: all.reduce((a, d) => a + d.outside, 0),
  };
}

async function turn(ours, theirs, s, n) {
  const ort = await theirs.bare(n);
  const bare = await ours.bare(n);
  const [, open, wipe, total, exposure, opened, window] = await ours.numbers('request');
  await ours.bare(1); // the request closed the session: one run to open it again, not counted
  s.ort.push(...ort);
  s.bare.push(...bare);
  for (const [k, ns] of Object.entries({ open, wipe, request: total, exposure })) s[k].push(ns / 1e6);
  s.bareRatio.push(b.median(ort) / b.median(bare));
  s.requestOverBare.push(total / 1e6 / b.median(bare));
  s.requestRatio.push(b.median(ort) / (total / 1e6));
  s.bytes.opened = opened;
  s.bytes.window = window;
}

async function round(c, threads, number, s, scratch) {
  const model = path.join(models, c.file);
  const inputs = b.makeInputs(c.spec);
  const ours = new b.Ours(build, model, threads, c.bf16 ? ['--bf16'] : []);
  await ours.setInputs(inputs, scratch);
  s.bytes.arena = (await ours.numbers('request'))[7]; // before any run that keeps weights
  [s.bytes.topology, s.bytes.sealed] = await ours.numbers('size');
  const theirs = await b.OnnxRuntime.create(model, threads);
  s.create.push(theirs.createMs);
  theirs.setInputs(inputs);
  s.deviation = await compare(ours, theirs, scratch);
  const n = b.burst(b.median(await theirs.bare(5)));
  await ours.bare(n);
  for (let i = 0; i < Number(options.runs); i++) {
    await turn(ours, theirs, s, n);
    const last = (k) => s[k].at(-1);
    for (let k = s.ort.length - n; k < s.ort.length; k++)
      csv.row(c.name, threads, number, i, s.ort[k], s.bare[k], last('request'), last('open'), last('wipe'), last('exposure'));
  }
  for (let i = 0; i < 5; i++) s.ready.push((await ours.numbers('ready'))[0] / 1e6);
  await ours.end();
  await theirs.end();
}

async function measure(c, threads, scratch) {
  const lists = ['ort', 'bare', 'request', 'open', 'wipe', 'exposure', 'create', 'ready', 'bareRatio', 'requestOverBare', 'requestRatio'];
  const s = Object.fromEntries(lists.map((k) => [k, []]));
  s.bytes = {};
  for (let i = 0; i < Number(options.rounds); i++) await round(c, threads, i, s, scratch);
  return s;
}

function print(table, c, threads, s) {
  const m = Object.fromEntries(Object.entries(s).filter(([, v]) => Array.isArray(v)).map(([k, v]) => [k, b.median(v)]));
  table.row([
    c.name, threads, s.deviation.maxAbs.toExponential(0), s.deviation.maxRel.toExponential(0), b.ms(m.ort), b.ms(b.p95(s.ort)), b.ms(m.bare),
    b.ms(b.p95(s.bare)), b.times(m.bareRatio), b.ms(m.request), b.percent(m.requestOverBare), b.times(m.requestRatio), b.fixed(m.create, 0),
    b.fixed(m.ready, 2), b.fixed(m.create / m.ready, 0), b.fixed(s.bytes.arena / 1e6, 0),
  ]);
  summary.row(
    c.name, threads, m.ort, b.p95(s.ort), m.bare, b.p95(s.bare), m.bareRatio, m.request, b.p95(s.request), m.requestOverBare, m.requestRatio,
    m.create, m.ready, m.exposure, s.bytes.opened, s.bytes.window, s.bytes.arena, s.bytes.topology, s.bytes.sealed, s.deviation.maxAbs,
    s.deviation.maxRel, s.deviation.outside
  );
  return [m.bareRatio, m.requestOverBare, m.create / m.ready];
}

let failed = 0;
await b.withScratch(async (scratch) => {
  const table = new b.Table(
    [
      ['model', -20], ['thr', 3], ['abs', 5], ['rel', 5], ['ORT', 7], ['p95', 7], ['bare', 7], ['p95', 7], ['x', 5], ['request', 7], ['+%', 4],
      ['x', 5], ['create', 6], ['ready', 6], ['x', 5], ['MB', 4],
    ],
    "ms, medians and p95; abs, rel: largest deviation; x: ONNX Runtime's time / ours; +%: request over bare; MB: a request's own memory"
  );
  for (const threads of options.threads.split(',').map(Number)) {
    const ratios = [];
    for (const c of cases) {
      if (!c.name.includes(options.only) || !b.present(models, c.file)) continue;
      const s = await measure(c, threads, scratch);
      const r = print(table, c, threads, s);
      if (c.bf16) continue;
      ratios.push(r);
      if (s.deviation.outside > 0) {
        console.log(`${s.deviation.outside} ELEMENTS OUTSIDE rtol 1e-3 atol 1e-5`);
        failed++;
      }
    }
    if (ratios.length < 2) continue;
    const mean = [0, 1, 2].map((k) => b.geometricMean(ratios.map((r) => r[k])));
    table.row(['geometric mean', threads, '', '', '', '', '', '', b.times(mean[0]), '', b.percent(mean[1]), '', '', '', b.fixed(mean[2], 0)]);
    const slowest = Math.min(...ratios.map((r) => r[0]));
    table.row(['slowest', threads, '', '', '', '', '', '', b.times(slowest)]);
  }
});
process.exit(failed ? 1 : 0);
