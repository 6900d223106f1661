//! What systems that fork and join have in common, so that a recursion is written once for all of them: each
//! brings its `join` along, and what is compared is that and nothing else.

/// A system's `join`.
pub(crate) trait ForkJoin {
    /// What a system hands on from call to call: a scope, a worker, or nothing.
    type Context<'a>;

    /// Runs both closures, possibly at the same time, and returns both results.
    fn join<A, B, RA, RB>(context: &mut Self::Context<'_>, a: A, b: B) -> (RA, RB)
    where
        A: FnOnce(&mut Self::Context<'_>) -> RA + Send,
        B: FnOnce(&mut Self::Context<'_>) -> RB + Send,
        RA: Send,
        RB: Send;
}

/// No system: one after the other.
pub(crate) struct Serial;

impl ForkJoin for Serial {
    type Context<'a> = ();

    fn join<A, B, RA, RB>((): &mut (), a: A, b: B) -> (RA, RB)
    where
        A: FnOnce(&mut ()) -> RA + Send,
        B: FnOnce(&mut ()) -> RB + Send,
        RA: Send,
        RB: Send,
    {
        (a(&mut ()), b(&mut ()))
    }
}
