// enkiTS. The thread that calls in takes part, as thread 0: with N workers, N - 1 threads of the scheduler
// help it. Where jobs come from outside, it only submits, and N threads of the scheduler run them.
//
// Tasks are objects of their user's, who keeps them until they are complete, and may use them again: so they
// are made up front here, as the library wants it, or delete themselves when they are complete, as its
// example has it. Tasks cannot be suspended: a thread that waits runs other tasks meanwhile.

#include <TaskScheduler.h>

#include "fork.hpp"
#include "sand.hpp"
#include "workloads.hpp"

using bench::Measured;
using bench::Params;

namespace {

enki::TaskScheduler scheduler;

// A task that calls `f(begin, end)` for parts of its range.
template <class F>
struct Range : enki::ITaskSet {
    Range(size_t size, size_t grain, F f) : enki::ITaskSet(static_cast<uint32_t>(size)), f(std::move(f)) {
        m_MinRange = static_cast<uint32_t>(grain);
    }

    void ExecuteRange(enki::TaskSetPartition range, uint32_t) override { f(range.start, range.end); }

    F f;
};

// Runs a task over a range, and waits for it.
template <class F>
void run_range(size_t size, size_t grain, F f) {
    Range<F> task(size, grain, std::move(f));
    scheduler.AddTaskSetToPipe(&task);
    scheduler.WaitforTask(&task);
}

// A task that deletes itself when it is complete.
template <class F>
struct Detached : enki::ITaskSet {
    struct Deleter : enki::ICompletable {
        enki::Dependency dependency;

        void OnDependenciesComplete(enki::TaskScheduler* scheduler, uint32_t thread) override {
            enki::ICompletable::OnDependenciesComplete(scheduler, thread);
            delete dependency.GetDependencyTask();
        }
    };

    explicit Detached(F f) : f(std::move(f)) { deleter.SetDependency(deleter.dependency, this); }

    void ExecuteRange(enki::TaskSetPartition, uint32_t) override { f(); }

    F f;
    Deleter deleter;
};

template <class F>
void detach(F f) {
    scheduler.AddTaskSetToPipe(new Detached<F>(std::move(f)));
}

struct Fib : enki::ITaskSet {
    explicit Fib(int n) : n(n) {}

    void ExecuteRange(enki::TaskSetPartition, uint32_t) override { value = of(n); }

    static uint64_t of(int n) {
        if (n < 2) return static_cast<uint64_t>(n);
        Fib left(n - 1);
        scheduler.AddTaskSetToPipe(&left);
        const uint64_t right = of(n - 2);
        scheduler.WaitforTask(&left);
        return left.value + right;
    }

    int n;
    uint64_t value = 0;
};

Measured fib_cell(const Params& params) {
    scheduler.Initialize(params.workers);
    return fib::measure(params, Fib::of);
}

struct Empty : enki::ITaskSet {
    void ExecuteRange(enki::TaskSetPartition, uint32_t) override { flat_spawn::empty(index); }

    size_t index = 0;
};

Measured flat_spawn_cell(const Params& params) {
    scheduler.Initialize(params.workers);
    std::vector<Empty> tasks(flat_spawn::JOBS);
    return flat_spawn::measure(params, [&] {
        for (size_t index = 0; index < flat_spawn::JOBS; ++index) {
            tasks[index].index = index;
            scheduler.AddTaskSetToPipe(&tasks[index]);
        }
        for (const Empty& task : tasks) {
            if (!task.GetIsComplete()) scheduler.WaitforTask(&task);
        }
    });
}

// What waits for detached tasks is WaitforAll.
Measured never_waits_cell(const Params& params) {
    scheduler.Initialize(params.workers);
    return flat_spawn::measure(params, [] {
        for (size_t index = 0; index < flat_spawn::JOBS; ++index) {
            detach([index] { flat_spawn::empty(index); });
        }
        scheduler.WaitforAll();
    });
}

Measured chain_cell(const Params& params) {
    scheduler.Initialize(params.workers);
    struct Link : enki::ITaskSet {
        void ExecuteRange(enki::TaskSetPartition, uint32_t) override {
            has_run = true;
            if (next != nullptr) scheduler.AddTaskSetToPipe(next);
        }

        Link* next = nullptr;
        bool has_run = false;
    };
    std::vector<Link> links(chain::EDGES);
    for (size_t index = 0; index + 1 < links.size(); ++index) links[index].next = &links[index + 1];
    return chain::measure(params, [&] {
        links.back().has_run = false;
        scheduler.AddTaskSetToPipe(&links.front());
        scheduler.WaitforAll();
        bench::check(links.back().has_run, "the chain has not ended");
    });
}

// A node's children lie on its stack, so that it waits for them.
Measured tree_cell(const Params& params) {
    scheduler.Initialize(params.workers);
    struct Node : enki::ITaskSet {
        explicit Node(int depth) : depth(depth) {}

        void ExecuteRange(enki::TaskSetPartition, uint32_t) override {
            if (depth == 0) return;
            Node left(depth - 1), right(depth - 1);
            scheduler.AddTaskSetToPipe(&left);
            scheduler.AddTaskSetToPipe(&right);
            scheduler.WaitforTask(&left);
            scheduler.WaitforTask(&right);
        }

        int depth;
    };
    return tree::measure(params, [] {
        Node root(tree::DEPTH);
        scheduler.AddTaskSetToPipe(&root);
        scheduler.WaitforTask(&root);
    });
}

Measured par_for_cell(const Params& params) {
    scheduler.Initialize(params.workers);
    const size_t workers = params.workers;
    const auto saxpy = [](auto grain) -> par_for::Saxpy {
        return [=](float a, const float* x, float* y, size_t n) {
            run_range(n, grain(n), [=](size_t begin, size_t end) {
                par_for::saxpy(a, x + begin, y + begin, end - begin);
            });
        };
    };
    const auto triangular = [](size_t grain) -> par_for::Triangular {
        return [=](size_t n) { run_range(n, grain, par_for::items); };
    };
    const auto fixed = [](size_t grain) { return [=](size_t) { return grain; }; };
    const auto divided = [](size_t parts) { return [=](size_t n) { return par_for::div_ceil(n, parts); }; };
    return par_for::measure(params,
                            {{"min range 1", saxpy(fixed(1))},
                             {"min range 4096", saxpy(fixed(4096))},
                             {"min range n/workers", saxpy(divided(workers))}},
                            {{"min range 1", triangular(1)}, {"min range 16", triangular(16)}});
}

// Runs `job(index)` for all below `count`, as the range of one task, which the scheduler splits as it likes.
template <class Job>
void batch(size_t count, const Job& job) {
    run_range(count, 1, [&job](size_t begin, size_t end) {
        for (size_t index = begin; index < end; ++index) job(index);
    });
}

Measured sand_cell(const Params& params) {
    scheduler.Initialize(params.workers);
    return sand::measure(params, [](size_t count, const auto& body) { batch(count, body); });
}

Measured mandelbrot_cell(const Params& params) {
    scheduler.Initialize(params.workers);
    return mandelbrot::measure(params, [](size_t count, const auto& body) { batch(count, body); });
}

Measured outside_cell(const Params& params) {
    enki::TaskSchedulerConfig config;
    config.numTaskThreadsToCreate = params.workers;
    scheduler.Initialize(config);
    return outside::measure(params, [](outside::Probe probe) {
        detach([probe = std::move(probe)] { probe.start(); });
    });
}

Measured start_stop_cell(const Params& params) {
    return start_stop::measure(
        params,
        [&] {
            scheduler.Initialize(params.workers);
            run_range(1, 1, [](size_t, size_t) {});
            return 0;
        },
        [](int) { scheduler.WaitforAllAndShutdown(); });
}

Measured idle_cell(const Params& params) {
    scheduler.Initialize(params.workers);
    run_range(1, 1, [](size_t, size_t) {});
    return idle::measure();
}

struct Join {
    template <class A, class B>
    void operator()(const A& a, const B& b) const {
        Range task(1, 1, [&a](size_t, size_t) { a(); });
        scheduler.AddTaskSetToPipe(&task);
        b();
        scheduler.WaitforTask(&task);
    }
};

template <Measured (*MEASURE)(const Params&, Join&)>
Measured by_join(const Params& params) {
    scheduler.Initialize(params.workers);
    Join join;
    return MEASURE(params, join);
}

Measured imbalanced_cell(const Params& params) {
    scheduler.Initialize(params.workers);
    return imbalanced::measure(params, [](size_t count, const auto& job) { batch(count, job); });
}

Measured frame_cell(const Params& params) {
    scheduler.Initialize(params.workers);
    return frame::measure(params, [](size_t count, const auto& job) { batch(count, job); });
}

Measured wake_storm_cell(const Params& params) {
    enki::TaskSchedulerConfig config;
    config.numTaskThreadsToCreate = params.workers;
    scheduler.Initialize(config);
    return wake_storm::measure(params, [](const std::shared_ptr<wake_storm::Storm>& storm) {
        detach([storm] { storm->run(); });
    });
}

}  // namespace

int main(int argc, char** argv) {
    bench::run(argc, argv, "unknown",
              {{"fib", fib_cell},
               {"integrate", by_join<integrate::measure<Join>>},
               {"nqueens", by_join<nqueens::measure<Join>>},
               {"uts", by_join<uts::measure<Join>>},
               {"quicksort", by_join<quicksort::measure<Join>>},
               {"matmul", by_join<matmul::measure<Join>>},
               {"skynet", by_join<skynet::measure<Join>>},
               {"flat_spawn", flat_spawn_cell},
               {"never_waits", never_waits_cell},
               {"chain", chain_cell},
               {"tree", tree_cell},
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
