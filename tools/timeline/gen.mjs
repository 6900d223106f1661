// Writes synthetic pages for the timeline: node gen.mjs OUT.html [kind] [events]
// Kinds: demo (default) and the degenerate ones in `degenerate` below.
import fs from 'node:fs';

const NONE = 0xffffffff;
let seed = 12345;
const rand = () => ((seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 4294967296);
const between = (a, b) => a + rand() * (b - a);
const lognormal = (median, spread) => median * Math.exp(spread * Math.sqrt(-2 * Math.log(rand() + 1e-12)) * Math.cos(6.2831853 * rand()));

class Heap {
  constructor() { this.a = []; this.n = 0; }
  push(time, what) {
    const a = this.a, item = { time, seq: this.n++, what };
    let i = a.length; a.push(item);
    while (i > 0) { const p = (i - 1) >> 1; if (before(a[p], item)) break; a[i] = a[p]; i = p; }
    a[i] = item;
  }
  pop() {
    const a = this.a, top = a[0], last = a.pop();
    if (a.length) {
      let i = 0;
      for (;;) { let c = 2 * i + 1; if (c >= a.length) break; if (c + 1 < a.length && before(a[c + 1], a[c])) c++; if (before(last, a[c])) break; a[i] = a[c]; i = c; }
      a[i] = last;
    }
    return top;
  }
}
const before = (x, y) => x.time < y.time || (x.time === y.time && x.seq < y.seq);

const WAITS = ['counter', 'mutex', 'event', 'channel', 'io', 'timer'];
const CAUSES = ['searching', 'no work', 'work queued elsewhere (wake-up)', 'all waiting for jobs', 'all waiting for locks', 'parked by limit'];
const JOBS = ['frame', 'input', 'animation', 'skin mesh', 'physics', 'broad phase', 'solve island', 'contacts', 'ai', 'path query', 'culling',
  'cull cell', 'record commands', 'draw batch', 'submit', 'audio mix', 'decode texture', 'decompress block', 'particles', 'emit'];

// Simulates a fork/join job system on `workers` workers and returns the data as plain columns.
export function simulate({ events = 20000, workers = 8, frames = 120 } = {}) {
  const names = [...JOBS], places = [], site = { name: [], place: [] };
  JOBS.forEach((n, i) => { places.push(`src/${['game', 'anim', 'physics', 'render', 'stream'][i % 5]}/${n.replace(/ /g, '_')}.rs:${12 + i * 17}:${5 + (i % 4) * 4}`); site.name.push(i); site.place.push(i); });
  const waitPlace = places.length; places.push('src/game/frame.rs:88:19', 'src/stream/cache.rs:140:27', 'src/render/submit.rs:61:9');
  const S = Object.fromEntries(JOBS.map((n, i) => [n, i]));
  const perFrame = Math.max(10, events * 0.45 / frames / 1.02);
  const fan = (share) => Math.max(1, Math.round(perFrame * share));
  // The budget of work of a frame: about 70% of all workers' time.
  const unit = 16.67e6 * workers * 0.62 / perFrame;
  const leaf = (s, scale = 1) => ({ site: s, segs: [{ dur: Math.max(1, Math.round(lognormal(unit * scale * 0.75, 0.7))), kids: [] }], prio: 1 });
  const fork = (s, kids) => ({ site: s, prio: 1, segs: [{ dur: unit * between(0.3, 0.8), kids, wait: 0 }, { dur: unit * between(0.2, 0.6), kids: [] }] });
  const group = (s, child, n, per, grand) => { // n leaves under sub-jobs of `per`
    const kids = [];
    for (let left = n; left > 0; left -= per) kids.push(n > per * 2 ? fork(child, Array.from({ length: Math.min(per, left) }, () => leaf(grand))) : leaf(child));
    return fork(s, kids);
  };
  const frameJob = (heavy) => ({ site: S.frame, prio: 0, frame: true, segs: [
    { dur: unit * 0.5, kids: [leaf(S.input, 2)], wait: 0 },
    { dur: unit * 0.4, kids: [group(S.animation, S['skin mesh'], fan(0.2 * heavy), 16, S['skin mesh']), group(S.physics, S['broad phase'], fan(0.24 * heavy), 12, S['solve island']), group(S.ai, S['path query'], fan(0.1), 8, S['path query'])], wait: 0, span: 'simulate' },
    { dur: unit * 0.4, kids: [group(S.culling, S['cull cell'], fan(0.13), 20, S['cull cell']), group(S.particles, S.emit, fan(0.06), 10, S.emit)], wait: 0, span: 'visibility' },
    { dur: unit * 0.4, kids: [group(S['record commands'], S['draw batch'], fan(0.16 * heavy), 14, S['draw batch'])], wait: 0, span: 'record' },
    { dur: unit * 1.5, kids: [{ ...leaf(S.submit, 3), prio: 0 }], wait: 0, span: 'submit' }, { dur: unit * 0.3, kids: [] }] });

  const heap = new Heap(), ready = [[], [], [], []];
  const W = Array.from({ length: workers }, (_, i) => ({ i, idle: true, since: 0, run: -1 }));
  const freeFibers = []; let fiberTop = 0;
  const R = { track: [], start: [], end: [], fiber: [], site: [], begin: [], finish: [], priority: [], wait: [], wait_place: [], cause: [], cause_at: [], critical: [] };
  const G = { track: [], start: [], end: [], cause: [] }, P = { track: [], start: [], end: [], name: [], fiber: [], depth: [] };
  const F = { start: [], end: [], number: [] }, values = [[], []];
  const spanName = (t) => { let i = names.indexOf(t); if (i < 0) { i = names.length; names.push(t); } return i; };
  let queued = 0;
  const makeReady = (t, job) => { ready[job.prio].push(job); queued++; const w = W.find((w) => w.idle && !w.waking); if (w) { w.waking = true; heap.push(t + between(800, 9000), { k: 'wake', w }); } };
  const nextJob = () => { for (const q of ready) if (q.length) { queued--; return q.length > 64 && rand() < 0.5 ? q.shift() : q.pop(); } };
  const gap = (w, a, b, cause) => { if (b > a) { G.track.push(w.i); G.start.push(a); G.end.push(b); G.cause.push(cause); } };
  function idleGap(w, t) {
    const len = t - w.since; if (len <= 0) return;
    const spin = Math.min(len, 4000); gap(w, w.since, w.since + spin, 0);
    if (len > spin) { const tail = Math.min(len - spin, 3000); gap(w, w.since + spin, t - tail, w.i === 7 && rand() < 0.1 ? 4 : rand() < 0.6 ? 1 : 3); gap(w, t - tail, t, 2); }
  }
  function start(w, t, job) {
    const seg = job.segs[job.at ??= 0], r = R.start.length;
    job.fiber ??= freeFibers.pop() ?? fiberTop++;
    const dur = Math.max(1, Math.round(seg.dur)), end = t + dur;
    R.track.push(w.i); R.start.push(t); R.end.push(end); R.fiber.push(job.fiber); R.site.push(job.site); R.begin.push(job.at ? 1 : 0);
    R.finish.push(0); R.priority.push(job.prio); R.wait.push(255); R.wait_place.push(NONE);
    R.cause.push(job.cause ?? NONE); R.cause_at.push(job.causeAt ?? NaN); R.critical.push(0);
    w.idle = false; w.run = r; job.run = r;
    seg.kids.forEach((kid, i) => { const at = Math.round(t + dur * (i + 1) / (seg.kids.length + 1)); kid.parent = job; heap.push(at, { k: 'spawn', kid, r, at }); });
    if (seg.kids.length) job.open = (job.open ?? 0) + seg.kids.length;
    if (dur > 4000 && (rand() < 0.06 || seg.span)) span(w, job, t, end, seg.span ?? 'step');
    heap.push(end, { k: 'end', w, job, r });
  }
  function span(w, job, a, b, text) {
    const push = (n, s, e, d) => { P.track.push(w.i); P.start.push(s); P.end.push(e); P.name.push(spanName(n)); P.fiber.push(job.fiber); P.depth.push(d); };
    push(text, a + (b - a) * 0.05, a + (b - a) * 0.95, 0);
    if (rand() < 0.5) { push('gather', a + (b - a) * 0.1, a + (b - a) * 0.4, 1); push('write', a + (b - a) * 0.5, a + (b - a) * 0.9, 1); }
  }
  function endRun(w, t, job, r) {
    const seg = job.segs[job.at]; job.at++;
    if (job.at < job.segs.length) {
      if (job.open > 0) { job.parked = true; R.finish[r] = 1; R.wait[r] = seg.wait ?? 0; R.wait_place[r] = waitPlace; }
      else if (seg.lock) { R.finish[r] = 1; R.wait[r] = seg.lock; R.wait_place[r] = waitPlace + 1; heap.push(t + between(5e3, 4e5), { k: 'unlock', job }); }
      else { R.finish[r] = 1; R.wait[r] = 0; R.wait_place[r] = waitPlace; job.cause = r; job.causeAt = t; makeReady(t, job); }
    } else {
      if (rand() < 0.00002) R.finish[r] = 3;
      freeFibers.push(job.fiber);
      const p = job.parent;
      if (p && --p.open === 0 && p.parked) { p.parked = false; p.cause = r; p.causeAt = t; makeReady(t, p); }
      if (job.frame) endFrame(t, r);
    }
    const next = nextJob();
    if (next) { const at = t + Math.round(between(60, 900)); gap(w, t, at, 0); start(w, at, next); } else { w.idle = true; w.since = t; w.run = -1; }
  }
  let frame = 0, frameStart = 0; const frameRuns = [];
  function beginFrame(t) {
    frameStart = t;
    const heavy = frame % 37 === 20 ? 2.2 : frame % 11 === 5 ? 1.35 : between(0.85, 1.1);
    const j = frameJob(heavy); makeReady(t, j);
    for (let i = 0; i < perFrame * 0.05; i++) { const d = leaf(S['decompress block'], 2); d.prio = 3; if (rand() < 0.3) { d.segs.push({ dur: unit, kids: [] }); d.segs[0].lock = 1 + Math.floor(rand() * 5); } heap.push(t + rand() * 14e6, { k: 'spawn', kid: d, r: NONE, at: t }); }
  }
  function endFrame(t, r) {
    const end = Math.max(t, frameStart + 16.6e6 + between(0, 0.06e6)); frameRuns.push([r, frameStart]);
    F.start.push(frameStart); F.end.push(end); F.number.push(1000 + frame); frame++;
    if (frame < frames) heap.push(end, { k: 'frame' });
  }
  heap.push(0, { k: 'frame' });
  let t = 0, nextSample = 0;
  while (heap.a.length) {
    const { time, what: e } = heap.pop(); t = time;
    if (t >= nextSample) { values[0].push([t, queued]); values[1].push([t, 180 + 40 * Math.sin(t / 2e8) + 12 * rand()]); nextSample = t + 200000; }
    if (e.k === 'spawn') { e.kid.cause = e.r; e.kid.causeAt = e.r === NONE ? NaN : e.at; makeReady(t, e.kid); }
    else if (e.k === 'wake') { e.w.waking = false; const j = nextJob(); if (j) { idleGap(e.w, t); start(e.w, t, j); } }
    else if (e.k === 'end') endRun(e.w, t, e.job, e.r);
    else if (e.k === 'unlock') { const by = W.find((w) => w.run >= 0); e.job.cause = by ? by.run : NONE; e.job.causeAt = by ? t : NaN; makeReady(t, e.job); }
    else beginFrame(t);
  }
  const duration = Math.max(t, F.end.at(-1) ?? 0);
  for (const w of W) if (w.idle) { w.since < duration && gap(w, w.since, duration, 1); }
  for (const [r0, from] of frameRuns) for (let r = r0; r !== NONE && R.start[r] >= from;) { R.critical[r] = 1; r = R.cause[r]; }
  const used = events / Math.max(1, R.start.length * 2.2);
  return pack({ title: 'demo: game frame', duration, events: Math.round(events), dropped: 0, names, places, sites: site, workers, R, G, F, P, values: [['queue length', values[0]], ['heap MiB', values[1]]],
    tracks: W.map((w) => ({ label: `worker ${w.i}`, kind: 'worker', system: 0 })),
    summary: [['jobs', R.begin.filter((b) => b === 0).length.toLocaleString('en')], ['runs', R.start.length.toLocaleString('en')], ['critical path', '1 302.4 ms'], ['average parallelism', '5.02'], ['spawn to start, p50 / p99', '1.9 µs / 212 µs'], ['fibers used', String(fiberTop)]] });
}

// Sorts by track and start, fixes the cause indices, encodes the columns.
export function pack(d) {
  const { R, G, F, P } = d;
  const order = R.start.map((_, i) => i).sort((a, b) => R.track[a] - R.track[b] || R.start[a] - R.start[b]);
  const where = new Uint32Array(order.length); order.forEach((o, i) => (where[o] = i));
  const runs = {};
  for (const k in R) runs[k] = order.map((o) => R[k][o]);
  runs.cause = runs.cause.map((c) => (c === NONE ? NONE : where[c]));
  const sortTable = (t) => { const o = t.start.map((_, i) => i).sort((a, b) => (t.track[a] - t.track[b]) || t.start[a] - t.start[b]); const r = {}; for (const k in t) r[k] = o.map((i) => t[k][i]); return r; };
  const bin = Math.max(1, Math.ceil(d.duration / 4000)), busy = new Float64Array(Math.max(1, Math.ceil(d.duration / bin)));
  for (let i = 0; i < R.start.length; i++) if (d.tracks[R.track[i]]?.kind === 'worker') for (let b = Math.floor(R.start[i] / bin); b < busy.length && b * bin < R.end[i]; b++)
    busy[b] += (Math.min(R.end[i], (b + 1) * bin) - Math.max(R.start[i], b * bin)) / bin;
  const TYPES = { f64: Float64Array, u32: Uint32Array, u16: Uint16Array, u8: Uint8Array };
  const col = (type, a) => ({ [type]: Buffer.from(TYPES[type].from(a).buffer).toString('base64') });
  const kinds = { track: 'u16', start: 'f64', end: 'f64', fiber: 'u32', site: 'u32', begin: 'u8', finish: 'u8', priority: 'u8', wait: 'u8', wait_place: 'u32', cause_at: 'f64', critical: 'u8', number: 'u32', name: 'u32', depth: 'u8', place: 'u32' };
  const table = (t, over = {}) => Object.fromEntries(Object.keys(t).map((k) => [k, col(over[k] ?? kinds[k], t[k])]));
  return { version: 1, title: d.title, duration: d.duration, events: d.events, dropped: d.dropped, names: d.names, places: d.places, sites: table(d.sites), tracks: d.tracks, waits: WAITS,
    runs: table(runs, { cause: 'u32' }), gaps: table(sortTable(G), { cause: 'u8' }), causes: CAUSES, frames: table(F), spans: table(sortTable(P)),
    values: d.values.map(([n, v]) => { let i = d.names.indexOf(n); if (i < 0) i = d.names.push(n) - 1; return { name: i, at: col('f64', v.map((x) => x[0])), value: col('f64', v.map((x) => x[1])) }; }),
    utilisation: { bin, busy: col('f64', busy) }, workers: d.workers, summary: d.summary };
}

const HOSTILE = ['</script><script>alert(1)</script>', '<b>bold</b> "quoted" \'single\' & &amp;', 'плюс 日本語 🚀 job', '__RAMIE_DATA__ $& $1', ''];
export const degenerate = {
  empty: () => plain({ runs: 0, gaps: 0, frames: 0, tracks: 0, summary: [] }),
  none: () => plain({ runs: 0, gaps: 0, frames: 0 }),
  one: () => plain({ runs: 1, gaps: 0, frames: 0 }),
  nogaps: () => plain({ runs: 200, gaps: 0, frames: 10 }),
  dropped: () => plain({ runs: 500, gaps: 100, frames: 0, dropped: 123456 }),
  tracks64: () => plain({ runs: 64 * 400, gaps: 64 * 100, frames: 30, tracks: 64 }),
  tiny: () => plain({ runs: 5000, gaps: 0, frames: 0, len: 1 }),
  hostile: () => plain({ runs: 300, gaps: 50, frames: 5, names: HOSTILE, title: HOSTILE[0], longLabel: true }),
};

// Plain rows of runs without a simulation, for the degenerate pages.
function plain({ runs, gaps, frames, tracks = 4, dropped = 0, len = 0, names = ['a', 'b', 'c'], title = 'degenerate', summary = [['jobs', '1']], longLabel = false }) {
  const R = { track: [], start: [], end: [], fiber: [], site: [], begin: [], finish: [], priority: [], wait: [], wait_place: [], cause: [], cause_at: [], critical: [] };
  const G = { track: [], start: [], end: [], cause: [] }, F = { start: [], end: [], number: [] }, P = { track: [], start: [], end: [], name: [], fiber: [], depth: [] };
  const slot = 10000, per = Math.ceil(runs / Math.max(1, tracks));
  for (let i = 0; i < runs; i++) {
    const t = Math.floor(i / per), s = (i % per) * slot + 100, e = s + (len || Math.round(between(500, 8000)));
    const waits = i % 5 === 2 ? 1 : i % 97 === 3 ? 3 : 0;
    for (const [k, v] of Object.entries({ track: t, start: s, end: e, fiber: longLabel && i % 7 === 0 ? NONE : i % 37, site: i % 11 === 10 ? NONE : i % names.length, begin: i % 5 === 3 ? 1 : 0, finish: waits, priority: i % 4, wait: waits === 1 ? i % 6 : 255, wait_place: waits === 1 ? 0 : NONE,
      cause: i > 3 ? i - 3 : NONE, cause_at: i > 3 ? s - 50 : NaN, critical: i % 9 === 0 ? 1 : 0 })) R[k].push(v);
    if (i % 20 === 0) for (const [k, v] of Object.entries({ track: t, start: s, end: e, name: 0, fiber: 1, depth: 0 })) P[k].push(v);
  }
  for (let i = 0; i < gaps; i++) { const p = Math.ceil(gaps / tracks); G.track.push(Math.floor(i / p)); G.start.push((i % p) * slot + 9000); G.end.push((i % p) * slot + 10000); G.cause.push(i % 6); }
  const duration = runs ? per * slot : 0;
  for (let i = 0; i < frames; i++) { F.start.push(i * duration / frames); F.end.push((i + 1) * duration / frames); F.number.push(i); }
  const site = { name: names.map((_, i) => i), place: names.map((_, i) => (i ? i - 1 : NONE)) };
  return pack({ title, duration, events: runs * 2, dropped, names: [...names], places: names.map((n, i) => `src/<${i}>&.rs:1:1`), sites: site, workers: tracks, R, G, F, P, values: runs > 100 && frames ? [['v<b>', [[0, 1], [duration / 2, -4], [duration, 3]]], ['nothing', []]] : [],
    tracks: Array.from({ length: tracks }, (_, i) => ({ label: longLabel ? `worker <i>${i}</i> with a very long label` : `worker ${i}`, kind: i % 5 === 4 ? 'background' : 'worker', system: longLabel ? i % 2 : 0 })), summary });
}

// Fills the template as Rust does.
export function fill(template, data) {
  const title = data.title.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
  const json = JSON.stringify(data).replace(/</g, '\\u003c');
  for (const token of ['__RAMIE_TITLE__', '__RAMIE_DATA__']) if (template.split(token).length !== 2) throw Error(`the template must have ${token} exactly once`);
  return template.replace('__RAMIE_TITLE__', () => title).replace('__RAMIE_DATA__', () => json);
}

if (import.meta.url === `file://${process.argv[1]}`) {
  const [out, kind = 'demo', events = '20000'] = process.argv.slice(2);
  const data = kind === 'demo' ? simulate({ events: +events }) : degenerate[kind]();
  const html = fill(fs.readFileSync(new URL('timeline.html', import.meta.url), 'utf8'), data);
  fs.writeFileSync(out, html);
  console.log(out, (html.length / 1e6).toFixed(1), 'MB', data.summary.map((r) => r.join(': ')).join(', '));
}
