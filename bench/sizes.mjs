// usage: node sizes.mjs BUILD_DIR MODELS_DIR [--runs N] [--threads 1] [--results DIR]
// How cost grows: with tokens and with texts in a request (MiniLM), and with the side of an image (PP-OCR detection). Turns of ONNX Runtime and ours, as models.mjs.
import path from 'node:path';
import * as b from './lib.mjs';

const { positional, options } = b.parseArgs(process.argv.slice(2), { runs: '5', threads: '1', results: '' });
const [build, models] = positional;
const threads = Number(options.threads);
b.OnnxRuntime.load(models);

const series = [
  { name: 'tokens', file: 'minilm-l6.onnx', sizes: [8, 16, 32, 64, 128, 256, 512], spec: (n) => b.bert(n) },
  { name: 'texts', file: 'minilm-l6.onnx', sizes: [1, 2, 4, 8, 16], spec: (n) => b.bert(32, n) },
  { name: 'image side', file: 'ppocr-det.onnx', sizes: [128, 192, 256, 384, 512, 640, 960], spec: (n) => b.image('x', [1, 3, n, n]) },
];
const csv = new b.Csv(options.results, 'sizes.csv', ['series', 'size', 'turn', 'ort_ms', 'bare_ms', 'request_ms']);

await b.withScratch(async (scratch) => {
  const table = new b.Table(
    [['series', -10], ['size', 5], ['ORT', 8], ['bare', 8], ['x', 5], ['request', 8], ['+%', 4]],
    `ms with ${threads} thread${threads > 1 ? 's' : ''}, medians; x: ONNX Runtime's time / ours; +%: request over bare`
  );
  for (const s of series) {
    if (!b.present(models, s.file)) continue;
    const model = path.join(models, s.file);
    const ours = new b.Ours(build, model, threads);
    const theirs = await b.OnnxRuntime.create(model, threads);
    for (const size of s.sizes) {
      const inputs = b.makeInputs(s.spec(size));
      await ours.setInputs(inputs, scratch);
      theirs.setInputs(inputs);
      const n = b.burst(b.median(await theirs.bare(3)));
      await ours.bare(n);
      const all = { ort: [], bare: [], request: [] };
      for (let i = 0; i < Number(options.runs); i++) {
        const ort = b.median(await theirs.bare(n));
        const bare = b.median(await ours.bare(n));
        const request = (await ours.numbers('request'))[3] / 1e6;
        await ours.bare(1);
        csv.row(s.name, size, i, ort, bare, request);
        for (const [k, v] of Object.entries({ ort, bare, request })) all[k].push(v);
      }
      const ratio = (k, l) => b.median(all[k].map((v, i) => v / all[l][i]));
      table.row([
        s.name, size, b.ms(b.median(all.ort)), b.ms(b.median(all.bare)), b.times(ratio('ort', 'bare')), b.ms(b.median(all.request)),
        b.percent(ratio('request', 'bare')),
      ]);
    }
    await ours.end();
    await theirs.end();
  }
});
