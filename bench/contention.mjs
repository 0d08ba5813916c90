// usage: node contention.mjs BUILD_DIR MODELS_DIR [--runs N] [--results DIR]
// A core is taken: another process computes on one CPU and does nothing else. Two threads should then be no worse than one. Turns of
// one thread, two threads, and ONNX Runtime with two, all while that process runs. Needs taskset.
import { spawn } from 'node:child_process';
import path from 'node:path';
import * as b from './lib.mjs';

const { positional, options } = b.parseArgs(process.argv.slice(2), { runs: '12', results: '' });
const [build, models] = positional;
b.OnnxRuntime.load(models);

const cases = [
  { name: 'MiniLM-L6 @128', file: 'minilm-l6.onnx', spec: b.bert(128) },
  { name: 'MobileNetV2', file: 'mobilenetv2.onnx', spec: b.image('input', [1, 3, 224, 224]) },
  { name: 'PP-OCR rec 48x320', file: 'ppocr-rec.onnx', spec: b.image('x', [1, 3, 48, 320]) },
];
const csv = new b.Csv(options.results, 'contention.csv', ['model', 'turn', 'one_thread_ms', 'two_threads_ms', 'ort_two_threads_ms']);

await b.withScratch(async (scratch) => {
  const table = new b.Table(
    [['model', -20], ['1 thread', 9], ['2 threads', 9], ['p95', 7], ['x', 5], ['ORT 2', 7], ['p95', 7]],
    'ms, medians and p95, while another process takes a core; x: one thread / two threads of ours (at least 1 wanted)'
  );
  const hog = spawn('taskset', ['-c', '1', process.execPath, '-e', 'for (;;);'], { stdio: 'ignore' });
  try {
    for (const c of cases) {
      if (!b.present(models, c.file)) continue;
      const model = path.join(models, c.file);
      const inputs = b.makeInputs(c.spec);
      const one = new b.Ours(build, model, 1);
      const two = new b.Ours(build, model, 2);
      const theirs = await b.OnnxRuntime.create(model, 2);
      theirs.setInputs(inputs);
      for (const engine of [one, two]) await engine.setInputs(inputs, scratch);
      const n = b.burst(b.median(await one.bare(5)));
      await two.bare(n);
      await theirs.bare(3);
      const all = { one: [], two: [], ort: [] };
      for (let i = 0; i < Number(options.runs); i++) {
        const turn = { one: await one.bare(n), two: await two.bare(n), ort: await theirs.bare(n) };
        for (const [k, v] of Object.entries(turn)) all[k].push(...v);
        for (let k = 0; k < n; k++) csv.row(c.name, i, turn.one[k], turn.two[k], turn.ort[k]);
      }
      const m = (k) => b.median(all[k]);
      table.row([
        c.name, b.ms(m('one')), b.ms(m('two')), b.ms(b.p95(all.two)), b.times(m('one') / m('two')), b.ms(m('ort')), b.ms(b.p95(all.ort)),
      ]);
      for (const engine of [one, two, theirs]) await engine.end();
    }
  } finally {
    hog.kill();
  }
});
