//! RustFiber's program: what the harness measures with, from the harness's own source, and this system alone.
//!
//! N worker threads run the jobs. A thread outside that waits for a counter never sleeps, so that it would
//! take a processor away from the workers: rounds run in a job, and the calling thread waits for a channel.
//!
//! Jobs are `'static`. What they share is leaked for the cell, or reached through an address that outlives
//! them, because the job that spawns them waits for them.
#![allow(dead_code, unexpected_cfgs, reason = "the harness's modules are there as a whole")]

#[path = "../../src/busy.rs"]
mod busy;
#[path = "../../src/cell.rs"]
mod cell;
#[path = "../../src/fork.rs"]
mod fork;
#[path = "../../src/measure.rs"]
mod measure;
#[path = "../../src/params.rs"]
mod params;
#[path = "../../src/placement.rs"]
mod placement;
#[path = "../../src/random.rs"]
mod random;
#[path = "../../src/resident.rs"]
mod resident;
mod rivals;
#[path = "../../src/sizes.rs"]
mod sizes;
#[path = "../../src/workloads/mod.rs"]
mod workloads;

use std::{panic, process, process::ExitCode};

use clap::Parser;

/// The harness's hidden subcommand, and what the harness asks first.
#[derive(Parser)]
enum Command {
    /// Prints the workloads that this program knows.
    About,
    /// Measures a cell and prints a line of JSON.
    Cell(cell::CellArgs),
}

fn main() -> ExitCode {
    // A worker that panics for want of a stack would leave the others waiting for it.
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        tell(info);
        process::exit(101);
    }));
    let result = match Command::parse() {
        Command::About => {
            let workloads: Vec<_> = rivals::RIVAL.cells.iter().map(|(workload, _)| workload.name).collect();
            println!("{}", serde_json::json!({ "version": "unknown", "workloads": workloads }));
            Ok(())
        }
        Command::Cell(args) => cell::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("rustfiber: {message}");
            ExitCode::FAILURE
        }
    }
}
