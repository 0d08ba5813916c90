// silero.mjs RUN_MODEL MODELS_DIR NODE_MODULES: Silero VAD v5 on a synthesised voice, chunk by chunk as it
// is meant to be used: each run gets the chunk with the end of the one before in front, and the state
// that the run before left. ONNX Runtime carries its state, we ours. Exit code 1 if any output or state is
// not within rtol 1e-3, atol 1e-5, or if the model does not hear the voice where it is.
import { join } from 'node:path';
import { deviation, feeds, floats, integers, onnxRuntime, ours, row, worst } from './ours.mjs';
import { voice } from './voice.mjs';

const [runModel, modelsDir, modulesDir] = process.argv.slice(2);
const ort = onnxRuntime(modulesDir);
const path = join(modelsDir, 'silero-v5.onnx');
const session = await ort.InferenceSession.create(path);
const text = '   aeiou saoeiu   suioae   ';

async function listen(rate) {
  const chunk = rate / 31.25, context = chunk / 8; // 512 and 64 samples at 16 kHz
  const samples = voice(rate, text);
  const found = [];
  let right = 0, chunks = 0;
  let ourState = floats([2, 1, 128], () => 0), theirState = ourState;
  for (let at = 0; at + chunk <= samples.length; at += chunk, chunks++) {
    const input = floats([1, context + chunk], (i) => samples[at + i - context] ?? 0);
    const sr = integers([], () => rate);
    const theirs = await session.run(feeds(ort, { input, state: theirState, sr }));
    const { outputs } = ours(runModel, path, { input, state: ourState, sr }, session.outputNames);
    found.push(deviation(outputs.output, theirs.output), deviation(outputs.stateN, theirs.stateN));
    ourState = outputs.stateN;
    theirState = { type: 'float32', data: theirs.stateN.data, dims: theirs.stateN.dims };
    const spoken = /[aeiou]/.test(text[Math.floor((at + chunk / 2) / (0.15 * rate))]);
    right += spoken === outputs.output.data[0] > 0.5;
  }
  const w = worst(found), heard = right >= 0.85 * chunks;
  row(['Silero v5', `${chunks} at ${rate} Hz`, '', w.abs.toExponential(1), w.rel.toExponential(1), '', '',
    w.bad ? `FAILED (${w.bad})` : heard ? `ok, right in ${right}` : `FAILED: right in ${right} only`]);
  return !w.bad && heard;
}

row(['model', 'chunks', '', 'max abs', 'max rel', '', '', '']);
const passed = [await listen(16000), await listen(8000)];
process.exitCode = passed.includes(false) ? 1 : 0;
