//! What a system has to offer so that frames can be played on it.

use super::assets::Decode;

/// A system with frames to play. What the jobs do is in [`World`](super::frame::World), which it holds.
///
/// A trait of loops and locks alone, with one frame written on top, would not do for all: with tokio whatever waits is an
/// `async` function, and so is whatever calls it. So each writes the frame down as one does there; it is 30 lines.
pub(super) trait Engine: Send + Sync + 'static {
    /// Starts the scripts that wait, all frames counted. `None` if the system has no jobs that wait.
    fn start_scripts(&self) -> Option<()>;

    /// Plays a frame from outside of the system, and returns when it is done.
    fn frame(&self, number: usize);

    /// Starts a job that is 5 ms long and has no hurry.
    fn background(&self, decode: Decode);

    /// Lets the scripts end.
    fn end_scripts(&self);

    /// What of the state everybody can compare.
    fn checksum(&self) -> u64;

    /// What it was given, in a few lines.
    fn given(&self) -> Vec<String>;
}
