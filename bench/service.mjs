// usage: node service.mjs BUILD_DIR MODELS_DIR [--seconds N] [--sessions 1,2,4,8,16] [--threads N] [--turns N] [--parts stages,neighbours,throughput,batches,memory] [--results DIR]
// The whole way on loopback: clients, eml-hostd, eml-enclaved-dev (the enclave with a development NSM), MiniLM at 128 tokens.
// First where the time of one request goes, against a bare run of the same model; then what a tenant notices of another who uses all
// that it may; then how many requests per second come through with ever more sessions at once, and texts with ever more in a
// request; then the memory of a worker.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import path from 'node:path';
import { writeNpy } from '../tests/support/npy.mjs';
import * as b from './lib.mjs';

const { positional, options } = b.parseArgs(process.argv.slice(2), { seconds: '8', sessions: '1,2,4,8,16', threads: '', turns: '6', parts: 'stages,neighbours,throughput,batches,memory', results: '' });
const [build, models] = positional;
const program = (name) => path.resolve(build, name);
const file = 'minilm-l6.onnx';
const inputs = b.makeInputs(b.bert(128));
const threads = Number(options.threads) || Math.max(1, Number(spawnSync('nproc', { encoding: 'utf8' }).stdout));

function run(name, ...args) {
  const done = spawnSync(program(name), args, { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (done.status !== 0) throw new Error(`${name} ${args[0]}: ${done.stderr}`);
  return done.stdout;
}

async function until(condition, what) {
  for (let i = 0; i < 500; i++) {
    if (await condition()) return;
    await new Promise((r) => setTimeout(r, 20));
  }
  throw new Error(`${what} did not come`);
}

const freePort = () =>
  new Promise((r) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => r(port));
    });
  });

const answers = (port) =>
  new Promise((r) => {
    const socket = createConnection(port, '127.0.0.1', () => r(socket.end() && true));
    socket.on('error', () => r(false));
  });

class Services {
  constructor(dir) {
    this.dir = dir;
    this.children = [];
  }
  at(name) {
    return path.join(this.dir, name);
  }
  start(name, args, env = {}) {
    const log = openSync(this.at(`${path.basename(name)}.log`), 'a');
    const child = spawn(program(name), args, { stdio: ['ignore', 'ignore', log], env: { ...process.env, ...env } });
    this.children.push(child);
    return child;
  }
  async begin() {
    run('mock/pki/eml-devpki', this.at('pki'));
    writeFileSync(this.at('pcrs.json'), run('mock/pki/eml-devpki', '--pcrs', program('enclave/eml-enclaved-dev')));
    run('client/cli/eml', 'policy', '--measurements', this.at('pcrs.json'), '--root', this.at('pki/root.pem'), '-o', this.at('policy.json'));
    const port = await freePort();
    const [enclave, service] = ['enclave.sock', 'service.sock'].map((n) => 'unix:' + this.at(n));
    this.host = `tcp:127.0.0.1:${port}`;
    this.start('host/eml-hostd', ['--listen', this.host, '--enclave', enclave, '--service', service, '--store', this.at('store')]);
    this.enclave = this.start('enclave/eml-enclaved-dev', ['--listen', enclave, '--host', service, '--threads', String(threads)], { EML_DEV_PKI: this.at('pki') });
    await until(() => existsSync(this.at('enclave.sock')), 'the enclave');
    await until(() => answers(port), 'the host');
  }
  publish() {
    mkdirSync(this.at('model'));
    run('client/cli/eml', 'decompose', path.join(models, file), '-o', this.at('model'));
    run('client/cli/eml', 'push', this.at('model'), '--host', this.host);
    this.inputs = this.files(inputs, '');
    this.long = this.files(b.makeInputs(b.bert(512)), 'long-');
  }
  files(tensors, prefix) {
    return Object.entries(tensors).map(([name, tensor]) => {
      writeNpy(this.at(`${prefix}${name}.npy`), tensor);
      return `${name}=${this.at(`${prefix}${name}.npy`)}`;
    });
  }
  // How long each result waited for its record to be durable, in the order of the requests, since the last call.
  durable() {
    const text = readFileSync(this.at('eml-enclaved-dev.log'), 'utf8');
    const all = [...text.matchAll(/event=durable class="ok" session=\d+ us=(\d+)/g)].map((m) => Number(m[1]));
    const fresh = all.slice(this.seen ?? 0);
    this.seen = all.length;
    return fresh;
  }
  // Rows of eml-load, as objects of numbers.
  load(sessions, seconds, mode, inputs = this.inputs) {
    const args = [this.host, this.at('policy.json'), this.at('model/topology.key'), String(sessions), String(seconds), mode, ...inputs];
    return new Promise((resolve, reject) => {
      const child = spawn(program('bench/eml-load'), args, { stdio: ['ignore', 'pipe', 'inherit'] });
      let text = '';
      child.stdout.on('data', (d) => (text += d));
      child.on('close', (code) => {
        if (code !== 0) return reject(new Error(`eml-load: ${code}`));
        const [names, ...lines] = text.trim().split('\n').map((l) => l.split(','));
        resolve(lines.map((l) => Object.fromEntries(names.map((n, i) => [n, Number(l[i])]))));
      });
    });
  }
  async end() {
    for (const child of this.children) {
      const ended = new Promise((r) => child.once('exit', r));
      if (child.exitCode === null && child.kill()) await ended;
    }
  }
}

// ---- where the time of one request goes ----

async function stages(services, scratch) {
  const engine = new b.Ours(build, path.join(models, file), threads);
  await engine.setInputs(inputs, scratch);
  await engine.bare(5);
  const csv = new b.Csv(options.results, 'stages.csv', ['mode', 'turn', 'stage', 'us']);
  const columns = {};
  services.durable();
  for (const mode of ['request', 'again', 'session']) {
    const all = { bare: [] };
    for (let turn = 0; turn < Number(options.turns); turn++) {
      for (const ms of await engine.bare(10)) all.bare.push(ms * 1000);
      const rows = await services.load(1, 1, mode);
      const durable = services.durable().slice(-rows.length); // of requests in a row the first was not counted
      for (const [i, r] of rows.entries()) {
        const enclave = r.weights_us + r.assemble_us + r.run_us + r.wipe_us;
        const split = {
          'connection, evidence, verification': r.attest_us, 'key exchange': r.handshake_us, 'sealed weights': r.weights_us,
          'decode, plan, open': r.assemble_us, run: r.run_us, 'wipe of the weights': r.wipe_us, 'receipt, until its record is durable': durable[i],
          'records, relay, checks of the client': r.total_us - r.attest_us - r.handshake_us - enclave - durable[i],
          'all but the run': r.total_us - r.run_us, total: r.total_us,
        };
        for (const [stage, us] of Object.entries(split)) {
          (all[stage] ??= []).push(us);
          csv.row(mode, turn, stage, us);
        }
      }
    }
    for (const us of all.bare) csv.row(mode, '', 'bare', us);
    columns[mode] = all;
  }
  await engine.end();
  const modes = Object.keys(columns);
  const table = new b.Table([['stage', -38], ...modes.flatMap((m) => [[m, 8], ['p95', 8], ['%', 5]])],
    `one client, MiniLM @128, ${threads} threads: medians and p95 in ms; %: median, of the median of bare runs in the same turns\n` +
      'request: a session for each request; again: requests of request mode, one after the other in a session; session: the model stays in clear');
  for (const stage of Object.keys(columns.request))
    table.row([stage, ...modes.flatMap((m) => {
      const [mid, bare] = [b.median(columns[m][stage]), b.median(columns[m].bare)];
      return [b.ms(mid / 1000), b.ms(b.p95(columns[m][stage]) / 1000), b.fixed((mid / bare) * 100, 1)];
    })]);
}

// ---- one tenant beside another who burns all that it may ----

async function neighbours(services) {
  const csv = new b.Csv(options.results, 'neighbours.csv', ['mode', 'beside', 'turn', 'total_us']);
  const table = new b.Table([['mode', -8], ['beside', -28], ['requests', 8], ['median', 8], ['p95', 8], ['p99', 8], ['p99 / alone', 11]],
    'a tenant with MiniLM @128, alone and beside one that asks for MiniLM @512 without a pause, in turns; ms');
  for (const mode of ['session', 'request']) {
    const times = { nobody: [], 'a tenant burning its budget': [] };
    for (let turn = 0; turn < Number(options.turns); turn++) {
      for (const [beside, list] of Object.entries(times)) {
        const hostile = beside === 'nobody' ? Promise.resolve() : services.load(1, 3, 'session', services.long);
        if (beside !== 'nobody') await new Promise((r) => setTimeout(r, 500));
        for (const r of await services.load(1, 2, mode)) {
          list.push(r.total_us / 1000);
          csv.row(mode, beside, turn, r.total_us);
        }
        await hostile;
      }
    }
    for (const [beside, list] of Object.entries(times))
      table.row([mode, beside, list.length, b.ms(b.median(list)), b.ms(b.p95(list)), b.ms(b.quantile(list, 0.99)),
        b.times(b.quantile(list, 0.99) / b.quantile(times.nobody, 0.99))]);
  }
}

// ---- throughput ----

async function throughput(services) {
  const csv = new b.Csv(options.results, 'sessions.csv', ['mode', 'sessions', 'session', 'start_us', 'total_us', 'run_us']);
  const table = new b.Table(
    [['mode', -8], ['sessions', 8], ['requests/s', 10], ['median', 8], ['p95', 8], ['p99', 8], ['max', 8], ['fairness', 8]],
    'throughput, MiniLM @128; ms as the client sees them; fairness: fewest requests of a session / most'
  );
  for (const mode of ['request', 'session']) {
    for (const sessions of options.sessions.split(',').map(Number)) {
      const rows = await services.load(sessions, Number(options.seconds), mode);
      for (const r of rows) csv.row(mode, sessions, r.session, r.start_us, r.total_us, r.run_us);
      const ends = Math.max(...rows.map((r) => r.start_us + r.total_us));
      const starts = Math.min(...rows.map((r) => r.start_us));
      const total = rows.map((r) => r.total_us / 1000);
      const each = Array.from({ length: sessions }, (_, i) => rows.filter((r) => r.session === i).length);
      table.row([
        mode, sessions, b.fixed(rows.length / ((ends - starts) / 1e6), 1), b.ms(b.median(total)), b.ms(b.p95(total)),
        b.ms(b.quantile(total, 0.99)), b.ms(Math.max(...total)), b.times(Math.min(...each) / Math.max(...each)),
      ]);
    }
  }
}

// ---- several texts in a request ----

async function batches(services) {
  const csv = new b.Csv(options.results, 'batches.csv', ['turn', 'texts', 'total_us', 'run_us']);
  const table = new b.Table([['texts', -5], ['requests', 8], ['median', 8], ['p95', 8], ['texts/s', 8]],
    'request mode, one session, MiniLM @32, several texts in a request, in turns; ms');
  const sizes = [1, 2, 4, 8, 16];
  const files = sizes.map((n) => services.files(b.makeInputs(b.bert(32, n)), `${n}-`));
  const all = sizes.map(() => []);
  for (let turn = 0; turn < Number(options.turns); turn++) {
    for (const [i, texts] of sizes.entries()) {
      for (const r of await services.load(1, 1, 'again', files[i])) {
        all[i].push(r.total_us / 1000);
        csv.row(turn, texts, r.total_us, r.run_us);
      }
    }
  }
  for (const [i, list] of all.entries())
    table.row([sizes[i], list.length, b.ms(b.median(list)), b.ms(b.p95(list)), b.fixed((sizes[i] * 1000) / b.median(list), 1)]);
}

// ---- memory ----

// Private memory of a worker, sealed weights (which all workers share) aside.
function anonymousKib(pid) {
  try {
    return Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
  } catch {
    return 0; // it has ended
  }
}

// Children that serve a session: with a client they have two sockets; those that wait for one have one.
function workers(pid) {
  const sockets = (child) => readdirSync(`/proc/${child}/fd`).filter((fd) => readlinkSync(`/proc/${child}/fd/${fd}`).startsWith('socket:')).length;
  const serves = (child) => {
    try {
      return sockets(child) >= 2;
    } catch {
      return false; // it has ended
    }
  };
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).filter(serves);
  } catch {
    return [];
  }
}

async function memory(services) {
  const csv = new b.Csv(options.results, 'memory.csv', ['mode', 'peak_kib']);
  for (const mode of ['request', 'session']) {
    await until(() => workers(services.enclave.pid).length === 0, 'the end of the workers before');
    let peak = 0;
    const timer = setInterval(() => {
      for (const pid of workers(services.enclave.pid)) peak = Math.max(peak, anonymousKib(pid));
    }, 1);
    await services.load(1, 4, mode);
    clearInterval(timer);
    csv.row(mode, peak);
    console.log(`private memory of a worker in ${mode} mode, highest of samples 1 ms apart: ${b.fixed((peak * 1024) / 1e6, 1)} MB`);
  }
}

if (b.present(models, file)) {
  await b.withScratch(async (dir) => {
    const services = new Services(dir);
    try {
      await services.begin();
      services.publish();
      await services.load(1, 1, 'request'); // the enclave's cache has the sealed weights from here on
      const parts = options.parts.split(',');
      if (parts.includes('stages')) await stages(services, dir);
      if (parts.includes('neighbours')) await neighbours(services);
      if (parts.includes('throughput')) await throughput(services);
      if (parts.includes('batches')) await batches(services);
      if (parts.includes('memory')) await memory(services);
    } finally {
      await services.end();
    }
  });
}
