// Taskflow. N worker threads run the tasks; the thread that calls in only waits, so that rounds run in a
// task.
//
// Jobs are asynchronous tasks: of a task group where their parent waits for them, else of the executor,
// because a group takes tasks only from the worker that made it. Loops are the library's algorithms, run as a
// task of a group. There is no call for batches, and tasks cannot be suspended: a worker that waits runs
// other tasks meanwhile.
// On its own stack, that is: the deeper tree of uts overflows the 8 MiB that a thread has by default.

#include <taskflow/algorithm/for_each.hpp>
#include <taskflow/taskflow.hpp>

#include "fork.hpp"
#include "sand.hpp"
#include "workloads.hpp"

using bench::Measured;
using bench::Params;

namespace {

// Runs `f` in a task, and waits for it.
template <class F>
auto in_task(tf::Executor& executor, F&& f) {
    return executor.async(f).get();
}

uint64_t fib_of(tf::Executor& executor, int n) {
    if (n < 2) return static_cast<uint64_t>(n);
    uint64_t left;
    tf::TaskGroup group = executor.task_group();
    group.silent_async([&] { left = fib_of(executor, n - 1); });
    const uint64_t right = fib_of(executor, n - 2);
    group.corun();
    return left + right;
}

Measured fib_cell(const Params& params) {
    tf::Executor executor(params.workers);
    return in_task(executor, [&] {
        return fib::measure(params, [&](int n) { return fib_of(executor, n); });
    });
}

Measured flat_spawn_cell(const Params& params) {
    tf::Executor executor(params.workers);
    return in_task(executor, [&] {
        return flat_spawn::measure(params, [&] {
            tf::TaskGroup group = executor.task_group();
            for (size_t index = 0; index < flat_spawn::JOBS; ++index) {
                group.silent_async([index] { flat_spawn::empty(index); });
            }
            group.corun();
        });
    });
}

// The thread outside waits, as a task could only run others until the counter is zero.
Measured never_waits_cell(const Params& params) {
    tf::Executor executor(params.workers);
    Countdown ended;
    return flat_spawn::measure(params, [&] {
        ended.reset(flat_spawn::JOBS);
        executor.silent_async([&] {
            for (size_t index = 0; index < flat_spawn::JOBS; ++index) {
                executor.silent_async([&ended, index] {
                    flat_spawn::empty(index);
                    ended.count_down();
                });
            }
        });
        ended.wait();
    });
}

void link(tf::Executor& executor, std::atomic<bool>& ended, size_t left) {
    if (left > 0) {
        executor.silent_async([&executor, &ended, left] { link(executor, ended, left - 1); });
    } else {
        ended.store(true, std::memory_order_release);
    }
}

Measured chain_cell(const Params& params) {
    tf::Executor executor(params.workers);
    return in_task(executor, [&] {
        return chain::measure(params, [&] {
            std::atomic<bool> ended = false;
            link(executor, ended, chain::EDGES);
            executor.corun_until([&] { return ended.load(std::memory_order_acquire); });
        });
    });
}

// A node waits for its children.
void node(tf::Executor& executor, int depth) {
    if (depth == 0) return;
    tf::TaskGroup group = executor.task_group();
    for (int child = 0; child < 2; ++child) group.silent_async([&executor, depth] { node(executor, depth - 1); });
    group.corun();
}

Measured tree_cell(const Params& params) {
    tf::Executor executor(params.workers);
    return in_task(executor, [&] {
        return tree::measure(params, [&] {
            tf::TaskGroup group = executor.task_group();
            group.silent_async([&] { node(executor, tree::DEPTH); });
            group.corun();
        });
    });
}

// Calls `body(begin, end)` for parts of the indices below `count`, which the partitioner chooses.
template <class Partitioner, class Body>
void loop(tf::Executor& executor, size_t count, Partitioner partitioner, const Body& body) {
    const auto part = [&body](const tf::IndexRange<size_t>& range) { body(range.begin(), range.end()); };
    tf::TaskGroup group = executor.task_group();
    group.silent_async(tf::make_for_each_by_index_task(tf::IndexRange<size_t>(0, count, 1), part, partitioner));
    group.corun();
}

Measured par_for_cell(const Params& params) {
    tf::Executor executor(params.workers);
    const auto saxpy = [&executor](auto partitioner) -> par_for::Saxpy {
        return [=, &executor](float a, const float* x, float* y, size_t n) {
            loop(executor, n, partitioner, [=](size_t begin, size_t end) {
                par_for::saxpy(a, x + begin, y + begin, end - begin);
            });
        };
    };
    const auto triangular = [&executor](auto partitioner) -> par_for::Triangular {
        return [=, &executor](size_t n) { loop(executor, n, partitioner, par_for::items); };
    };
    return in_task(executor, [&] {
        return par_for::measure(params,
                                {{"guided", saxpy(tf::GuidedPartitioner<>())},
                                 {"guided 1024", saxpy(tf::GuidedPartitioner<>(1024))},
                                 {"dynamic 4096", saxpy(tf::DynamicPartitioner<>(4096))},
                                 {"static", saxpy(tf::StaticPartitioner<>())}},
                                {{"guided", triangular(tf::GuidedPartitioner<>())},
                                 {"dynamic 16", triangular(tf::DynamicPartitioner<>(16))},
                                 {"static 16", triangular(tf::StaticPartitioner<>(16))}});
    });
}

// Calls `body(index)` for all indices below `count`, which workers take one after the other.
template <class Body>
void loop_one_by_one(tf::Executor& executor, size_t count, const Body& body) {
    loop(executor, count, tf::DynamicPartitioner<>(1), [&body](size_t begin, size_t end) {
        for (size_t index = begin; index < end; ++index) body(index);
    });
}

Measured sand_cell(const Params& params) {
    tf::Executor executor(params.workers);
    return in_task(executor, [&] {
        return sand::measure(params, [&](size_t count, const auto& body) { loop_one_by_one(executor, count, body); });
    });
}

Measured mandelbrot_cell(const Params& params) {
    tf::Executor executor(params.workers);
    return in_task(executor, [&] {
        return mandelbrot::measure(params, [&](size_t count, const auto& body) {
            loop_one_by_one(executor, count, body);
        });
    });
}

Measured outside_cell(const Params& params) {
    tf::Executor executor(params.workers);
    return outside::measure(params, [&](outside::Probe probe) {
        executor.silent_async([probe = std::move(probe)] { probe.start(); });
    });
}

Measured start_stop_cell(const Params& params) {
    return start_stop::measure(
        params,
        [&] {
            auto executor = std::make_unique<tf::Executor>(params.workers);
            in_task(*executor, [] {});
            return executor;
        },
        [](std::unique_ptr<tf::Executor> executor) { executor.reset(); });
}

Measured idle_cell(const Params& params) {
    tf::Executor executor(params.workers);
    in_task(executor, [] {});
    return idle::measure();
}

struct Join {
    tf::Executor& executor;

    template <class A, class B>
    void operator()(const A& a, const B& b) const {
        tf::TaskGroup group = executor.task_group();
        group.silent_async([&a] { a(); });
        b();
        group.corun();
    }
};

template <Measured (*MEASURE)(const Params&, Join&)>
Measured by_join(const Params& params) {
    tf::Executor executor(params.workers);
    return in_task(executor, [&] {
        Join join{executor};
        return MEASURE(params, join);
    });
}

// Runs `job(index)` for all below `count`, each as a task.
template <class Job>
void batch(tf::Executor& executor, size_t count, const Job& job) {
    tf::TaskGroup group = executor.task_group();
    for (size_t index = 0; index < count; ++index) group.silent_async([&job, index] { job(index); });
    group.corun();
}

Measured batches_cell(const Params& params) {
    tf::Executor executor(params.workers);
    return in_task(executor, [&] {
        return batches::measure(params, [&](size_t count, const auto& job) { batch(executor, count, job); });
    });
}

Measured imbalanced_cell(const Params& params) {
    tf::Executor executor(params.workers);
    return in_task(executor, [&] {
        return imbalanced::measure(params, [&](size_t count, const auto& job) { batch(executor, count, job); });
    });
}

Measured jobs_200ns_cell(const Params& params) {
    tf::Executor executor(params.workers);
    return in_task(executor, [&] {
        return jobs_200ns::measure(params, [&](size_t count, const auto& job) { batch(executor, count, job); });
    });
}

Measured frame_cell(const Params& params) {
    tf::Executor executor(params.workers);
    return in_task(executor, [&] {
        return frame::measure(params, [&](size_t count, const auto& job) { batch(executor, count, job); });
    });
}

Measured wake_storm_cell(const Params& params) {
    tf::Executor executor(params.workers);
    return wake_storm::measure(params, [&](const std::shared_ptr<wake_storm::Storm>& storm) {
        executor.silent_async([storm] { storm->run(); });
    });
}

}  // namespace

int main(int argc, char** argv) {
    bench::run(argc, argv, tf::version(),
              {{"fib", fib_cell},
               {"integrate", by_join<integrate::measure<Join>>},
               {"nqueens", by_join<nqueens::measure<Join>>},
               {"uts", by_join<uts::measure<Join>>},
               {"quicksort", by_join<quicksort::measure<Join>>},
               {"matmul", by_join<matmul::measure<Join>>},
               {"skynet", by_join<skynet::measure<Join>>},
               {"flat_spawn", flat_spawn_cell},
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
