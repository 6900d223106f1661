// Opens generated pages in headless Chromium and checks them: what they show, keys, search, hostile names, and how fast 1,000,000 events are.
//   cd tools/timeline && npm install && node check.mjs [--quick]
// Needs Chromium: /usr/bin/chromium, or what CHROMIUM names. Pages and pictures go to target/timeline.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { simulate, degenerate, fill } from './gen.mjs';

const here = import.meta.dirname, root = path.join(here, '../..');
const out = path.join(root, 'target/timeline/pages'), shots = path.join(root, 'target/timeline/shots');
const quick = process.argv.includes('--quick');
fs.mkdirSync(out, { recursive: true });
fs.mkdirSync(shots, { recursive: true });
const template = fs.readFileSync(path.join(root, 'src/trace/timeline/timeline.html'), 'utf8');
let failures = 0;
let advisory = false; // speeds at 4K in software are told, not required
const check = (ok, what) => { console.log(`${ok ? 'ok  ' : advisory ? 'slow' : 'FAIL'} ${what}`); if (!ok && !advisory) failures++; };
const write = (name, data) => { const file = path.join(out, name + '.html'); fs.writeFileSync(file, fill(template, data)); return file; };

async function open(file, { width = 1600, height = 900, scheme = 'dark', scale = 1, motion = 'no-preference' } = {}) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'ramie-chrome-'));
  const context = await chromium.launchPersistentContext(dir, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, viewport: { width, height }, colorScheme: scheme, deviceScaleFactor: scale, reducedMotion: motion,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  const page = context.pages()[0] ?? await context.newPage(), problems = [];
  page.on('console', (m) => { if (['error', 'warning'].includes(m.type())) problems.push('console: ' + m.text()); });
  page.on('pageerror', (e) => problems.push('page error: ' + e.message));
  page.on('dialog', (d) => { problems.push('dialog: ' + d.message()); d.dismiss(); });
  page.on('request', (r) => { if (!r.url().startsWith('file://' + file) && !r.url().startsWith('data:')) problems.push('request: ' + r.url()); });
  await page.goto('file://' + file, { timeout: 60000 });
  await page.waitForFunction(() => performance.getEntriesByName('ramie-ready').length, null, { timeout: 60000 });
  const close = async () => { await context.close(); fs.rmSync(dir, { recursive: true, force: true }); };
  return { page, problems, close, shot: (name) => page.screenshot({ path: path.join(shots, name + '.png') }) };
}

const marks = (page) => page.evaluate(() => ({ paint: performance.getEntriesByName('ramie-first-paint')[0].startTime, ready: performance.getEntriesByName('ramie-ready')[0].startTime }));
const viewOf = (page) => page.evaluate(() => ({ ...window.ramieTimeline.view }));
const settle = (page, ms = 350) => page.waitForTimeout(ms);

// The rate of frames in which the view was drawn anew while each act sends input.
async function rate(page, name, ...acts) {
  const gaps = [];
  for (const act of acts) {
    await page.evaluate(() => {
      const w = (window.test = { times: [], stop: false });
      let last = '';
      const loop = (now) => { const v = window.ramieTimeline.view, at = v.start + '/' + v.end; if (at !== last) w.times.push(now); last = at; if (!w.stop) requestAnimationFrame(loop); };
      requestAnimationFrame(loop);
    });
    await act();
    const times = await page.evaluate(() => { window.test.stop = true; return window.test.times; });
    gaps.push(...times.slice(2).map((t, i) => t - times[i + 1])); // the first is the view at rest
  }
  gaps.sort((a, b) => a - b);
  const median = gaps[gaps.length >> 1], decile = gaps[Math.floor(gaps.length * 0.9)], worst = gaps.at(-1);
  const fps = (ms) => (1000 / ms).toFixed(0);
  check(gaps.length > 20 && 1000 / median >= 29.9 && 1000 / decile >= 29.9, `${name}: median ${fps(median)} fps, worst decile ${fps(decile)} fps, longest ${worst?.toFixed(0)} ms (${gaps.length} frames)`);
}

async function drag(page, seconds, x0 = 1000, y = 500) {
  await page.mouse.move(x0, y);
  await page.mouse.down();
  const end = Date.now() + seconds * 1000;
  for (let i = 1; Date.now() < end; i++) await page.mouse.move(x0 - 150 * Math.sin(i / 20), y + (i % 2));
  await page.mouse.up();
}

async function wheel(page, seconds, dy, x = 800, y = 500) {
  await page.mouse.move(x, y);
  const end = Date.now() + seconds * 1000;
  for (let i = 0; Date.now() < end; i++) await page.mouse.wheel(0, dy(i));
}

async function speed(file, options, label) {
  console.log('     load ' + os.loadavg()[0].toFixed(1));
  const { page, problems, close } = await open(file, options);
  const m = await marks(page);
  advisory = options.width > 2000;
  const h = options.height ?? 900, y = Math.round(h * 0.45);
  check(m.paint < 2000, `${label}: first paint ${m.paint.toFixed(0)} ms, all ready ${m.ready.toFixed(0)} ms`);
  const total = (await viewOf(page)).end;
  for (let span = total * 0.7; span > 1e3; span /= 12) {
    await page.evaluate(([a, b]) => window.ramieTimeline.zoomTo(a, b), [total * 0.5 - span / 2, total * 0.5 + span / 2]);
    await rate(page, `${label}: drag at ${(span / 1e6).toPrecision(3)} ms`, () => drag(page, 1.2, 900, y));
  }
  await page.keyboard.press('0');
  await settle(page);
  await rate(page, `${label}: wheel in and out`, () => wheel(page, 5, (i) => (i % 240 < 120 ? -60 : 60), 800, y));
  await page.keyboard.press('0');
  await settle(page);
  await rate(page, `${label}: held keys`, ...['w', 'd', 'a', 's'].map((k) => async () => { await page.keyboard.down(k); await page.waitForTimeout(700); await page.keyboard.up(k); }));
  await page.keyboard.press('0');
  await page.fill('#search', 'solve');
  await settle(page, 800);
  await page.evaluate((t) => window.ramieTimeline.zoomTo(t * 0.2, t * 0.7), total);
  await rate(page, `${label}: drag with a search`, () => drag(page, 1.2, 900, y));
  await page.fill('#search', '');
  await page.focus('#stage');
  await page.keyboard.press('g');
  await settle(page, 1000);
  await page.evaluate((t) => window.ramieTimeline.zoomTo(t * 0.3, t * 0.35), total);
  await rate(page, `${label}: drag by fibers`, () => drag(page, 1.2, 900, y));
  advisory = false;
  check(!problems.length, `${label}: no errors, no requests ${problems.join('; ')}`);
  await close();
}

// Moves over the rows until a tooltip shows up that `want` accepts.
async function findTip(page, want, box = [200, 1200, 13], ys = [250, 276, 302, 330, 360, 400]) {
  for (const y of ys) for (let x = box[0]; x < box[1]; x += box[2]) {
    await page.mouse.move(x, y);
    const tip = await page.evaluate(() => { const t = document.getElementById('tip'); return t.hidden ? '' : t.innerText; });
    if (tip && want(tip)) return { x, y, tip };
  }
  return null;
}

async function behaviour(file) {
  const { page, problems, close, shot } = await open(file);
  await shot('demo-dark-fit');
  const fit = await viewOf(page);
  await page.keyboard.press(']');
  await settle(page);
  const one = await viewOf(page);
  check(one.end - one.start < 40e6, '] goes to a frame');
  await page.keyboard.press(']');
  await settle(page);
  const two = await viewOf(page);
  check(Math.abs(two.start - one.end) < 2e6, '] goes to the next frame');
  await page.keyboard.press('[');
  await settle(page);
  check(Math.abs((await viewOf(page)).start - one.start) < 1, '[ goes back');
  await shot('demo-dark-frame');
  for (const [key, test, what] of [['d', (a, b) => b.start > a.start, 'moves right'], ['ArrowLeft', (a, b) => b.start < a.start, 'moves left'], ['w', (a, b) => b.end - b.start < a.end - a.start, 'zooms in'], ['-', (a, b) => b.end - b.start > a.end - a.start, 'zooms out']]) {
    const a = await viewOf(page);
    await page.keyboard.press(key);
    await settle(page, 300);
    check(test(a, await viewOf(page)), `${key} ${what}`);
  }
  const found = await findTip(page, (t) => /woken by\n\S/.test(t) && /a wait for/.test(t) && !/under the pointer/.test(t));
  check(found, 'the tooltip of a run that was woken and waits');
  console.log('     ' + found?.tip.replace(/\n/g, ' | '));
  for (const word of ['spawned at', 'src/', 'duration', 'self time', 'ended by', 'woken by', 'fiber', 'priority', 'before the start']) check(found?.tip.includes(word), `the tooltip tells “${word}”`);
  await shot('demo-dark-tip');
  await page.mouse.click(found.x, found.y);
  check((await page.innerText('#selection')).includes('woken by'), 'a click selects the run');
  await page.keyboard.press('f');
  await settle(page);
  const close1 = await viewOf(page);
  check(close1.end - close1.start < 3e6, 'f fits the selection');
  for (let i = 0; i < 12; i++) await page.keyboard.press('s');
  await page.mouse.move(5, 850);
  await settle(page);
  await shot('demo-dark-selection');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Home');
  await settle(page);
  const home = await viewOf(page);
  check(home.start === fit.start && home.end === fit.end, 'Home shows all');
  await page.keyboard.press('/');
  check(await page.evaluate(() => document.activeElement.id === 'search'), '/ focuses the search');
  await page.keyboard.type('draw batch');
  await settle(page);
  check(/^[\d,]+ matches$/.test(await page.innerText('#count')), `the count of matches: ${await page.innerText('#count')}`);
  await shot('demo-dark-search-fit');
  await page.keyboard.press('Enter');
  await settle(page);
  check(/^1 \/ /.test(await page.innerText('#count')), 'Enter: ' + await page.innerText('#count'));
  await page.keyboard.press('Enter');
  await settle(page);
  check(/^2 \/ /.test(await page.innerText('#count')) && (await page.innerText('#selection')).startsWith('draw batch'), 'Enter goes on');
  await page.keyboard.press('Shift+Enter');
  await settle(page);
  check(/^1 \/ /.test(await page.innerText('#count')), 'Shift+Enter goes back');
  for (let i = 0; i < 6; i++) await page.keyboard.press('Shift+Enter');
  await page.keyboard.press('Escape');
  await page.fill('#search', 'game/culling');
  check(/[1-9]/.test(await page.innerText('#count')), 'search by place: ' + await page.innerText('#count'));
  await page.fill('#search', 'no such job');
  check((await page.innerText('#count')) === '0 matches', 'no match');
  await page.fill('#search', '');
  await page.focus('#stage');
  await page.keyboard.press('?');
  check(await page.isVisible('#keys'), '? opens the help');
  await shot('demo-dark-help');
  await page.keyboard.press('Escape');
  check(!(await page.isVisible('#keys')), 'Escape closes it');
  await page.keyboard.press('Home');
  await settle(page);
  await page.mouse.click(700, 110);
  await settle(page);
  check((await viewOf(page)).end - (await viewOf(page)).start < 60e6, 'a click on a bar zooms to its frame');
  await page.keyboard.press('c');
  check(await page.getAttribute('#critical', 'aria-pressed') === 'false', 'c toggles the critical path');
  await page.keyboard.press('c');
  const idle = page.locator('#idle-table button').first();
  await idle.click();
  check(await idle.getAttribute('aria-pressed') === 'false', 'a cause can be hidden');
  await idle.click();
  await page.locator('#jobs-table th button').nth(1).click();
  check(await page.locator('#jobs-table th').nth(1).getAttribute('aria-sort') === 'descending', 'the table of jobs sorts');
  await page.locator('#jobs-table tbody button').first().click();
  check(/match|\//.test(await page.innerText('#count')), 'a job in the table searches');
  await page.fill('#search', '');
  await page.focus('#stage');
  await page.keyboard.press('g');
  await settle(page);
  await shot('demo-dark-fibers');
  await page.keyboard.press('g');
  await page.keyboard.press('t');
  await settle(page);
  await shot('demo-light-frame');
  await page.keyboard.press('0');
  await settle(page);
  await shot('demo-light-fit');
  await page.setViewportSize({ width: 900, height: 600 });
  await settle(page);
  await shot('demo-light-900');
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth || document.querySelector('header').scrollWidth > innerWidth);
  check(!overflow, 'fits in 900 px');
  check(await page.evaluate(() => { const own = Object.keys(window).filter((k) => /ramie/i.test(k)); return own.length === 1; }), 'one global');
  const unnamed = await page.evaluate(() => [...document.querySelectorAll('button, input')].filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length)).length);
  check(unnamed === 0, 'every control has a name');
  check(!problems.length, `demo: no errors, no requests ${problems.join('; ')}`);
  await close();
}

async function odd(name) {
  const { page, problems, close, shot } = await open(write(name, degenerate[name]()), { width: 1280, height: 720 });
  await shot('odd-' + name);
  for (const k of [']', '[', 'f', ',', '.', 'w', 'w', 's', 'd', 'g', 'g', 'c', 'c', 't', '0', 'ArrowDown', 'Escape']) await page.keyboard.press(k);
  await page.mouse.move(400, 300);
  await page.mouse.wheel(0, -500);
  await drag(page, 0.2, 500, 300);
  await page.keyboard.press('0');
  await settle(page);
  for (let x = 150; x < 900; x += 50) for (const y of [20, 60, 110, 140, 165, 200, 240, 300, 400]) await page.mouse.move(x, y);
  await page.mouse.click(400, 200);
  if (name === 'dropped') check((await page.innerText('#warning')).includes('123,456'), 'dropped events give a warning');
  if (name === 'tiny') {
    await page.keyboard.press('Escape');
    await page.keyboard.press('.');
    await page.keyboard.press('f');
    await settle(page);
    const v = await viewOf(page);
    check(v.end - v.start < 100, `zooms to a run of 1 ns: ${v.end - v.start} ns shown`);
    await shot('odd-tiny-zoomed');
  }
  if (name === 'hostile') await hostile(page, shot);
  check(!problems.length, `${name}: no errors, no requests ${problems.join('; ')}`);
  await close();
}

async function hostile(page, shot) {
  check(await page.title() === '</script><script>alert(1)</script>', 'a hostile title is text');
  check((await page.innerText('#jobs-table')).includes('</script><script>alert(1)</script>'), 'a hostile name is text in the table');
  check((await page.innerText('#jobs-table')).includes('<b>bold</b> "quoted"'), 'markup and quotes are text');
  check(await page.locator('#jobs-table b, #tip b, #selection b, header b').count() === 0, 'no markup came of it');
  await page.keyboard.press('0');
  await settle(page);
  const tip = await findTip(page, (t) => t.includes('<b>bold</b>'), [150, 900, 5], [210, 225, 240, 265, 290]);
  check(tip, 'the hostile name is text in the tooltip');
  await page.evaluate(() => window.ramieTimeline.zoomTo(0, 80000));
  await settle(page);
  await shot('odd-hostile-zoomed');
  check(await page.evaluate(() => document.scripts.length) === 1, 'no script was added');
}

for (const name of Object.keys(degenerate)) await odd(name);
await behaviour(write('demo', simulate({ events: 20000 })));
if (!quick) {
  const big = write('big', simulate({ events: 1e6 }));
  await speed(big, {}, '1M at 1600×900');
  await speed(big, { width: 3840, height: 2160 }, '1M at 3840×2160');
  for (const scheme of ['dark', 'light']) {
    const { page, close, shot } = await open(big, { scheme });
    await shot(`big-${scheme}-fit`);
    for (const [n, a] of [['frame', 40], ['near', 4], ['close', 0.4]]) {
      await page.evaluate(([s, l]) => window.ramieTimeline.zoomTo(s, s + l), [1.002e9, a * 1e6]);
      await settle(page);
      await shot(`big-${scheme}-${n}`);
    }
    await close();
  }
}
{
  const { page, close, shot } = await open(path.join(out, 'demo.html'), { scheme: 'light', scale: 2, motion: 'reduce' });
  await page.keyboard.press(']');
  await settle(page, 60);
  check((await viewOf(page)).end - (await viewOf(page)).start < 60e6, 'reduced motion: jumps at once');
  await shot('demo-light-2x');
  await close();
}
console.log('load of the machine: ' + os.loadavg().map((l) => l.toFixed(1)).join(' ') + ' on ' + os.cpus().length + ' cores');
console.log(failures ? `${failures} failed` : 'all passed');
process.exit(failures ? 1 : 0);
