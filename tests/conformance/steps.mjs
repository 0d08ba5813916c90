// steps.mjs RUN_MODEL MODELS_DIR NODE_MODULES: the int8 MiniLM step by step. The model is cut before every
// quantiser; each part gets what ONNX Runtime (without its optimisations) computed before it, so that no
// rounding is carried on. Exit code 1 if a part's result is not within rtol 1e-3, atol 1e-5.
import { join } from 'node:path';
import { bert, deviation, feeds, floats, onnxRuntime, ours, row, worst } from './ours.mjs';

const [runModel, modelsDir, modulesDir] = process.argv.slice(2);
const ort = onnxRuntime(modulesDir);
const path = join(modelsDir, 'minilm-l6-int8-steps.onnx');
const session = await ort.InferenceSession.create(path, { graphOptimizationLevel: 'disabled' });
const cuts = session.inputMetadata.filter((i) => i.name.startsWith('in_'));

async function compare(inputs) {
  const [b, s] = inputs.input_ids.dims;
  const all = { ...inputs };
  for (const { name, shape } of cuts) all[name] = floats([b, s, shape[2]], () => 0);
  let theirs;
  for (let k = 0; k <= cuts.length; k++) { // out_k depends on in_0 ... in_(k-1)
    theirs = await session.run(feeds(ort, all));
    if (k < cuts.length) all[`in_${k}`] = { type: 'float32', data: theirs[`out_${k}`].data, dims: theirs[`out_${k}`].dims };
  }
  const { outputs } = ours(runModel, path, all, session.outputNames);
  const w = worst(session.outputNames.map((o) => deviation(outputs[o], theirs[o])));
  row(['MiniLM-L6 int8', `${b}x${s}`, `${cuts.length} cuts`, w.abs.toExponential(1), w.rel.toExponential(1), '', '',
    w.bad ? `FAILED (${w.bad})` : 'ok']);
  return !w.bad;
}

row(['model', 'input', 'parts', 'max abs', 'max rel', '', '', '']);
const passed = [];
for (const inputs of [bert(1, 128), bert(1, 17), bert(3, 40, 11)]) passed.push(await compare(inputs));
process.exitCode = passed.includes(false) ? 1 : 0;
