//! Runs the built program as a user would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of a test's own, removed when the test has passed.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ramie-demo-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

fn ramie(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ramie"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

/// Runs `ramie demo` with these arguments, which has to succeed, and returns what it printed.
fn demo(args: &[&str]) -> String {
    let output = ramie(&[&["demo"], args].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    assert_eq!(stderr, "", "stderr is not a terminal: nothing is drawn on it");
    String::from_utf8(output.stdout).expect("it prints text")
}

fn checksum(text: &str) -> &str {
    let mut found = text.lines().filter_map(|line| line.strip_prefix("checksum: "));
    let checksum = found.next().expect("there is a line with the checksum");
    assert_eq!(found.next(), None, "there is one such line");
    assert!(checksum.len() == 16 && checksum.bytes().all(|byte| byte.is_ascii_hexdigit()), "{checksum}");
    checksum
}

/// Runs the program with arguments that it has to refuse, and returns the line that says why.
fn refused(args: &[&str]) -> String {
    let output = ramie(args);
    let stderr = String::from_utf8(output.stderr).expect("errors are text");
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
    assert!(stderr.starts_with("error: ") && stderr.ends_with('\n'), "{args:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{args:?}");
    stderr
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary paths are valid text")
}

/// Width and height of a PNG file, which has to be intact, and the number of its animated pictures.
fn png_size(path: &Path) -> (u32, u32, u32) {
    let file = fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().expect("it is a PNG");
    let mut bytes = vec![0; reader.output_buffer_size().expect("the size is known")];
    let picture_count = reader.info().animation_control.map_or(1, |control| control.num_frames);
    for _ in 0..picture_count {
        reader.next_frame(&mut bytes).expect("the picture is complete");
    }
    (reader.info().width, reader.info().height, picture_count)
}

#[test]
fn the_checksum_does_not_depend_on_the_workers_and_is_the_serial_one() {
    let run = |workers| demo(&["--frames", "50", "--no-images", "--compare", "serial", "--workers", workers]);
    let texts = ["1", "2", "3", "8"].map(run);
    for text in &texts {
        assert!(text.contains("the serial result is the same"), "{text}");
        assert_eq!(checksum(text), checksum(&texts[0]));
    }
}

#[test]
fn filming_does_not_change_the_checksum() {
    let folder = Folder::new();
    let still = demo(&["--frames", "40", "--grains", "30000", "--no-images", "--workers", "1"]);
    for workers in ["1", "2", "3", "8"] {
        let out = folder.join(workers);
        let filmed =
            demo(&["--frames", "40", "--grains", "30000", "--out", path(&out), "--workers", workers]);
        assert_eq!(checksum(&filmed), checksum(&still), "{workers} workers");
    }
}

#[test]
fn the_frames_are_the_same_for_any_number_of_workers() {
    let folder = Folder::new();
    let [one, many] = ["1", "8"].map(|workers| {
        let out = folder.join(workers);
        demo(&["--frames", "25", "--grains", "20000", "--out", path(&out), "--workers", workers]);
        out
    });
    for entry in fs::read_dir(&one).expect("the folder was made") {
        let name = entry.expect("the folder can be read").file_name();
        let same = fs::read(one.join(&name)).expect("it is there")
            == fs::read(many.join(&name)).expect("it is there");
        assert!(same, "{name:?} differs");
    }
}

#[test]
fn frames_and_animation_are_written() {
    let folder = Folder::new();
    let out = folder.join("not/yet/there");
    let text =
        demo(&["--frames", "7", "--grains", "5000", "--out", path(&out), "--seed", "5", "--workers", "2"]);
    for frame in 0..7 {
        assert_eq!(png_size(&out.join(format!("frame-{frame:04}.png"))), (500, 500, 1));
    }
    assert!(!out.join("frame-0007.png").exists());
    assert_eq!(png_size(&out.join("animation.png")), (250, 250, 4));
    for phase in ["clear", "mark", "update", "draw", "encode", "simulation", "frame"] {
        assert!(text.lines().any(|line| line.starts_with(phase)), "no {phase} in {text}");
    }
    for word in ["p50", "p99", "max", "jobs", "steals", "suspensions"] {
        assert!(text.contains(word), "no {word} in {text}");
    }
}

#[test]
fn without_images_nothing_is_written() {
    let folder = Folder::new();
    let out = folder.join("out");
    let text = demo(&["--frames", "3", "--grains", "1000", "--out", path(&out), "--no-images"]);
    assert!(!out.exists());
    assert!(!text.contains("encode"), "{text}");
}

#[test]
fn a_picture_of_ones_own_becomes_sand() {
    let folder = Folder::new();
    let file = folder.join("own.png");
    let mut encoder = png::Encoder::new(fs::File::create(&file).expect("it can be written"), 10, 4);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().expect("the header is valid");
    writer.write_image_data(&[200; 40]).expect("the data is valid");
    writer.finish().expect("it can be written");
    let args = [path(&file), "--frames", "5", "--grains", "40", "--no-images"];
    let text = demo(&args);
    assert!(text.starts_with("40 grains"), "{text}");
    assert_eq!(checksum(&text), checksum(&demo(&args)), "the same arguments give the same sand");
}

#[test]
fn pictures_that_cannot_be_used_are_refused() {
    let folder = Folder::new();
    let missing = refused(&["demo", path(&folder.join("missing.png"))]);
    assert!(missing.contains("missing.png") && missing.contains("name a PNG file"), "{missing}");
    let broken = folder.join("broken.png");
    fs::write(&broken, b"\x89PNG\r\n\x1a\nbut then nothing more\nof it").expect("it can be written");
    assert!(refused(&["demo", path(&broken)]).contains("cannot be read as PNG"));
    let text = folder.join("text.png");
    fs::write(&text, "not a picture").expect("it can be written");
    assert!(refused(&["demo", path(&text)]).contains("convert the picture to PNG"));
    refused(&["demo", path(&folder.0)]);

    let clear = folder.join("clear.png");
    let mut encoder = png::Encoder::new(fs::File::create(&clear).expect("it can be written"), 2, 2);
    encoder.set_color(png::ColorType::Rgba);
    let mut writer = encoder.write_header().expect("the header is valid");
    writer.write_image_data(&[0; 16]).expect("the data is valid");
    writer.finish().expect("it can be written");
    assert!(refused(&["demo", path(&clear)]).contains("transparent"));
}

#[test]
fn folders_that_cannot_be_written_are_refused() {
    let folder = Folder::new();
    let file = folder.join("file");
    fs::write(&file, "in the way").expect("it can be written");
    let line = refused(&["demo", "--out", path(&file.join("out"))]);
    assert!(line.contains("--out"), "{line}");
    refused(&["demo", "--out", path(&file)]);
}

#[test]
fn a_file_that_cannot_be_written_in_the_middle_is_reported() {
    let folder = Folder::new();
    fs::create_dir(folder.join("frame-0003.png")).expect("it can be made");
    let line = refused(&["demo", "--frames", "9", "--grains", "100", "--out", path(&folder.0)]);
    assert!(line.contains("frame-0003.png"), "{line}");
}

#[test]
fn values_without_sense_are_refused() {
    let zero = refused(&["demo", "--workers", "0"]);
    assert!(zero.contains("--workers") && zero.contains("1..=256"), "{zero}");
    for args in [
        &["--workers", "many"][..],
        &["--workers", "100000"],
        &["--workers"],
        &["--frames", "0"],
        &["--frames", "-3"],
        &["--frames", "10000"],
        &["--grains", "0"],
        &["--grains", "100001"],
        &["--seed", "x"],
        &["--compare", "parallel"],
        &["--unknown"],
        &["one.png", "two.png"],
    ] {
        refused(&[&["demo"], args].concat());
    }
    refused(&[]);
    refused(&["dance"]);
}

#[test]
fn help_and_version_are_printed() {
    for args in [&["--help"][..], &["--version"], &["demo", "--help"], &["help", "demo"]] {
        let output = ramie(args);
        assert!(output.status.success() && output.stderr.is_empty() && !output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ramie"))
        .args(["demo", "--frames", "20", "--grains", "1000", "--no-images"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // The text is printed at the end, long after this.
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the program ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{stderr}");
}
