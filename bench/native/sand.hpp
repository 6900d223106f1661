// Falling sand by the rules of the harness's src/workloads/sand, which documents them: the checksums must be
// equal.
#pragma once

#include <atomic>

#include "bench.hpp"

namespace sand {

// Set in the words of cells that were free when the step was marked; the word of a free cell that nobody
// claims; the word of a cell that nothing enters.
constexpr uint32_t FREE_BIT = 1u << 31;
constexpr uint32_t EMPTY = UINT32_MAX;
constexpr uint32_t WALL = FREE_BIT - 1;
// The most rows that a grain falls in one step.
constexpr uint32_t SPEED_MAX = 3;
constexpr uint32_t INDEX_BITS = 21;
constexpr uint32_t SEED = 0x5eed;
// Grains in one part of a loop, and rows in one part of the loop that clears the grid.
constexpr size_t GRAINS_PER_CHUNK = 2'048;
constexpr size_t ROWS_PER_CHUNK = 20;

// Scrambles the bits of a word (the finaliser "lowbias32" of C. Wellons).
inline uint32_t mix(uint32_t word) {
    word ^= word >> 16;
    word *= 0x7feb352d;
    word ^= word >> 15;
    word *= 0x846ca68b;
    return word ^ (word >> 16);
}

struct Grain {
    // Where it lies (row * side + column), and where it wished to be in this step.
    uint32_t cell;
    uint32_t target;
    // Rows that it fell in the last step.
    uint16_t speed;
    // The first step in which it may move.
    uint16_t release;
};

struct Scene {
    uint32_t side;
    std::vector<Grain> grains;

    // Hangs the grains two cells apart, row by row; within `release_steps` steps all are let go.
    Scene(uint32_t side, uint32_t count, uint32_t release_steps) : side(side), grains(count) {
        uint32_t columns = static_cast<uint32_t>(std::sqrt(static_cast<double>(count)));
        while (columns * columns > count) --columns;
        while ((columns + 1) * (columns + 1) <= count) ++columns;
        const uint32_t left = (side - 2 * columns) / 2;
        for (uint32_t index = 0; index < count; ++index) {
            const uint32_t row = 2 + index / columns * 2, column = left + index % columns * 2;
            const uint32_t cell = row * side + column;
            const uint16_t release = static_cast<uint16_t>(mix(SEED ^ mix(index)) % release_steps);
            grains[index] = Grain{cell, cell, 0, release};
        }
    }

    // 64-bit FNV-1a, a word at a time, of where each grain lies.
    uint64_t checksum() const {
        uint64_t hash = 0xcbf29ce484222325;
        for (const Grain& grain : grains) hash = (hash ^ grain.cell) * 0x00000100000001b3;
        return hash;
    }
};

// Cells of the grid are read and written by several threads at once, in no particular order.
inline uint32_t load(uint32_t& cell) { return std::atomic_ref(cell).load(std::memory_order_relaxed); }

inline void store(uint32_t& cell, uint32_t word) { std::atomic_ref(cell).store(word, std::memory_order_relaxed); }

inline bool is_free(uint32_t& cell) { return (load(cell) & FREE_BIT) != 0; }

// Lowers a cell to `claim`, as an atomic minimum does.
inline void claim_cell(uint32_t& cell, uint32_t claim) {
    const std::atomic_ref atomic(cell);
    uint32_t word = load(cell);
    while (!atomic.compare_exchange_weak(word, std::min(word, claim), std::memory_order_relaxed)) {}
}

struct Step {
    uint32_t number;
    uint32_t salt;

    explicit Step(uint32_t number) : number(number), salt(mix(number ^ SEED)) {}

    // The cell to which the grain would like to move.
    uint32_t wish(uint32_t index, const Grain& grain, uint32_t side, uint32_t* grid) const {
        const uint32_t here = grain.cell;
        if (number < grain.release) return here;
        const uint32_t reach = std::min<uint32_t>(grain.speed + 1u, SPEED_MAX);
        uint32_t fall = 0;
        while (fall < reach && is_free(grid[here + (fall + 1) * side])) ++fall;
        if (fall > 0) return here + fall * side;
        const uint32_t sides[2] = {here - 1, here + 1};
        const uint32_t first = mix(salt ^ index) & 1;
        for (const uint32_t beside : {sides[first], sides[1 - first]}) {
            if (is_free(grid[beside]) && is_free(grid[beside + side])) return beside + side;
        }
        return here;
    }

    // The word with which the grain claims a cell.
    uint32_t claim(uint32_t index) const { return FREE_BIT | (index ^ (salt >> (32 - INDEX_BITS))); }
};

// Writes what lies in a row of cells before the grains are marked: the grid's edges are walls. Nobody else
// looks.
inline void clear_row(uint32_t row, uint32_t side, uint32_t* cells) {
    if (row == 0 || row == side - 1) {
        std::fill(cells, cells + side, WALL);
    } else {
        std::fill(cells, cells + side, EMPTY);
        cells[0] = WALL;
        cells[side - 1] = WALL;
    }
}

// One step. `loop(count, body)` calls `body(index)` for all below `count`, in parallel, and waits for them.
template <class Loop>
void do_step(Loop&& loop, const Step step, Scene& scene, std::vector<uint32_t>& cells) {
    const uint32_t side = scene.side;
    uint32_t* const grid = cells.data();
    Grain* const grains = scene.grains.data();
    const size_t count = scene.grains.size();
    // Calls `body(index, grain)` for each grain, a chunk at a time.
    const auto for_grains = [&](auto body) {
        loop((count + GRAINS_PER_CHUNK - 1) / GRAINS_PER_CHUNK, [=](size_t chunk) {
            const size_t end = std::min(count, (chunk + 1) * GRAINS_PER_CHUNK);
            for (size_t index = chunk * GRAINS_PER_CHUNK; index < end; ++index) {
                body(static_cast<uint32_t>(index), grains[index]);
            }
        });
    };
    loop((side + ROWS_PER_CHUNK - 1) / ROWS_PER_CHUNK, [=](size_t chunk) {
        const size_t end = std::min<size_t>(side, (chunk + 1) * ROWS_PER_CHUNK);
        for (size_t row = chunk * ROWS_PER_CHUNK; row < end; ++row) {
            clear_row(static_cast<uint32_t>(row), side, grid + row * side);
        }
    });
    for_grains([=](uint32_t index, Grain& grain) { store(grid[grain.cell], index); });
    for_grains([=](uint32_t index, Grain& grain) {
        grain.target = step.wish(index, grain, side, grid);
        if (grain.target != grain.cell) claim_cell(grid[grain.target], step.claim(index));
    });
    for_grains([=](uint32_t index, Grain& grain) {
        const bool won = grain.target != grain.cell && load(grid[grain.target]) == step.claim(index);
        if (won) {
            grain.speed = static_cast<uint16_t>(grain.target / side - grain.cell / side);
            grain.cell = grain.target;
        } else {
            grain.speed = 0;
        }
    });
}

// Times the simulation with a system's `loop`. Call it where the system wants its loops to run.
template <class Loop>
bench::Measured measure(const bench::Params& params, Loop&& loop) {
    struct Size {
        const char* metric;
        uint32_t side, grains, steps;
        int repeats;
    };
    bench::Measured measured;
    std::string checksums;
    for (const Size& size : {Size{"100k", 1'000, 100'000, 120, 5}, Size{"1M", 3'162, 1'000'000, 40, 3}}) {
        const Scene start(size.side, size.grains, size.steps / 2);
        std::vector<uint32_t> grid(size_t{size.side} * size.side, EMPTY);
        uint64_t checksum = 0;
        const double ns = bench::medians<1>(params.share(2), size.repeats, [&] {
            Scene scene = start;
            const double ns = bench::time_ns([&] {
                for (uint32_t number = 0; number < size.steps; ++number) do_step(loop, Step(number), scene, grid);
            });
            checksum = scene.checksum();
            return std::array{ns};
        })[0];
        measured.with(size.metric, ns / 1e6);
        checksums += (checksums.empty() ? "" : " ") + bench::hex(checksum);
    }
    return measured.checked(checksums);
}

}  // namespace sand

// A picture of the Mandelbrot set: a loop over rows whose costs differ.
namespace mandelbrot {

constexpr size_t WIDTH = 800, HEIGHT = 600;
constexpr uint32_t STEPS_MAX = 500;

// How many steps it takes until a point gets away.
inline uint32_t steps(double x, double y) {
    double a = 0, b = 0;
    for (uint32_t step = 0; step < STEPS_MAX; ++step) {
        const double a_squared = a * a, b_squared = b * b;
        if (a_squared + b_squared > 4.0) return step;
        b = 2.0 * a * b + y;
        a = a_squared - b_squared + x;
    }
    return STEPS_MAX;
}

// Times the picture with a system's `loop`, as in `sand`.
template <class Loop>
bench::Measured measure(const bench::Params& params, Loop&& loop) {
    constexpr double LEFT = -2.2, TOP = -1.2, POINT = 2.4 / static_cast<double>(HEIGHT);
    std::vector<uint32_t> picture(WIDTH * HEIGHT);
    uint32_t* const points = picture.data();
    const double ns = bench::medians<1>(params, 5, [&] {
        return std::array{bench::time_ns([&] {
            loop(HEIGHT, [=](size_t row) {
                const double y = TOP + static_cast<double>(row) * POINT;
                for (size_t column = 0; column < WIDTH; ++column) {
                    points[row * WIDTH + column] = steps(LEFT + static_cast<double>(column) * POINT, y);
                }
            });
        })};
    })[0];
    uint64_t hash = 0xcbf29ce484222325;
    for (const uint32_t point : picture) hash = (hash ^ point) * 0x00000100000001b3;
    return bench::Measured().with("picture", ns / 1e6).checked(bench::hex(hash));
}

}  // namespace mandelbrot
