// oneTBB. The thread that calls in takes part: with N workers, N - 1 threads of TBB help it. Where jobs come
// from outside, N threads of TBB run them.
//
// task_group is the documented form for jobs that spawn jobs, parallel_for for loops, and task_arena::enqueue
// for submission from elsewhere. Tasks cannot be suspended like fibers: task::suspend would take a thread's
// stack for each.

#include <optional>

#include <oneapi/tbb.h>

#include "fork.hpp"
#include "sand.hpp"
#include "workloads.hpp"

using bench::Measured;
using bench::Params;

namespace {

// Limits TBB to so many threads that run jobs, the calling one included, and lets `f` run on them.
template <class F>
Measured on(unsigned threads, F&& f) {
    const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, threads);
    tbb::task_arena arena(static_cast<int>(threads));
    return arena.execute(f);
}

// An arena without a place for threads from outside: all of its workers are TBB's own.
class Outside {
public:
    // The limit counts the thread that calls in, which does not run jobs here.
    explicit Outside(unsigned workers)
        : limit(tbb::global_control::max_allowed_parallelism, workers + 1), arena(static_cast<int>(workers), 0) {}

    template <class Job>
    void submit(Job&& job) {
        arena.enqueue(std::forward<Job>(job));
    }

    // Submits a job and waits for it.
    void run_one() {
        first.reset(1);
        submit([this] { first.count_down(); });
        first.wait();
    }

private:
    Countdown first;
    tbb::global_control limit;
    tbb::task_arena arena;
};

uint64_t fib_of(int n) {
    if (n < 2) return static_cast<uint64_t>(n);
    uint64_t left, right;
    tbb::task_group group;
    group.run([&] { left = fib_of(n - 1); });
    right = fib_of(n - 2);
    group.wait();
    return left + right;
}

Measured fib_cell(const Params& params) {
    return on(params.workers, [&] { return fib::measure(params, fib_of); });
}

void spawn_flat() {
    tbb::task_group group;
    for (size_t index = 0; index < flat_spawn::JOBS; ++index) {
        group.run([index] { flat_spawn::empty(index); });
    }
    group.wait();
}

Measured flat_spawn_cell(const Params& params) {
    return on(params.workers, [&] { return flat_spawn::measure(params, spawn_flat); });
}

// A job for each index, split as the system likes: simple_partitioner with a grain of one goes down to single
// ones.
Measured flat_batch_cell(const Params& params) {
    return on(params.workers, [&] {
        return flat_spawn::measure(params, [] {
            tbb::parallel_for(
                tbb::blocked_range<size_t>(0, flat_spawn::JOBS, 1),
                [](const tbb::blocked_range<size_t>& range) {
                    for (size_t index = range.begin(); index < range.end(); ++index) flat_spawn::empty(index);
                },
                tbb::simple_partitioner());
        });
    });
}

// A job of TBB cannot wait for a counter without a thread: the calling thread, outside the arena, waits.
Measured never_waits_cell(const Params& params) {
    Outside system(params.workers);
    Countdown ended;
    return flat_spawn::measure(params, [&] {
        ended.reset(flat_spawn::JOBS);
        system.submit([&] {
            for (size_t index = 0; index < flat_spawn::JOBS; ++index) {
                system.submit([&ended, index] {
                    flat_spawn::empty(index);
                    ended.count_down();
                });
            }
        });
        ended.wait();
    });
}

void link(tbb::task_group& group, size_t left) {
    if (left > 0) group.run([&group, left] { link(group, left - 1); });
}

Measured chain_cell(const Params& params) {
    return on(params.workers, [&] {
        return chain::measure(params, [] {
            tbb::task_group group;
            link(group, chain::EDGES);
            group.wait();
        });
    });
}

void node(tbb::task_group& group, int depth) {
    if (depth == 0) return;
    for (int child = 0; child < 2; ++child) group.run([&group, depth] { node(group, depth - 1); });
}

Measured tree_cell(const Params& params) {
    return on(params.workers, [&] {
        return tree::measure(params, [] {
            tbb::task_group group;
            group.run([&group] { node(group, tree::DEPTH); });
            group.wait();
        });
    });
}

Measured par_for_cell(const Params& params) {
    using Range = tbb::blocked_range<size_t>;
    const auto saxpy = [](auto make_partitioner, auto grain) -> par_for::Saxpy {
        return [=](float a, const float* x, float* y, size_t n) {
            const auto body = [=](const Range& range) {
                par_for::saxpy(a, x + range.begin(), y + range.begin(), range.size());
            };
            tbb::parallel_for(Range(0, n, grain(n)), body, make_partitioner());
        };
    };
    const auto triangular = [](auto make_partitioner, size_t grain) -> par_for::Triangular {
        return [=](size_t n) {
            const auto body = [](const Range& range) { par_for::items(range.begin(), range.end()); };
            tbb::parallel_for(Range(0, n, grain), body, make_partitioner());
        };
    };
    const auto automatic = [] { return tbb::auto_partitioner(); };
    const auto fixed = [] { return tbb::static_partitioner(); };
    const auto simple = [] { return tbb::simple_partitioner(); };
    const auto one = [](size_t) -> size_t { return 1; };
    const auto grain_1024 = [](size_t) -> size_t { return 1024; };
    const auto grain_4096 = [](size_t) -> size_t { return 4096; };
    return on(params.workers, [&] {
        return par_for::measure(params,
                                {{"auto_partitioner", saxpy(automatic, one)},
                                 {"auto_partitioner, grain 1024", saxpy(automatic, grain_1024)},
                                 {"simple_partitioner, grain 4096", saxpy(simple, grain_4096)},
                                 {"static_partitioner", saxpy(fixed, one)}},
                                {{"auto_partitioner", triangular(automatic, 1)},
                                 {"auto_partitioner, grain 16", triangular(automatic, 16)},
                                 {"simple_partitioner, grain 16", triangular(simple, 16)}});
    });
}

constexpr auto loop = [](size_t count, auto body) { tbb::parallel_for(size_t{0}, count, body); };

Measured sand_cell(const Params& params) {
    return on(params.workers, [&] {
        return sand::measure(params, loop);
    });
}

Measured outside_cell(const Params& params) {
    Outside system(params.workers);
    return outside::measure(params, [&](outside::Probe probe) {
        system.submit([probe = std::move(probe)] { probe.start(); });
    });
}

// The first job runs on a thread of TBB's own, as it does in other systems. finalize waits until the threads
// are gone.
Measured start_stop_cell(const Params& params) {
    struct System {
        tbb::task_scheduler_handle handle{tbb::attach{}};
        std::optional<Outside> outside;
    };
    return start_stop::measure(
        params,
        [&] {
            auto system = std::make_unique<System>();
            system->outside.emplace(params.workers);
            system->outside->run_one();
            return system;
        },
        [](std::unique_ptr<System> system) {
            system->outside.reset();
            tbb::finalize(system->handle);
        });
}

Measured idle_cell(const Params& params) {
    Outside system(params.workers);
    system.run_one();
    return idle::measure();
}

struct Join {
    template <class A, class B>
    void operator()(const A& a, const B& b) const {
        tbb::task_group group;
        group.run(a);
        b();
        group.wait();
    }
};

template <Measured (*MEASURE)(const Params&, Join&)>
Measured by_join(const Params& params) {
    return on(params.workers, [&] {
        Join join;
        return MEASURE(params, join);
    });
}

// Runs `job(index)` for all below `count`, each as a task.
template <class Job>
void batch(size_t count, const Job& job) {
    tbb::task_group group;
    for (size_t index = 0; index < count; ++index) group.run([&job, index] { job(index); });
    group.wait();
}

Measured batches_cell(const Params& params) {
    return on(params.workers, [&] {
        return batches::measure(params, [](size_t count, const auto& job) { batch(count, job); });
    });
}

Measured imbalanced_cell(const Params& params) {
    return on(params.workers, [&] {
        return imbalanced::measure(params, [](size_t count, const auto& job) { batch(count, job); });
    });
}

Measured jobs_200ns_cell(const Params& params) {
    return on(params.workers, [&] {
        return jobs_200ns::measure(params, [](size_t count, const auto& job) { batch(count, job); });
    });
}

Measured frame_cell(const Params& params) {
    return on(params.workers, [&] {
        return frame::measure(params, [](size_t count, const auto& job) { batch(count, job); });
    });
}

Measured mandelbrot_cell(const Params& params) {
    return on(params.workers, [&] { return mandelbrot::measure(params, loop); });
}

Measured wake_storm_cell(const Params& params) {
    Outside system(params.workers);
    return wake_storm::measure(params, [&](const std::shared_ptr<wake_storm::Storm>& storm) {
        system.submit([storm] { storm->run(); });
    });
}

}  // namespace

int main(int argc, char** argv) {
    const std::string version = std::to_string(TBB_VERSION_MAJOR) + "." + std::to_string(TBB_VERSION_MINOR);
    bench::run(argc, argv, version,
              {{"fib", fib_cell},
               {"integrate", by_join<integrate::measure<Join>>},
               {"nqueens", by_join<nqueens::measure<Join>>},
               {"uts", by_join<uts::measure<Join>>},
               {"quicksort", by_join<quicksort::measure<Join>>},
               {"matmul", by_join<matmul::measure<Join>>},
               {"skynet", by_join<skynet::measure<Join>>},
               {"flat_spawn", flat_spawn_cell},
               {"flat_batch", flat_batch_cell},
               {"jobs_200ns", jobs_200ns_cell},
               {"never_waits", never_waits_cell},
               {"chain", chain_cell},
               {"tree", tree_cell},
               {"batches", batches_cell},
               {"imbalanced", imbalanced_cell},
               {"par_for", par_for_cell},
               {"mandelbrot", mandelbrot_cell},
               {"sand", sand_cell},
               {"outside", outside_cell},
               {"wake_storm", wake_storm_cell},
               {"frame", frame_cell},
               {"start_stop", start_stop_cell},
               {"idle", idle_cell}});
}
