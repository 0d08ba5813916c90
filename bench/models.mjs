// usage: node models.mjs BUILD_DIR MODELS_DIR [--runs N] [--rounds N] [--threads 1,2] [--only NAME] [--cipher NAME,...] [--results DIR]
// Times each model in this engine and in ONNX Runtime in turn, in one go: a turn is a burst of runs of one, then of the other, then of
// whole requests (decode, plan, decrypt, run, wipe), then decryption alone of as many bytes; the latter three for each cipher. Ratios are
// medians over turns of the ratio within a turn. Every round starts both engines anew. Needs onnxruntime-node in MODELS_DIR/node_modules.
import path from 'node:path';
import { readNpy } from '../tests/support/npy.mjs';
import * as b from './lib.mjs';

const { positional, options } = b.parseArgs(process.argv.slice(2), { runs: '10', rounds: '2', threads: '1,2', only: '', cipher: 'aes-256-gcm,aegis-256x4', results: '' });
const [build, models] = positional;
const ciphers = options.cipher.split(',');
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
  'model', 'threads', 'cipher', 'round', 'turn', 'ort_ms', 'bare_ms', 'request_ms', 'decrypt_ms', 'open_ms', 'wipe_ms', 'exposure_ms',
]);
const summary = new b.Csv(options.results, 'models-summary.csv', [
  'model', 'threads', 'cipher', 'ort_ms', 'ort_p95_ms', 'bare_ms', 'bare_p95_ms', 'bare_ratio', 'request_ms', 'request_p95_ms', 'request_over_bare',
  'request_ratio', 'decrypt_ms', 'floor_over_bare', 'request_over_floor', 'create_ms', 'ready_ms', 'exposure_ms', 'opened_bytes', 'window_bytes', 'arena_request_bytes', 'topology_bytes',
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

async function turn(ours, ort, s, n) {
  const bare = await ours.bare(n);
  const requests = await ours.requests(n);
  const [, open, wipe, , exposure, opened, window] = await ours.numbers('request');
  const [decrypt] = await ours.numbers(`decrypt ${opened}`);
  await ours.bare(1); // the request closed the session: one run to open it again, not counted
  s.ort.push(...ort);
  s.bare.push(...bare);
  s.request.push(...requests);
  for (const [k, ns] of Object.entries({ open, wipe, exposure, decrypt })) s[k].push(ns / 1e6);
  const request = b.median(requests);
  const floor = b.median(bare) + decrypt / 1e6;
  s.bareRatio.push(b.median(ort) / b.median(bare));
  s.requestRatio.push(b.median(ort) / request);
  s.requestOverBare.push(request / b.median(bare));
  s.floorOverBare.push(floor / b.median(bare));
  s.requestOverFloor.push(request / floor);
  s.bytes.opened = opened;
  s.bytes.window = window;
}

// Each cipher has its own process of ours and its own samples.
async function round(c, threads, number, samples, scratch) {
  const model = path.join(models, c.file);
  const inputs = b.makeInputs(c.spec);
  const theirs = await b.OnnxRuntime.create(model, threads);
  theirs.setInputs(inputs);
  const n = b.burst(b.median(await theirs.bare(5)));
  const ours = [];
  for (const s of samples) {
    const o = new b.Ours(build, model, threads, ['--cipher', s.cipher, ...(c.bf16 ? ['--bf16'] : [])]);
    ours.push(o);
    await o.setInputs(inputs, scratch);
    s.bytes.arena = (await o.numbers('request'))[7]; // before any run that keeps weights
    [s.bytes.topology, s.bytes.sealed] = await o.numbers('size');
    s.create.push(theirs.createMs);
    s.deviation = await compare(o, theirs, scratch);
    await o.bare(n);
  }
  for (let i = 0; i < Number(options.runs); i++) {
    const ort = await theirs.bare(n);
    for (const [k, s] of samples.entries()) {
      await turn(ours[k], ort, s, n);
      const last = ['decrypt', 'open', 'wipe', 'exposure'].map((name) => s[name].at(-1));
      for (let j = s.ort.length - n; j < s.ort.length; j++) csv.row(c.name, threads, s.cipher, number, i, s.ort[j], s.bare[j], s.request[j], ...last);
    }
  }
  for (const [k, s] of samples.entries()) {
    for (let i = 0; i < 5; i++) s.ready.push((await ours[k].numbers('ready'))[0] / 1e6);
    await ours[k].end();
  }
  await theirs.end();
}

const lists = [
  'ort', 'bare', 'request', 'decrypt', 'open', 'wipe', 'exposure', 'create', 'ready', 'bareRatio', 'requestRatio', 'requestOverBare', 'floorOverBare',
  'requestOverFloor',
];

async function measure(c, threads, scratch) {
  const samples = ciphers.map((cipher) => ({ cipher, bytes: {}, ...Object.fromEntries(lists.map((k) => [k, []])) }));
  for (let i = 0; i < Number(options.rounds); i++) await round(c, threads, i, samples, scratch);
  return samples;
}

function print(table, c, threads, s) {
  const m = Object.fromEntries(Object.entries(s).filter(([, v]) => Array.isArray(v)).map(([k, v]) => [k, b.median(v)]));
  table.row([
    c.name, s.cipher.slice(0, 5), threads, s.deviation.maxAbs.toExponential(0), s.deviation.maxRel.toExponential(0), b.ms(m.ort), b.ms(b.p95(s.ort)), b.ms(m.bare),
    b.ms(b.p95(s.bare)), b.times(m.bareRatio), b.ms(m.request), b.percent(m.requestOverBare), b.times(m.requestRatio), b.ms(m.decrypt), b.percent(m.floorOverBare),
    b.times(m.requestOverFloor), b.fixed(m.create, 0), b.fixed(m.ready, 2), b.fixed(m.create / m.ready, 0), b.fixed(s.bytes.arena / 1e6, 0),
  ]);
  summary.row(
    c.name, threads, s.cipher, m.ort, b.p95(s.ort), m.bare, b.p95(s.bare), m.bareRatio, m.request, b.p95(s.request), m.requestOverBare, m.requestRatio,
    m.decrypt, m.floorOverBare, m.requestOverFloor, m.create, m.ready, m.exposure, s.bytes.opened, s.bytes.window, s.bytes.arena, s.bytes.topology, s.bytes.sealed, s.deviation.maxAbs,
    s.deviation.maxRel, s.deviation.outside
  );
  return [m.bareRatio, m.requestOverBare, m.create / m.ready, m.floorOverBare, m.requestOverFloor];
}

let failed = 0;
await b.withScratch(async (scratch) => {
  const table = new b.Table(
    [
      ['model', -18], ['AEAD', -5], ['thr', 3], ['abs', 5], ['rel', 5], ['ORT', 7], ['p95', 7], ['bare', 7], ['p95', 7], ['x', 5], ['request', 7], ['+%', 4],
      ['x', 5], ['AEAD', 6], ['floor', 5], ['x', 5], ['create', 6], ['ready', 6], ['x', 5], ['MB', 4],
    ],
    "ms, medians and p95; abs, rel: largest deviation; x: ONNX Runtime's time / ours; +%: request over bare; AEAD: decryption alone of as many bytes; floor: bare + AEAD, over bare in %; x: request / floor; MB: a request's own memory"
  );
  for (const threads of options.threads.split(',').map(Number)) {
    const ratios = ciphers.map(() => []);
    for (const c of cases) {
      if (!c.name.includes(options.only) || !b.present(models, c.file)) continue;
      for (const [k, s] of (await measure(c, threads, scratch)).entries()) {
        const r = print(table, c, threads, s);
        if (c.bf16) continue;
        ratios[k].push(r);
        if (s.deviation.outside > 0) {
          console.log(`${s.deviation.outside} ELEMENTS OUTSIDE rtol 1e-3 atol 1e-5`);
          failed++;
        }
      }
    }
    for (const [k, of] of ratios.entries()) {
      if (of.length < 2) continue;
      const label = (name) => [name, ciphers[k].slice(0, 5), threads, '', '', '', '', '', ''];
      const mean = [0, 1, 2, 3, 4].map((i) => b.geometricMean(of.map((r) => r[i])));
      const floor = [b.percent(mean[3]), b.times(mean[4])];
      table.row([...label('geometric mean'), b.times(mean[0]), '', b.percent(mean[1]), '', '', ...floor, '', '', b.fixed(mean[2], 0)]);
      table.row([...label('slowest'), b.times(Math.min(...of.map((r) => r[0])))]);
    }
  }
});
process.exit(failed ? 1 : 0);
