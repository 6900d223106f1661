//! `ramie trace`, and what `--trace` of other commands does.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use ramie::trace::{Recording, StreamRecorder, Timeline};

use crate::args::TraceArgs;
use crate::error::Failure;

/// How many events of each thread are kept until they are written into the file.
const EVENTS_PER_THREAD: usize = 1 << 18;

/// Reads a recording and writes what it is good for. Gives back what is to be printed.
pub(crate) fn run(args: &TraceArgs) -> Result<String, Failure> {
    let timeline = load(&args.file)?;
    let mut text = timeline.summary().to_string();
    if !args.no_files {
        text += "\n";
        text += &write(&timeline, &args.file, args.fibers)?;
    }
    Ok(text)
}

fn load(file: &Path) -> Result<Timeline, Failure> {
    let recording = Recording::load(file)
        .map_err(|error| Failure::new(format!("cannot read the recording '{}': {error}", file.display())))?;
    Ok(Timeline::of(&recording))
}

/// Writes the page and the trace beside the recording; says where they are.
fn write(timeline: &Timeline, file: &Path, fibers: bool) -> Result<String, Failure> {
    let title = file.file_stem().map_or_else(|| "recording".into(), |stem| stem.to_string_lossy());
    let page = create(file, "html", |out| timeline.write_html(out, &title))?;
    let trace = create(file, "json", |out| timeline.write_chrome_trace(out, fibers))?;
    let page = format!("timeline: {}, for any browser\n", page.display());
    Ok(page + &format!("trace: {}, for https://ui.perfetto.dev\n", trace.display()))
}

/// Creates FILE.extension and has it written.
fn create(
    file: &Path,
    extension: &str,
    write: impl FnOnce(BufWriter<File>) -> io::Result<()>,
) -> Result<PathBuf, Failure> {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{extension}"));
    let path = PathBuf::from(name);
    File::create(&path).and_then(|file| write(BufWriter::new(file))).map_err(|error| {
        Failure::new(format!(
            "cannot write '{}' ({error}): free some room, or choose another place",
            path.display()
        ))
    })?;
    Ok(path)
}

/// A recording that goes on, into a file.
pub(crate) struct Recorder {
    recorder: StreamRecorder,
    file: PathBuf,
}

/// Begins to record into this file.
pub(crate) fn start(file: &Path) -> Result<Recorder, Failure> {
    let recorder = ramie::trace::record().events_per_thread(EVENTS_PER_THREAD).start_streaming(file);
    let recorder = recorder.map_err(|error| {
        Failure::new(format!(
            "cannot record into '{}': {error}; choose another file with --trace",
            file.display()
        ))
    })?;
    Ok(Recorder { recorder, file: file.to_owned() })
}

impl Recorder {
    /// Ends the recording, and makes the timeline; says what was recorded and where it is.
    pub(crate) fn finish(self) -> Result<String, Failure> {
        let shown = self.file.display();
        let streamed = self.recorder.finish().map_err(|error| {
            Failure::new(format!(
                "the recording '{shown}' is incomplete ({error}): free some room, or choose another file"
            ))
        })?;
        let mut text = format!("{} events are in '{shown}'", streamed.events);
        if streamed.lost > 0 {
            text += &format!(
                "; {} were lost, because they came faster than they could be written",
                streamed.lost
            );
        }
        text += "\n";
        Ok(text + &write(&load(&self.file)?, &self.file, false)?)
    }
}
