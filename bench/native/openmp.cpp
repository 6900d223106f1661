// OpenMP as the C++ compiler has it. The thread that calls in takes part: with N workers, N - 1 threads help
// it.
//
// Jobs are tasks that one thread of a parallel region spawns, while the others wait at the region's end and
// run them. Loops are parallel loops, each a region of its own. gcc runs a task at once instead of queueing
// it when there are many already. Threads outside of a region cannot submit to it, and tasks cannot wait for
// anything but tasks.

#include <omp.h>

#include "fork.hpp"
#include "sand.hpp"
#include "workloads.hpp"

using bench::Measured;
using bench::Params;

namespace {

// Lets one thread of a region do `f`.
template <class F>
Measured on(const Params& params, F&& f) {
    Measured measured;
#pragma omp parallel num_threads(params.workers)
#pragma omp single
    measured = f();
    return measured;
}

uint64_t fib_of(int n) {
    if (n < 2) return static_cast<uint64_t>(n);
    uint64_t left, right;
#pragma omp task shared(left)
    left = fib_of(n - 1);
    right = fib_of(n - 2);
#pragma omp taskwait
    return left + right;
}

Measured fib_cell(const Params& params) {
    return on(params, [&] { return fib::measure(params, fib_of); });
}

Measured flat_spawn_cell(const Params& params) {
    return on(params, [&] {
        return flat_spawn::measure(params, [] {
            for (size_t index = 0; index < flat_spawn::JOBS; ++index) {
#pragma omp task firstprivate(index)
                flat_spawn::empty(index);
            }
#pragma omp taskwait
        });
    });
}

Measured flat_batch_cell(const Params& params) {
    return on(params, [&] {
        return flat_spawn::measure(params, [] {
#pragma omp taskloop grainsize(1)
            for (size_t index = 0; index < flat_spawn::JOBS; ++index) flat_spawn::empty(index);
        });
    });
}

void link(size_t left) {
    if (left == 0) return;
#pragma omp task firstprivate(left)
    link(left - 1);
}

Measured chain_cell(const Params& params) {
    return on(params, [&] {
        return chain::measure(params, [] {
#pragma omp taskgroup
            link(chain::EDGES);
        });
    });
}

void node(int depth) {
    if (depth == 0) return;
    for (int child = 0; child < 2; ++child) {
#pragma omp task firstprivate(depth)
        node(depth - 1);
    }
}

Measured tree_cell(const Params& params) {
    return on(params, [&] {
        return tree::measure(params, [] {
#pragma omp taskgroup
            {
#pragma omp task
                node(tree::DEPTH);
            }
        });
    });
}

Measured par_for_cell(const Params& params) {
    const int workers = static_cast<int>(params.workers);
    omp_set_num_threads(workers);
    using Schedule = std::pair<omp_sched_t, int>;
    const auto saxpy = [](float a, const float* __restrict x, float* __restrict y, size_t n) {
#pragma omp parallel for simd schedule(static)
        for (size_t index = 0; index < n; ++index) y[index] += a * x[index];
    };
    const auto saxpy_chunks = [](Schedule schedule) -> par_for::Saxpy {
        return [=](float a, const float* __restrict x, float* __restrict y, size_t n) {
            omp_set_schedule(schedule.first, schedule.second);
#pragma omp parallel for simd schedule(runtime)
            for (size_t index = 0; index < n; ++index) y[index] += a * x[index];
        };
    };
    const auto triangular = [](Schedule schedule) -> par_for::Triangular {
        return [=](size_t n) {
            omp_set_schedule(schedule.first, schedule.second);
#pragma omp parallel for schedule(runtime)
            for (size_t index = 0; index < n; ++index) par_for::item(index);
        };
    };
    return par_for::measure(params,
                            {{"static", saxpy},
                             {"dynamic 4096", saxpy_chunks({omp_sched_dynamic, 4096})},
                             {"guided 1024", saxpy_chunks({omp_sched_guided, 1024})}},
                            {{"dynamic 16", triangular({omp_sched_dynamic, 16})},
                             {"guided", triangular({omp_sched_guided, 1})},
                             {"static 16", triangular({omp_sched_static, 16})}});
}

template <class Body>
void loop(size_t count, const Body& body) {
#pragma omp parallel for schedule(dynamic)
    for (size_t index = 0; index < count; ++index) body(index);
}

Measured sand_cell(const Params& params) {
    omp_set_num_threads(static_cast<int>(params.workers));
    return sand::measure(params, [](size_t count, const auto& body) { loop(count, body); });
}

Measured mandelbrot_cell(const Params& params) {
    omp_set_num_threads(static_cast<int>(params.workers));
    return mandelbrot::measure(params, [](size_t count, const auto& body) { loop(count, body); });
}

void region(const Params& params) {
    std::atomic<unsigned> started = 0;
#pragma omp parallel num_threads(params.workers)
    ++started;
    bench::check(started == params.workers, "the region has another number of threads");
}

// The region ends when all threads have run in it. What stops the threads also waits for them.
Measured start_stop_cell(const Params& params) {
    return start_stop::measure(
        params,
        [&] {
            region(params);
            return 0;
        },
        [](int) { bench::check(omp_pause_resource_all(omp_pause_hard) == 0, "the threads cannot be stopped"); });
}

Measured idle_cell(const Params& params) {
    region(params);
    return idle::measure();
}

struct Join {
    template <class A, class B>
    void operator()(const A& a, const B& b) const {
#pragma omp task shared(a)
        a();
        b();
#pragma omp taskwait
    }
};

template <Measured (*MEASURE)(const Params&, Join&)>
Measured by_join(const Params& params) {
    return on(params, [&] {
        Join join;
        return MEASURE(params, join);
    });
}

// Runs `job(index)` for all below `count`, each as a task.
template <class Job>
void batch(size_t count, const Job& job) {
    for (size_t index = 0; index < count; ++index) {
#pragma omp task firstprivate(index) shared(job)
        job(index);
    }
#pragma omp taskwait
}

Measured batches_cell(const Params& params) {
    return on(params, [&] {
        return batches::measure(params, [](size_t count, const auto& job) { batch(count, job); });
    });
}

Measured imbalanced_cell(const Params& params) {
    return on(params, [&] {
        return imbalanced::measure(params, [](size_t count, const auto& job) { batch(count, job); });
    });
}

Measured jobs_200ns_cell(const Params& params) {
    return on(params, [&] {
        return jobs_200ns::measure(params, [](size_t count, const auto& job) { batch(count, job); });
    });
}

Measured frame_cell(const Params& params) {
    return on(params, [&] {
        return frame::measure(params, [](size_t count, const auto& job) { batch(count, job); });
    });
}

}  // namespace

int main(int argc, char** argv) {
#if defined(__clang__)
    const std::string compiler = "clang " __clang_version__;
#else
    const std::string compiler = "gcc " __VERSION__;
#endif
    bench::run(argc, argv, std::to_string(_OPENMP) + " of " + compiler,
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
               {"chain", chain_cell},
               {"tree", tree_cell},
               {"batches", batches_cell},
               {"imbalanced", imbalanced_cell},
               {"par_for", par_for_cell},
               {"mandelbrot", mandelbrot_cell},
               {"sand", sand_cell},
               {"frame", frame_cell},
               {"start_stop", start_stop_cell},
               {"idle", idle_cell}});
}
