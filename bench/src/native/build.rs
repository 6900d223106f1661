//! Compiles a rival's program, and of that only what has changed since the last time.
//!
//! Beside each file that is made lies the command that made it, and the compiler's list of the files that
//! went into it. A file is made again if the command is another now, or if one of those files is newer.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use super::{Native, Origin, Recipe};

/// For all files. The target is the compiler's default, as it is for the Rust that it is compared with; and
/// what is a multiplication and an addition stays that, as in Rust.
const FLAGS: [&str; 4] = ["-O3", "-DNDEBUG", "-pthread", "-ffp-contract=off"];
const CPP_FLAGS: [&str; 1] = ["-std=c++20"];

/// Builds the program of `native`, whose library lies in `folder`, if it needs one.
///
/// # Errors
/// Says in a line what is missing, or what the compiler said first.
pub(super) fn build(native: &Native, folder: Option<&Path>) -> Result<(), String> {
    let target = native.target();
    fs::create_dir_all(&target).map_err(|error| format!("cannot make {}: {error}", target.display()))?;
    match native.recipe {
        Recipe::Cpp { .. } => build_cpp(native, folder),
        Recipe::Cargo { package } => build_cargo(native, package, folder),
    }
}

/// The C++ compiler: the user's choice, or the system's.
fn compiler() -> String {
    std::env::var("CXX").ok().filter(|name| !name.trim().is_empty()).unwrap_or_else(|| "c++".into())
}

/// The compiler's name and version.
pub(super) fn compiler_version() -> Option<String> {
    let output = Command::new(compiler()).arg("--version").output().ok()?;
    String::from_utf8(output.stdout).ok()?.lines().next().map(|line| line.trim().to_string())
}

fn build_cpp(native: &Native, folder: Option<&Path>) -> Result<(), String> {
    let Recipe::Cpp { includes, sources, flags, link } = native.recipe else { return Ok(()) };
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("native");
    let version = compiler_version().ok_or("there is no C++ compiler: apt install g++")?;
    let target = native.target();
    let at = |path: &str| folder.map_or_else(|| PathBuf::from(path), |folder| folder.join(path));
    let mut objects = Vec::new();
    let program_source = own.join(native.name).with_extension("cpp");
    for source in sources.iter().map(|source| at(source)).chain([program_source]) {
        let name = source.file_name().expect("a source has a name").to_string_lossy();
        let object = target.join(format!("{name}.o"));
        let mut command = Command::new(compiler());
        command.args(FLAGS).args(flags);
        if source.extension().is_some_and(|extension| extension == "cpp") {
            command.args(CPP_FLAGS);
        } else {
            // The compiler's driver compiles C as C++ unless told otherwise.
            let language = if source.extension().is_some_and(|extension| extension == "c") {
                "c"
            } else {
                "assembler-with-cpp"
            };
            command.args(["-x", language]);
        }
        for include in includes {
            command.arg("-I").arg(at(include));
        }
        command
            .arg("-MD")
            .arg("-MF")
            .arg(object.with_extension("d"))
            .arg("-c")
            .arg(&source)
            .arg("-o")
            .arg(&object);
        let made = Step { output: &object, inputs: None, version: &version }.run(native, command);
        made.map_err(|said| missing(native).unwrap_or(said))?;
        objects.push(object);
    }
    let mut command = Command::new(compiler());
    command.args(FLAGS).args(flags).args(&objects).args(link).arg("-o").arg(native.program());
    Step { output: &native.program(), inputs: Some(&objects), version: &version }.run(native, command)
}

/// A file to make.
struct Step<'a> {
    output: &'a Path,
    /// The files that go into it; else the compiler lists them.
    inputs: Option<&'a [PathBuf]>,
    /// The compiler's version.
    version: &'a str,
}

impl Step<'_> {
    /// Runs `command`, which makes the file, unless it is there and nothing has changed.
    fn run(&self, native: &Native, mut command: Command) -> Result<(), String> {
        let text = format!("{}\n{command:?}\n", self.version);
        let record = self.output.with_extension("command");
        let made_by = fs::read_to_string(&record).ok();
        if made_by.as_ref() == Some(&text) && self.is_newest() {
            return Ok(());
        }
        eprintln!(
            "building {}: {}",
            native.name,
            self.output.file_name().unwrap_or_default().to_string_lossy()
        );
        let output = command.output().map_err(|error| format!("the compiler does not start: {error}"))?;
        if !output.status.success() {
            return Err(first_error(&String::from_utf8_lossy(&output.stderr)));
        }
        fs::write(&record, text).map_err(|error| format!("cannot write {}: {error}", record.display()))
    }

    /// Whether the file is there, and newer than all that went into it.
    fn is_newest(&self) -> bool {
        let Some(made) = modified(self.output) else { return false };
        let is_older = |input: &Path| modified(input).is_some_and(|time| time <= made);
        match self.inputs {
            Some(inputs) => inputs.iter().all(|input| is_older(input)),
            None => fs::read_to_string(self.output.with_extension("d"))
                .is_ok_and(|list| dependencies(&list).iter().all(|input| is_older(input))),
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// The files that a rule of make depends on; blanks in their names have a backslash before them.
pub(super) fn dependencies(rule: &str) -> Vec<PathBuf> {
    let list = rule.split_once(": ").map_or("", |(_, list)| list);
    let mut names = vec![String::new()];
    let mut characters = list.chars().peekable();
    while let Some(character) = characters.next() {
        let blank_follows = characters.peek().is_some_and(|next| *next == ' ');
        match character {
            '\\' if blank_follows => names.last_mut().expect("there is one").extend(characters.next()),
            '\\' if characters.peek() == Some(&'\n') => {}
            ' ' | '\n' => names.push(String::new()),
            other => names.last_mut().expect("there is one").push(other),
        }
    }
    names.into_iter().filter(|name| !name.is_empty()).map(PathBuf::from).collect()
}

/// What to do if the library's package is not installed; nothing if it is.
fn missing(native: &Native) -> Option<String> {
    let Origin::Package { header, install } = native.origin else { return None };
    let Recipe::Cpp { flags, .. } = native.recipe else { return None };
    let probe = native.target().join("probe.cpp");
    fs::write(&probe, format!("#include <{header}>\n")).ok()?;
    let mut command = Command::new(compiler());
    command.args(CPP_FLAGS).args(flags).arg("-fsyntax-only").arg(&probe);
    let is_there = command.output().ok()?.status.success();
    (!is_there).then(|| format!("not installed: apt install {install}"))
}

/// The first error in what a compiler said, in a short line without the folders.
fn first_error(said: &str) -> String {
    let mut lines = said.lines();
    let line =
        lines.find(|line| line.contains("error")).or(said.lines().next()).unwrap_or("for no reason").trim();
    let name = line.rsplit_once('/').map_or(line, |(_, rest)| rest);
    format!("does not build: {}", name.chars().take(160).collect::<String>())
}

/// Builds a package of Rust, by a manifest that is written beside its target folder: its lockfile lies there,
/// too.
fn build_cargo(native: &Native, package: &str, folder: Option<&Path>) -> Result<(), String> {
    let Some(folder) = folder else { return Err("it needs a folder".into()) };
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("native").join(native.name);
    let cannot = |what: &Path, error| format!("cannot use {}: {error}", what.display());
    let template = own.join("manifest.toml");
    let manifest = native.target().join("Cargo.toml");
    let text = fs::read_to_string(&template).map_err(|error| cannot(&template, error))?;
    let name = native.name;
    let text = format!(
        "{text}\n[dependencies.{package}]\npath = {folder:?}\n\n[[bin]]\nname = {name:?}\npath = {:?}\n",
        own.join("main.rs")
    );
    // Cargo looks at the time of the manifest: it is written only if it says something else now.
    if fs::read_to_string(&manifest).ok().as_ref() != Some(&text) {
        eprintln!("building {name}");
        fs::write(&manifest, text).map_err(|error| cannot(&manifest, error))?;
    }
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.args(["build", "--release", "--quiet", "--manifest-path"]).arg(&manifest);
    command.arg("--target-dir").arg(native.target());
    let output = command.output().map_err(|error| format!("cargo does not start: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(first_error(&String::from_utf8_lossy(&output.stderr))) }
}
