//! The `ramie` program: shows what the job system does.
//!
//! Results go to stdout, progress and errors to stderr. An error is one line, and the exit code is
//! then 2. A stall that was asked for is neither: its report is the result, and the exit code is 1.

mod args;
mod demo;
mod error;
mod fire;
mod live;
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
/// The exit code when a stall was to be shown, and was.
const EXIT_STALLED: u8 = 1;

fn main() -> ExitCode {
    let result = match Cli::try_parse() {
        Ok(cli) => match cli.command {
            Command::Demo(args) if args.fire.drops_signal => {
                fire::break_one(&args).map(|text| (text, EXIT_STALLED.into()))
            }
            Command::Demo(args) if args.fire.under_fire => succeed(fire::run(&args)),
            Command::Demo(args) => succeed(demo::run(&args)),
            Command::Topo(args) => succeed(topo::run(&args)),
            Command::Trace(args) => succeed(trace::run(&args)),
        },
        Err(error) => succeed(usage(&error)),
    };
    match result.and_then(|(text, code)| print(&text).map(|()| code)) {
        Ok(code) => code,
        Err(failure) => {
            // When not even stderr can be written there is nobody left to tell.
            let _ = writeln!(io::stderr(), "error: {failure}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

fn succeed(result: Result<String, Failure>) -> Result<(String, ExitCode), Failure> {
    result.map(|text| (text, ExitCode::SUCCESS))
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
