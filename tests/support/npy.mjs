// NumPy files for the scripts that compare with ONNX Runtime: tensors {type, dims, data} of float32 and int64.
import { readFileSync, writeFileSync } from 'node:fs';

export function writeNpy(file, { type, dims, data }) {
  const shape = dims.length === 1 ? `${dims[0]},` : dims.join(', ');
  let header = `{'descr': '${type === 'float32' ? '<f4' : '<i8'}', 'fortran_order': False, 'shape': (${shape}), }`;
  header = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11) + '\n';
  const head = Buffer.alloc(10);
  head.write('\x93NUMPY\x01\x00', 'latin1');
  head.writeUInt16LE(header.length, 8);
  writeFileSync(file, Buffer.concat([head, Buffer.from(header, 'latin1'), Buffer.from(data.buffer, data.byteOffset, data.byteLength)]));
}

export function readNpy(file) {
  const bytes = readFileSync(file);
  const start = 10 + bytes.readUInt16LE(8);
  const header = bytes.subarray(10, start).toString('latin1');
  const dims = /'shape': \(([^)]*)\)/.exec(header)[1].split(',').filter((s) => s.trim()).map(Number);
  const body = bytes.buffer.slice(bytes.byteOffset + start, bytes.byteOffset + bytes.length);
  if (header.includes('<f4')) return { type: 'float32', dims, data: new Float32Array(body) };
  if (header.includes('<i8')) return { type: 'int64', dims, data: new BigInt64Array(body) };
  throw new Error(`${file}: neither float32 nor int64`);
}
