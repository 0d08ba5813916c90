// usage: node plot.mjs RESULTS_DIR
// Draws the CSV files there as SVG: latency by model, cost by tokens, by texts in a request, by image side, by model bytes, by sessions.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { median, quantile } from './lib.mjs';

const folder = process.argv[2];
const colours = ['#8a8f98', '#1f6feb', '#e3702a', '#2e9e6b'];
const width = 860;
const left = 70;
const right = 20;
const top = 50;

function read(name) {
  const file = path.join(folder, name);
  if (!existsSync(file)) return [];
  const [names, ...lines] = readFileSync(file, 'utf8').trim().split('\n').map((l) => l.split(','));
  return lines.map((l) => Object.fromEntries(names.map((n, i) => [n, l[i] !== '' && Number.isFinite(Number(l[i])) ? Number(l[i]) : l[i]])));
}

const escape = (s) => String(s).replace(/&/g, '&amp;').replace(/</g, '&lt;');
const text = (x, y, s, attributes = '') => `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escape(s)}</text>`;
const line = (x1, y1, x2, y2, stroke) => `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" stroke="${stroke}"/>`;
const number = (v) => (v >= 1e6 ? `${v / 1e6} M` : v >= 1000 ? `${v / 1000} k` : String(Number(v.toPrecision(2))));

function save(name, title, height, names, body) {
  const legend = names.map((n, i) => {
    const x = left + i * 170;
    return `<rect x="${x}" y="30" width="11" height="11" fill="${colours[i]}"/>` + text(x + 16, 40, n);
  });
  const svg = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    text(left, 20, title, 'font-size="14" font-weight="bold"'), ...legend, ...body, '</svg>', '',
  ];
  writeFileSync(path.join(folder, name), svg.join('\n'));
}

// Both axes logarithmic. series: [name, [[x, y], ...]].
function curves(name, title, xLabel, series) {
  const points = series.flatMap(([, p]) => p);
  if (points.length === 0) return;
  const height = 420;
  const bottom = height - 50;
  const range = (k) => [Math.min(...points.map((p) => p[k])), Math.max(...points.map((p) => p[k]))];
  const [x0, x1] = range(0);
  const [y0, y1] = [10 ** Math.floor(Math.log10(range(1)[0])), 10 ** Math.ceil(Math.log10(range(1)[1]))];
  const scale = (v, a, b, from, to) => from + (b > a ? Math.log(v / a) / Math.log(b / a) : 0.5) * (to - from);
  const px = (v) => scale(v, x0, x1, left + 15, width - right - 15);
  const py = (v) => scale(v, y0, y1, bottom, top + 15);
  const body = [line(left, bottom, width - right, bottom, '#333'), text(width / 2 - 40, height - 12, xLabel)];
  for (let v = y0; v <= y1 * 1.001; v *= 10) body.push(line(left, py(v), width - right, py(v), '#ddd'), text(left - 8, py(v) + 4, number(v), 'text-anchor="end"'));
  for (const v of new Set(series.flatMap(([, p]) => p.map((q) => q[0])))) body.push(text(px(v), bottom + 18, number(v), 'text-anchor="middle"'));
  series.forEach(([, p], i) => {
    const at = [...p].sort((a, b) => a[0] - b[0]).map(([x, y]) => [px(x), py(y)]);
    body.push(`<polyline points="${at.map((q) => q.map((v) => v.toFixed(1)).join(',')).join(' ')}" fill="none" stroke="${colours[i]}" stroke-width="2"/>`);
    for (const [x, y] of at) body.push(`<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="3" fill="${colours[i]}"/>`);
  });
  save(name, title, height, series.map(([n]) => n), body);
}

// Bars relative to ONNX Runtime's warm run, so that models of all sizes can be compared.
function latency(threads) {
  const rows = read('models-summary.csv').filter((r) => r.cipher === 'aes-256-gcm' && r.threads === threads);
  if (rows.length === 0) return;
  const step = 44;
  const height = top + rows.length * step + 40;
  const start = 170;
  const most = Math.min(3, Math.max(...rows.map((r) => Math.max(1, r.bare_ms / r.ort_ms, r.request_ms / r.ort_ms))));
  const px = (v) => start + (Math.min(v, most) / most) * (width - right - start - 60);
  const body = [line(px(1), top, px(1), height - 30, '#999')];
  rows.forEach((r, i) => {
    const y = top + 8 + i * step;
    body.push(text(start - 8, y + 20, r.model, 'text-anchor="end"'));
    [r.ort_ms, r.bare_ms, r.request_ms].forEach((v, k) => {
      const end = px(v / r.ort_ms);
      body.push(`<rect x="${start}" y="${y + k * 12}" width="${(end - start).toFixed(1)}" height="11" fill="${colours[k]}"/>`);
      body.push(text(end + 4, y + k * 12 + 10, `${v.toPrecision(3)} ms`, 'font-size="10"'));
    });
  });
  const title = `Latency, ${threads} thread${threads > 1 ? 's' : ''}: length relative to ONNX Runtime (cut at ${most.toFixed(1)}), medians`;
  save(`latency-${threads}.svg`, title, height, ['ONNX Runtime, warm', 'ours, bare', 'ours, whole request'], body);
}

function bySize(series, name, title, xLabel) {
  const rows = read('sizes.csv').filter((r) => r.series === series);
  const sizes = [...new Set(rows.map((r) => r.size))];
  const of = (k) => sizes.map((s) => [s, median(rows.filter((r) => r.size === s).map((r) => r[k]))]);
  curves(name, title, xLabel, [['ONNX Runtime, warm', of('ort_ms')], ['ours, bare', of('bare_ms')], ['ours, whole request', of('request_ms')]]);
}

function byBytes() {
  const again = ['MiniLM-L6 @32', 'MiniLM-L6 @256', 'MiniLM @128 bf16']; // a model once
  const rows = read('models-summary.csv').filter((r) => r.cipher === 'aes-256-gcm' && r.threads === 1 && !again.includes(r.model));
  const of = (f) => rows.map((r) => [Math.round(r.sealed_bytes / 1e5) / 10, Math.max(f(r), 0.01)]);
  curves('model-bytes.svg', 'Starting, by size of the sealed model, 1 thread, ms', 'MB', [
    ['ONNX Runtime: create', of((r) => r.create_ms)], ['ours: ready to run', of((r) => r.ready_ms)],
    ['request beyond bare', of((r) => r.request_ms - r.bare_ms)],
  ]);
}

function bySessions() {
  const rows = read('sessions.csv').filter((r) => r.mode === 'session');
  const counts = [...new Set(rows.map((r) => r.sessions))];
  const of = (f) => counts.map((n) => [n, f(rows.filter((r) => r.sessions === n))]);
  const rate = (r) => r.length / ((Math.max(...r.map((q) => q.start_us + q.total_us)) - Math.min(...r.map((q) => q.start_us))) / 1e6);
  const ms = (r, q) => quantile(r.map((v) => v.total_us / 1000), q);
  curves('sessions.svg', 'Sessions at once, MiniLM @128 through host and enclave', 'sessions', [
    ['requests per second', of(rate)], ['median, ms', of((r) => ms(r, 0.5))], ['p99, ms', of((r) => ms(r, 0.99))],
  ]);
}

for (const threads of new Set(read('models-summary.csv').map((r) => r.threads))) latency(threads);
bySize('texts', 'texts.svg', 'MiniLM @32 by texts in a request, ms', 'texts');
bySize('tokens', 'tokens.svg', 'MiniLM by length of the text, ms', 'tokens');
bySize('image side', 'image-side.svg', 'PP-OCR detection by side of the image, ms', 'pixels');
byBytes();
bySessions();
