// The recursions by join of the harness's src/workloads: each is written once, for whatever joins two
// closures. A `Join` is called with both, runs them, possibly at the same time, and returns when both are
// done. The figures' checksums, and what is asserted, are those of the Rust versions.
#pragma once

#include "bench.hpp"

namespace words {

// Scrambles the bits of a word (the finaliser of SplitMix64).
inline uint64_t mix(uint64_t word) {
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9;
    word = (word ^ (word >> 27)) * 0x94d049bb133111eb;
    return word ^ (word >> 31);
}

// The `index`-th word of the sequence that begins with `seed`.
inline uint64_t word(uint64_t seed, uint64_t index) { return mix(seed + 0x9e3779b97f4a7c15 * (index + 1)); }

// 64-bit FNV-1a, a word at a time: the hash so far, with one more word.
inline uint64_t hash(uint64_t hash, uint64_t word) { return (hash ^ word) * 0x00000100000001b3; }
constexpr uint64_t EMPTY_HASH = 0xcbf29ce484222325;

}  // namespace words

// An integral by halving intervals until the trapezia fit, without a cutoff.
namespace integrate {

constexpr double EPSILON = 1e-7;
constexpr double JOINS = 1'753'285;

inline double curve(double x) { return (x * x + 1.0) * x; }

struct Interval {
    double from, from_y, to, to_y, area;

    Interval(double from, double from_y, double to, double to_y)
        : from(from), from_y(from_y), to(to), to_y(to_y), area((to - from) * (from_y + to_y) / 2.0) {}
};

template <class Join>
double of(Join& join, const Interval interval) {
    const double middle = (interval.from + interval.to) / 2.0, middle_y = curve(middle);
    const Interval left(interval.from, interval.from_y, middle, middle_y);
    const Interval right(middle, middle_y, interval.to, interval.to_y);
    const double area = left.area + right.area;
    if (std::fabs(area - interval.area) <= EPSILON) return area;
    double left_area, right_area;
    join([&] { left_area = of(join, left); }, [&] { right_area = of(join, right); });
    return left_area + right_area;
}

template <class Join>
bench::Measured measure(const bench::Params& params, Join& join) {
    double area = 0;
    const double ns = bench::ns_per_op(params, 7, JOINS, [&] {
        const double to = bench::black_box(uint64_t{1'000});
        area = of(join, Interval(0.0, curve(0.0), to, curve(to)));
    });
    uint64_t bits;
    std::memcpy(&bits, &area, sizeof bits);
    return bench::Measured().with("join", ns).checked(bench::hex(bits));
}

}  // namespace integrate

// All ways to place twelve queens, without a cutoff.
namespace nqueens {

constexpr int QUEENS = 12;
constexpr uint64_t PLACEMENTS = 14'200;
using Board = std::array<uint8_t, QUEENS>;

// The columns of `row` that no queen above attacks, a bit for each.
inline uint32_t free_columns(const Board& board, int row) {
    uint32_t columns = 0;
    for (int column = 0; column < QUEENS; ++column) {
        bool is_free = true;
        for (int above = 0; above < row && is_free; ++above) {
            const int rows = row - above, queen = board[static_cast<size_t>(above)];
            is_free = queen != column && queen + rows != column && queen != column + rows;
        }
        columns |= static_cast<uint32_t>(is_free) << column;
    }
    return columns;
}

// The `count` lowest of the bits that are set.
inline uint32_t lowest(uint32_t bits, int count) {
    uint32_t above = bits;
    for (; count > 0; --count) above &= above - 1;
    return bits & ~above;
}

// The number of ways to go on with a queen in one of `columns` of `row`.
template <class Join>
uint64_t placements(Join& join, Board board, int row, uint32_t columns) {
    const int count = __builtin_popcount(columns);
    if (count == 0) return 0;
    if (count == 1) {
        if (row + 1 == QUEENS) return 1;
        board[static_cast<size_t>(row)] = static_cast<uint8_t>(__builtin_ctz(columns));
        return placements(join, board, row + 1, free_columns(board, row + 1));
    }
    const uint32_t low = lowest(columns, count / 2);
    uint64_t left, right;
    join([&join, &left, board, row, low] { left = placements(join, board, row, low); },
         [&join, &right, board, row, high = columns & ~low] { right = placements(join, board, row, high); });
    return left + right;
}

template <class Join>
bench::Measured measure(const bench::Params& params, Join& join) {
    const double ns = bench::medians<1>(params, 5, [&] {
        uint64_t found = 0;
        const double ns = bench::time_ns([&] {
            found = placements(join, Board{}, bench::black_box(0), (1u << QUEENS) - 1);
        });
        bench::check(found == PLACEMENTS, "nqueens is wrong");
        return std::array{ns};
    })[0];
    return bench::Measured().with("all", ns / 1e6);
}

}  // namespace nqueens

// Unbalanced trees whose nodes are counted.
namespace uts {

constexpr int SCRAMBLES = 24;
constexpr uint32_t GEOMETRIC_DEPTH = 9;
constexpr double GEOMETRIC_MEAN = 4.0;
constexpr uint64_t GEOMETRIC_SEED = 44, BINOMIAL_SEED = 3;
constexpr size_t BINOMIAL_ROOT = 2'000, BINOMIAL_CHILDREN = 8;
constexpr double BINOMIAL_CHANCE = 0.124875;

enum class Shape { GEOMETRIC, BINOMIAL };

struct Node {
    uint64_t hash;
    uint32_t depth;

    Node child(size_t index) const {
        uint64_t hash = words::word(this->hash, index);
        for (int time = 0; time < SCRAMBLES; ++time) hash = words::mix(hash);
        return {hash, depth + 1};
    }
};

struct Counts {
    uint64_t nodes, leaves;
    uint32_t depth;

    bool operator==(const Counts&) const = default;
};

inline size_t children(Shape shape, Node node) {
    // The upper 53 bits, as a fraction of one.
    const double chance = static_cast<double>(node.hash >> 11) / static_cast<double>(uint64_t{1} << 53);
    if (shape == Shape::GEOMETRIC) {
        if (node.depth >= GEOMETRIC_DEPTH) return 0;
        return static_cast<size_t>(std::log(1.0 - chance) / std::log(1.0 - 1.0 / (1.0 + GEOMETRIC_MEAN)));
    }
    if (node.depth == 0) return BINOMIAL_ROOT;
    return chance < BINOMIAL_CHANCE ? BINOMIAL_CHILDREN : 0;
}

template <class Join>
Counts count_children(Join& join, Shape shape, Node node, size_t from, size_t to);

template <class Join>
Counts count(Join& join, Shape shape, Node node) {
    const size_t below = children(shape, node);
    if (below == 0) return {1, 1, node.depth};
    Counts counts = count_children(join, shape, node, 0, below);
    ++counts.nodes;
    return counts;
}

template <class Join>
Counts count_children(Join& join, Shape shape, Node node, size_t from, size_t to) {
    if (to - from == 1) return count(join, shape, node.child(from));
    const size_t middle = from + (to - from) / 2;
    Counts left, right;
    join([&join, &left, shape, node, from, middle] { left = count_children(join, shape, node, from, middle); },
         [&join, &right, shape, node, middle, to] { right = count_children(join, shape, node, middle, to); });
    return {left.nodes + right.nodes, left.leaves + right.leaves, std::max(left.depth, right.depth)};
}

template <class Join>
bench::Measured measure(const bench::Params& params, Join& join) {
    const auto ms = [&](Shape shape, uint64_t seed, Counts expected) {
        const Node root{words::mix(bench::black_box(seed)), 0};
        Counts counts{};
        const double ns = bench::time_ns([&] { counts = count(join, shape, root); });
        bench::check(counts == expected, "uts is wrong");
        return ns / 1e6;
    };
    const auto [t1, t3] = bench::medians<2>(params, 5, [&] {
        const double t1 = ms(Shape::GEOMETRIC, GEOMETRIC_SEED, {1'000'348, 800'202, 9});
        return std::array{t1, ms(Shape::BINOMIAL, BINOMIAL_SEED, {969'521, 848'580, 941})};
    });
    return bench::Measured().with("T1", t1).with("T3", t3);
}

}  // namespace uts

// A million numbers are sorted in place.
namespace quicksort {

constexpr size_t NUMBERS = 1'000'000, CUTOFF = 1'024;
constexpr uint64_t SEED = 0x5047;

// Moves what is less than a pivot to its left and the rest to its right, and returns where it is.
inline size_t partition(uint32_t* numbers, size_t count) {
    const size_t last = count - 1, middle = last / 2;
    // The median of three goes to the end.
    if (numbers[middle] < numbers[0]) std::swap(numbers[middle], numbers[0]);
    if (numbers[last] < numbers[0]) std::swap(numbers[last], numbers[0]);
    if (numbers[middle] < numbers[last]) std::swap(numbers[middle], numbers[last]);
    const uint32_t pivot = numbers[last];
    size_t end = 0;
    for (size_t index = 0; index < last; ++index) {
        // Without a branch: half of all numbers would be mispredicted.
        const uint32_t number = numbers[index];
        const bool is_less = number < pivot;
        numbers[index] = numbers[end];
        numbers[end] = number;
        end += is_less;
    }
    std::swap(numbers[end], numbers[last]);
    return end;
}

// Sorts a short part, byte by byte from the lowest on. The standard library of C++ would take more than three times
// as long as that of Rust, which takes about as long as this: what is to be compared is what joins.
inline void sort_short(uint32_t* numbers, size_t count) {
    constexpr size_t BYTES = sizeof(uint32_t), VALUES = 256;
    std::array<std::array<uint16_t, VALUES>, BYTES> places{};
    for (size_t index = 0; index < count; ++index) {
        for (size_t byte = 0; byte < BYTES; ++byte) ++places[byte][numbers[index] >> (8 * byte) & 0xff];
    }
    std::array<uint32_t, CUTOFF> other;
    uint32_t* from = numbers;
    uint32_t* to = other.data();
    for (size_t byte = 0; byte < BYTES; ++byte) {
        uint16_t first = 0;
        for (uint16_t& place : places[byte]) first = static_cast<uint16_t>(first + std::exchange(place, first));
        for (size_t index = 0; index < count; ++index) {
            to[places[byte][from[index] >> (8 * byte) & 0xff]++] = from[index];
        }
        std::swap(from, to);
    }
}
static_assert(sizeof(uint32_t) % 2 == 0, "after an even number of passes the numbers are where they were");

template <class Join>
void sort(Join& join, uint32_t* numbers, size_t count) {
    if (count <= CUTOFF) return sort_short(numbers, count);
    const size_t pivot = partition(numbers, count);
    // The pivot is where it belongs.
    join([&join, numbers, pivot] { sort(join, numbers, pivot); },
         [&join, numbers, pivot, count] { sort(join, numbers + pivot + 1, count - pivot - 1); });
}

template <class Join>
bench::Measured measure(const bench::Params& params, Join& join) {
    std::vector<uint32_t> unsorted(NUMBERS), sorted(NUMBERS);
    for (size_t index = 0; index < NUMBERS; ++index) {
        unsorted[index] = static_cast<uint32_t>(words::word(SEED, index));
    }
    const double ns = bench::medians<1>(params, 5, [&] {
        sorted = unsorted;
        const double ns = bench::time_ns([&] { sort(join, sorted.data(), sorted.size()); });
        bench::check(std::is_sorted(sorted.begin(), sorted.end()), "quicksort is wrong");
        return std::array{ns};
    })[0];
    uint64_t hash = words::EMPTY_HASH;
    for (const uint32_t number : sorted) hash = words::hash(hash, number);
    return bench::Measured().with("sort", ns / 1e6).checked(bench::hex(hash));
}

}  // namespace quicksort

// Two matrices are multiplied by dividing them into quarters.
namespace matmul {

constexpr size_t SIDE = 512, TILE = 32;
constexpr uint64_t LIMIT = 8;

inline void multiply_add_tile(float* __restrict c, const float* __restrict a, const float* __restrict b) {
    for (size_t row = 0; row < TILE; ++row) {
        for (size_t inner = 0; inner < TILE; ++inner) {
            const float factor = a[row * TILE + inner];
            for (size_t column = 0; column < TILE; ++column) {
                c[row * TILE + column] += factor * b[inner * TILE + column];
            }
        }
    }
}

// Adds the product of `a` and `b` to `c`, of so many elements each.
template <class Join>
void multiply_add(Join& join, float* c, const float* a, const float* b, size_t elements) {
    if (elements == TILE * TILE) return multiply_add_tile(c, a, b);
    const size_t quarter = elements / 4;
    // Quarters are numbered: upper left, upper right, lower left, lower right.
    const auto product = [&join, c, a, b, quarter](size_t row, size_t column) {
        float* const sum = c + (2 * row + column) * quarter;
        multiply_add(join, sum, a + 2 * row * quarter, b + column * quarter, quarter);
        multiply_add(join, sum, a + (2 * row + 1) * quarter, b + (2 + column) * quarter, quarter);
    };
    join([&] { join([&] { product(0, 0); }, [&] { product(0, 1); }); },
         [&] { join([&] { product(1, 0); }, [&] { product(1, 1); }); });
}

inline std::vector<float> matrix(uint64_t seed) {
    std::vector<float> elements(SIDE * SIDE);
    for (size_t index = 0; index < elements.size(); ++index) {
        elements[index] = static_cast<float>(words::word(seed, index) % LIMIT);
    }
    return elements;
}

template <class Join>
bench::Measured measure(const bench::Params& params, Join& join) {
    const std::vector<float> a = matrix(1), b = matrix(2);
    std::vector<float> c(SIDE * SIDE);
    const double ns = bench::medians<1>(params, 9, [&] {
        std::fill(c.begin(), c.end(), 0.0f);
        return std::array{bench::time_ns([&] { multiply_add(join, c.data(), a.data(), b.data(), c.size()); })};
    })[0];
    uint64_t hash = words::EMPTY_HASH;
    for (const float element : c) {
        uint32_t bits;
        std::memcpy(&bits, &element, sizeof bits);
        hash = words::hash(hash, bits);
    }
    return bench::Measured().with("product", ns / 1e6).checked(bench::hex(hash));
}

}  // namespace matmul

// A tree of jobs with ten children each, whose million leaves are added up.
namespace skynet {

constexpr size_t CHILDREN = 10;

template <class Join>
uint64_t sum_of(Join& join, uint64_t first, uint64_t leaves);

// The sum of some of the children of a job, each of which has so many leaves.
template <class Join>
uint64_t children(Join& join, uint64_t first, uint64_t leaves, size_t from, size_t to) {
    if (to - from == 1) return sum_of(join, first + from * leaves, leaves);
    const size_t middle = (from + to) / 2;
    uint64_t left, right;
    join([&] { left = children(join, first, leaves, from, middle); },
         [&] { right = children(join, first, leaves, middle, to); });
    return left + right;
}

template <class Join>
uint64_t sum_of(Join& join, uint64_t first, uint64_t leaves) {
    return leaves == 1 ? first : children(join, first, leaves / CHILDREN, 0, CHILDREN);
}

template <class Join>
bench::Measured measure(const bench::Params& params, Join& join) {
    const double ns = bench::ns_per_op(params, 3, 1'111'111, [&] {
        bench::check(sum_of(join, 0, bench::black_box(uint64_t{1'000'000})) == 499'999'500'000, "skynet is wrong");
    });
    return bench::Measured().with("job", ns);
}

}  // namespace skynet
