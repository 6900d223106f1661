//! The page of a timeline in headless Chromium: it is loaded, zoomed, moved, searched and hovered over by a script that is put into a copy of it, and that
//! writes what it has seen into the console. Skipped, with a line that says so, where there is no Chromium.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ramie::trace::{self, Timeline};
use ramie::{Counter, JobSystem};

/// What Chromium may take at most.
const LIMIT: Duration = Duration::from_secs(120);

/// Writes a line for each check into the console, `ok` or `FAIL` first, and `done`: the page itself forbids all that would leave it.
const SCRIPT: &str = r#"
<script>
(async () => {
  const lines = [], check = (ok, what) => lines.push((ok ? 'ok ' : 'FAIL ') + what);
  addEventListener('error', (e) => check(false, 'an error: ' + e.message));
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const byId = (id) => document.getElementById(id), stage = byId('stage');
  const span = () => window.ramieTimeline.view.end - window.ramieTimeline.view.start;
  // What is animated takes as long as the machine lets it: it is waited for, up to half a minute.
  const until = async (is, what) => {
    for (let i = 0; i < 600 && !is(); i++) await wait(50);
    check(is(), what);
  };
  const press = (type, key) => stage.dispatchEvent(new KeyboardEvent(type, { key, bubbles: true }));
  const key = async (key, is, what) => { press('keydown', key); await until(is, what); press('keyup', key); };
  const search = (text) => { byId('search').value = text; byId('search').dispatchEvent(new Event('input', { bubbles: true })); };
  const count = () => byId('count').textContent;
  try {
    await until(() => performance.getEntriesByName('ramie-ready').length === 1, 'it is ready');
    const all = span();
    check(all > 0, 'it shows a time');
    const box = stage.getBoundingClientRect(), middle = { clientX: box.left + box.width / 2, clientY: box.top + box.height * 0.5 };
    for (let i = 0; i < 5; i++) stage.dispatchEvent(new WheelEvent('wheel', { deltaY: -300, bubbles: true, cancelable: true, ...middle }));
    await until(() => span() < all / 2, 'the wheel zooms in');
    const start = window.ramieTimeline.view.start;
    await key('d', () => window.ramieTimeline.view.start > start, 'd moves right');
    await key('0', () => span() === all, '0 shows all');
    await key(']', () => span() < all, '] goes to a frame');
    await key('0', () => span() === all, 'and 0 back');
    search('step');
    await until(() => count() === '20 matches', 'the search by name finds all');
    search('page.rs');
    await until(() => /^[1-9]\d* matches$/.test(count()) && count() !== '20 matches', 'so does one by place');
    search('no such job');
    await until(() => count() === '0 matches', 'and not what is not there');
    search('');
    // Over the whole of the tracks, until a tooltip tells of a job that waited.
    let seen = '', critical = false;
    for (let y = box.top + 120; y < box.bottom && !(seen && critical); y += 6) {
      for (let x = box.left + 130; x < box.right; x += 3) {
        stage.dispatchEvent(new PointerEvent('pointermove', { clientX: x, clientY: y, bubbles: true }));
        const tip = byId('tip').hidden ? '' : byId('tip').innerText;
        if (tip.includes('waiter') && tip.includes('spawned at') && tip.includes('page.rs')) seen = tip;
        critical ||= tip.includes('step') && tip.includes('critical path');
      }
    }
    check(seen !== '', 'hovering tells of a job and where it was spawned');
    check(critical, 'a job of the critical path says so');
    check(byId('jobs-table').innerText.includes('step'), 'the table of jobs has it');
    check(byId('idle-table').innerText.length > 0, 'idle times have causes');
    check(byId('critical').getAttribute('aria-pressed') === 'true', 'the critical path is drawn');
    await key('c', () => byId('critical').getAttribute('aria-pressed') === 'false', 'c hides it');
    check(performance.getEntriesByType('resource').length === 0, 'nothing is loaded from elsewhere');
  } catch (error) {
    check(false, String(error.stack ?? error));
  }
  for (const line of [...lines, 'done']) console.log('CHECK ' + line + ' END');
})();
</script>
"#;

fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let known = std::env::split_paths(&folders).flat_map(|folder| names.map(|name| folder.join(name)));
    named.into_iter().chain(known).find(|path| path.is_file())
}

/// Frames of jobs one after the other, beside one that waits for all of them.
fn write_page(file: &Path) {
    let system = JobSystem::builder().workers(2).build().expect("the system starts");
    let recorder = trace::record().start().expect("nobody else records");
    let gate = Counter::new(1);
    system.scope(|s| {
        s.job().name("waiter").detach(|| {
            spin(Duration::from_millis(2));
            gate.wait();
            spin(Duration::from_millis(2));
        });
        s.job().name("frames").detach(|| {
            for frame in 0..20 {
                trace::mark_frame(frame);
                ramie::scope(|s| s.job().name("step").detach(|| spin(Duration::from_millis(1))));
            }
            gate.signal();
        });
    });
    let mut page = Vec::new();
    Timeline::of(&recorder.stop()).write_html(&mut page, "a page").expect("memory can be written");
    page.extend_from_slice(SCRIPT.as_bytes());
    std::fs::write(file, page).expect("the temporary folder can be written");
}

fn spin(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// What the script of the page has seen.
fn open(chromium: &Path, folder: &Path, file: &Path) -> Vec<String> {
    let mut child = Command::new(chromium)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
        ])
        .args([
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1600,900",
            "--enable-logging=stderr",
        ])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("file://{}", file.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Chromium starts");
    let console = child.stderr.take().expect("it was piped");
    let (sender, receiver) = mpsc::channel();
    // Ends with Chromium.
    std::thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            let check = line.split_once("CHECK ").and_then(|(_, rest)| rest.rsplit_once(" END"));
            if check.is_some_and(|(check, _)| sender.send(check.to_owned()).is_err()) {
                break;
            }
        }
    });
    let begin = Instant::now();
    let mut seen = Vec::new();
    let is_done = loop {
        match receiver.recv_timeout(LIMIT.saturating_sub(begin.elapsed())) {
            Ok(line) if line == "done" => break true,
            Ok(line) => seen.push(line),
            Err(_) => break false,
        }
    };
    let _ = child.kill();
    let _ = child.wait();
    assert!(is_done, "the script of the page has not come to its end: {seen:#?}");
    seen
}

#[test]
fn the_page_is_alive() {
    let Some(chromium) = chromium() else {
        eprintln!("skipped: there is no Chromium (Debian's package: chromium; or name one by CHROMIUM)");
        return;
    };
    let folder = std::env::temp_dir().join(format!("ramie-page-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
    let file = folder.join("page.html");
    write_page(&file);
    let seen = open(&chromium, &folder, &file);
    assert!(seen.len() >= 17 && seen.iter().all(|line| line.starts_with("ok ")), "{seen:#?}");
    std::fs::remove_dir_all(&folder).expect("nobody else uses it");
}
