//! All ways to place so many queens on a board that none attacks another: an irregular tree, in which each
//! node copies a board.

use std::hint::black_box;

use super::{Metric, Workers, Workload};
use crate::{
    cell::Measured,
    fork::ForkJoin,
    measure::{medians, time_ns},
    params::Params,
};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "nqueens",
    about: "all 14,200 ways to place 12 queens, by join over the free columns of each row, without a cutoff",
    workers: Workers::Each,
    metrics: &[Metric { name: "all", unit: "ms", about: "all placements" }],
};

const QUEENS: usize = 12;
const PLACEMENTS: u64 = 14_200;

/// The columns of the queens in the rows above.
type Board<const N: usize> = [u8; N];

/// The columns of `row` that no queen above attacks, a bit for each.
#[inline]
fn free_columns<const N: usize>(board: &Board<N>, row: usize) -> u32 {
    let is_free = |column: usize| {
        board[..row].iter().enumerate().all(|(above, &queen)| {
            let (rows, queen) = (row - above, usize::from(queen));
            queen != column && queen + rows != column && queen != column + rows
        })
    };
    (0..N).filter(|&column| is_free(column)).fold(0, |columns, column| columns | 1 << column)
}

/// The number of ways to go on with a queen in one of `columns` of `row`.
fn placements<const N: usize, F: ForkJoin>(
    context: &mut F::Context<'_>,
    mut board: Board<N>,
    row: usize,
    columns: u32,
) -> u64 {
    match columns.count_ones() {
        0 => 0,
        1 if row + 1 == N => 1,
        1 => {
            board[row] = columns.trailing_zeros() as u8;
            let columns = free_columns(&board, row + 1);
            placements::<N, F>(context, board, row + 1, columns)
        }
        count => {
            let low = lowest(columns, count / 2);
            let (left, right) = F::join(
                context,
                move |context| placements::<N, F>(context, board, row, low),
                move |context| placements::<N, F>(context, board, row, columns & !low),
            );
            left + right
        }
    }
}

/// The `count` lowest of the bits that are set.
fn lowest(bits: u32, count: u32) -> u32 {
    let above = (0..count).fold(bits, |left, _| left & (left - 1));
    bits & !above
}

/// Times the search. Call it where the system wants its joins to run.
pub(crate) fn measure<F: ForkJoin>(params: &Params, context: &mut F::Context<'_>) -> Measured {
    let [ns] = medians(params, 5, || {
        let mut found = 0;
        let ns = time_ns(|| {
            let board = black_box([0; QUEENS]);
            found = placements::<QUEENS, F>(context, board, 0, (1 << QUEENS) - 1);
        });
        assert_eq!(found, PLACEMENTS, "nqueens is wrong");
        [ns]
    });
    Measured::one("all", ns / 1e6)
}

#[cfg(test)]
mod tests;
