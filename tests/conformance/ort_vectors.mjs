// ort_vectors.mjs NODE_MODULES DIR: runs ONNX Runtime on every DIR/*/model.onnx with the tensors of
// inputs.json beside it and writes outputs.json. Called by ort_vectors.py, which makes the inputs.
import { createRequire } from 'node:module';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const [modulesDir, dir] = process.argv.slice(2);
const ort = createRequire(join(resolve(modulesDir), 'x.js'))('onnxruntime-node');
const arrays = {
  float32: Float32Array, int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array,
  int32: Int32Array, int64: BigInt64Array, bool: Uint8Array, float64: Float64Array,
  uint32: Uint32Array, uint64: BigUint64Array,
};

for (const name of readdirSync(dir)) {
  const at = join(dir, name);
  const inputs = JSON.parse(readFileSync(join(at, 'inputs.json'), 'utf8'));
  const feeds = {};
  try {
    for (const [input, { type, dims, data }] of Object.entries(inputs)) {
      const bytes = Uint8Array.from(Buffer.from(data, 'base64'));
      feeds[input] = new ort.Tensor(type, new arrays[type](bytes.buffer), dims);
    }
    const session = await ort.InferenceSession.create(join(at, 'model.onnx'), { graphOptimizationLevel: 'disabled', logSeverityLevel: 3 });
    const results = await session.run(feeds);
    const outputs = session.outputNames.map((o) => {
      const { type, dims, data } = results[o];
      return { name: o, type, dims, data: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64') };
    });
    writeFileSync(join(at, 'outputs.json'), JSON.stringify(outputs));
  } catch (e) {
    console.error(`${name}: ${String(e.message).split('\n')[0]}`);
  }
}
