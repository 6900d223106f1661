//! The `ramie` program: shows what the job system does.
//!
//! Results go to stdout, progress and errors to stderr. An error is one line, and the exit code is
//! then 2.

mod args;
mod demo;
mod error;
mod picture;
mod sand;
mod topo;
mod trace;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::{Cli, Command};
use error::Failure;

/// The exit code of every failure, the one that clap also uses.
const EXIT_FAILURE: u8 = 2;

fn main() -> ExitCode {
    let result = match Cli::try_parse() {
        Ok(cli) => match cli.command {
            Command::Demo(args) => demo::run(&args),
            Command::Topo(args) => topo::run(&args),
            Command::Trace(args) => trace::run(&args),
        },
        Err(error) => usage(&error),
    };
    match result.and_then(|text| print(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // When not even stderr can be written there is nobody left to tell.
            let _ = writeln!(io::stderr(), "error: {failure}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

/// Help and version are what the user asked for; anything else is an error, cut down to one line.
fn usage(error: &clap::Error) -> Result<String, Failure> {
    let text = error.render().to_string();
    if !error.use_stderr() {
        return Ok(text);
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Err(Failure::new("no command is named: try 'ramie demo', or see 'ramie --help'"));
    }
    let problem = text.split("\n\n").next().unwrap_or_default();
    let problem = problem.strip_prefix("error: ").unwrap_or(problem);
    let named = std::env::args().nth(1).filter(|name| ["topo", "trace"].contains(&name.as_str()));
    let command = named.unwrap_or_else(|| "demo".to_owned());
    Err(Failure::new(format!("{problem}; see 'ramie {command} --help'")))
}

/// Prints to stdout. That the reader has gone away is not an error: it has seen what it wanted.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(format!(
            "cannot write to stdout ({error}): send it to a place that can be written"
        ))),
        _ => Ok(()),
    }
}
