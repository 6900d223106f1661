//! The frames on tokio: a task for each job, and decoders on the threads for blocking calls.
//!
//! tokio's documentation wants CPU-bound work of more than 10 to 100 us between two `.await`s off the workers: `spawn_blocking`, with a
//! limit on how much of it runs at once. So decoders go there, on as many threads as there are workers. The jobs of
//! a frame are 24 to 143 us long and are tasks; whatever waits in them is `async`.

use std::ops::Range;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use super::Plan;
use super::assets::Decode;
use super::engine::Engine;
use super::frame::{ENTITIES, ENTITIES_PER_PIECE, ISLANDS, LISTS, PARTS, World, region_of};
use super::scripts::{GROUPS, SCRIPTS, Scripts};
use crate::error::Failure;

#[derive(Debug)]
pub(super) struct OnTokio {
    runtime: Runtime,
    workers: usize,
    shared: Arc<Shared>,
    scripts: Arc<Scripts>,
}

#[derive(Debug)]
struct Shared {
    world: World,
    /// How often a region was rebuilt. Held across an `.await`.
    map: Mutex<usize>,
    /// How many turns each group of scripts has had. Gone at the end.
    turns: StdMutex<Vec<watch::Sender<usize>>>,
}

impl OnTokio {
    pub(super) fn new(plan: &Plan, scripts: &Arc<Scripts>) -> Result<Self, Failure> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(plan.workers).max_blocking_threads(plan.workers).enable_all();
        let runtime = builder.build().map_err(|error| {
            Failure::new(format!("cannot start tokio's runtime ({error}): try fewer --workers"))
        })?;
        let shared = Arc::new(Shared {
            world: World::new(plan.work),
            map: Mutex::new(0),
            turns: StdMutex::new((0..GROUPS).map(|_| watch::Sender::new(0)).collect()),
        });
        Ok(Self { runtime, workers: plan.workers, shared, scripts: Arc::clone(scripts) })
    }
}

/// Calls this for each of them, in a task of its own, and waits for all.
async fn all(count: usize, shared: &Arc<Shared>, job: impl Fn(&Shared, usize) + Copy + Send + 'static) {
    let mut tasks = JoinSet::new();
    for index in 0..count {
        let shared = Arc::clone(shared);
        tasks.spawn(async move { job(&shared, index) });
    }
    tasks.join_all().await;
}

/// The frame's own task.
async fn play(shared: Arc<Shared>, number: usize) {
    all(ENTITIES / ENTITIES_PER_PIECE, &shared, |shared, piece| {
        piece_of(piece).for_each(|entity| shared.world.animate(entity));
    })
    .await;
    // A group of scripts goes on: 100 tasks.
    if let Some(turn) = shared.turns.lock().unwrap_or_else(PoisonError::into_inner).get(number % GROUPS) {
        turn.send_modify(|turns| *turns += 1);
    }
    let mut tasks = JoinSet::new();
    for island in 0..ISLANDS {
        tasks.spawn(solve(Arc::clone(&shared), island));
    }
    tasks.join_all().await;
    all(LISTS, &shared, |shared, list| shared.world.draw(list)).await;
}

async fn solve(shared: Arc<Shared>, island: usize) {
    shared.world.solve(island);
    if let Some(region) = region_of(island) {
        rebuild(shared, region).await;
    }
}

async fn rebuild(shared: Arc<Shared>, region: usize) {
    let mut map = shared.map.lock().await;
    all(PARTS, &shared, move |shared, part| shared.world.rebuild(region, part)).await;
    *map += 1;
}

fn piece_of(piece: usize) -> Range<usize> {
    piece * ENTITIES_PER_PIECE..(piece + 1) * ENTITIES_PER_PIECE
}

impl Engine for OnTokio {
    fn start_scripts(&self) -> Option<()> {
        let groups = self.shared.turns.lock().unwrap_or_else(PoisonError::into_inner);
        for script in 0..SCRIPTS {
            let (scripts, mut group) = (Arc::clone(&self.scripts), groups[script % GROUPS].subscribe());
            self.runtime.spawn(async move {
                scripts.start();
                let mut had = 0;
                // Until the sender is gone.
                while group.wait_for(|turns| *turns > had).await.is_ok() {
                    had += 1;
                    scripts.turn();
                }
                scripts.end();
            });
        }
        Some(())
    }

    fn frame(&self, number: usize) {
        let frame = self.runtime.spawn(play(Arc::clone(&self.shared), number));
        self.runtime.block_on(frame).expect("a frame does not panic");
    }

    fn background(&self, decode: Decode) {
        drop(self.runtime.spawn_blocking(move || decode.run()));
    }

    fn end_scripts(&self) {
        self.shared.turns.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn checksum(&self) -> u64 {
        self.shared.world.checksum()
    }

    fn given(&self) -> Vec<String> {
        let workers = self.workers;
        vec![
            format!(
                "{workers} workers; jobs are tasks; decodes by spawn_blocking, on up to {workers} threads;"
            ),
            format!("tokio::sync::Mutex; scripts are {SCRIPTS} tasks that await a watch"),
        ]
    }
}
