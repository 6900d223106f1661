// FiberTaskingLib. The thread that calls in takes part, as the scheduler's first: with N workers, N - 1
// threads help it. Where jobs come from outside, it only submits, and N threads run them. Threads without
// work spin, and each is pinned to a CPU, as the library has it unless told otherwise.
//
// A task is a function with a pointer, which runs on a fiber of a pool whose size is fixed when the scheduler
// starts; the fibers' stacks have 512 KiB. There is no yield.

#include <ftl/fibtex.h>
#include <ftl/parallel_for.h>
#include <ftl/task_scheduler.h>
#include <ftl/wait_group.h>

#include "fork.hpp"
#include "sand.hpp"
#include "workloads.hpp"

using bench::Measured;
using bench::Params;

namespace {

ftl::TaskScheduler scheduler;

// The library's default.
constexpr unsigned FIBERS = 400;

void start(ftl::TaskScheduler& scheduler, unsigned threads, size_t fibers = FIBERS) {
    ftl::TaskSchedulerInitOptions options;
    options.ThreadPoolSize = threads;
    options.FiberPoolSize = static_cast<unsigned>(fibers);
    bench::check(scheduler.Init(options) == 0, "the scheduler does not start");
}

// A task that calls `f`, which must outlive it.
template <class F>
ftl::Task calling(F& f) {
    return {[](ftl::TaskScheduler*, void* f) { (*static_cast<F*>(f))(); }, &f};
}

void spawn(ftl::Task task, ftl::WaitGroup* group) { scheduler.AddTask(task, ftl::TaskPriority::Normal, group); }

struct Fib {
    int n;
    uint64_t value;

    void operator()() { value = of(n); }

    static uint64_t of(int n) {
        if (n < 2) return static_cast<uint64_t>(n);
        Fib left{n - 1, 0};
        ftl::WaitGroup group(&scheduler);
        spawn(calling(left), &group);
        const uint64_t right = of(n - 2);
        group.Wait();
        return left.value + right;
    }
};

Measured fib_cell(const Params& params) {
    start(scheduler, params.workers);
    return fib::measure(params, Fib::of);
}

// A task whose pointer is an index.
ftl::Task empty_task(size_t index) {
    const auto run = [](ftl::TaskScheduler*, void* index) { flat_spawn::empty(reinterpret_cast<size_t>(index)); };
    return {run, reinterpret_cast<void*>(index)};
}

Measured flat_spawn_cell(const Params& params) {
    start(scheduler, params.workers);
    return flat_spawn::measure(params, [] {
        ftl::WaitGroup group(&scheduler);
        for (size_t index = 0; index < flat_spawn::JOBS; ++index) spawn(empty_task(index), &group);
        group.Wait();
    });
}

Measured flat_batch_cell(const Params& params) {
    start(scheduler, params.workers);
    std::vector<ftl::Task> tasks(flat_spawn::JOBS);
    return flat_spawn::measure(params, [&] {
        ftl::WaitGroup group(&scheduler);
        for (size_t index = 0; index < flat_spawn::JOBS; ++index) tasks[index] = empty_task(index);
        scheduler.AddTasks(static_cast<uint32_t>(tasks.size()), tasks.data(), ftl::TaskPriority::Normal, &group);
        group.Wait();
    });
}

// Two tasks, each with a group of its own: wait for it, re-arm it, signal the other's.
Measured switch_cell(const Params& params) {
    start(scheduler, params.workers);
    return switch_::measure(params, [] {
        ftl::WaitGroup ping(&scheduler), pong(&scheduler), ended(&scheduler);
        ping.Add(1);
        pong.Add(1);
        const auto pass = [](ftl::WaitGroup& mine, ftl::WaitGroup& other) {
            for (uint64_t turn = 0; turn < switch_::PASSES / 2; ++turn) {
                mine.Wait();
                mine.Add(1);
                other.Done();
            }
        };
        auto there = [&] { pass(ping, pong); };
        auto back = [&] { pass(pong, ping); };
        spawn(calling(there), &ended);
        spawn(calling(back), &ended);
        ping.Done();
        ended.Wait();
    });
}

Measured mutex_ping_pong_cell(const Params& params) {
    start(scheduler, params.workers);
    struct Mutex : ftl::Fibtex {
        Mutex() : Fibtex(&scheduler) {}
    };
    return mutex_ping_pong::measure(params, [] {
        mutex_ping_pong::Circle<Mutex> circle;
        // Each holds a mutex before either wants the next.
        ftl::WaitGroup ready(&scheduler), ended(&scheduler);
        ready.Add(2);
        const auto walk = [&](size_t position) {
            circle.stations[position].mutex.lock();
            ready.Done();
            ready.Wait();
            circle.walk(position);
        };
        auto first = [&] { walk(0); };
        auto second = [&] { walk(1); };
        spawn(calling(first), &ended);
        spawn(calling(second), &ended);
        ended.Wait();
        circle.check();
    });
}

Measured mutex_uncontended_cell(const Params& params) {
    start(scheduler, params.workers);
    return mutex_uncontended::measure<ftl::Fibtex>(params, &scheduler);
}

Measured mutex_contended_cell(const Params& params) {
    start(scheduler, params.workers);
    const auto round = [](auto& contest) {
        ftl::WaitGroup ended(&scheduler);
        std::atomic<size_t> next = 0;
        auto locker = [&] { contest.run(next.fetch_add(1)); };
        for (size_t index = 0; index < mutex_contended::LOCKERS; ++index) spawn(calling(locker), &ended);
        ended.Wait();
    };
    return mutex_contended::measure<ftl::Fibtex>(params, round, &scheduler);
}

// Lets `count` tasks wait for a group, calls `at_peak`, and lets the group end. Returns, in nanoseconds, how
// long it took until the last one was about to wait, and from then until all had ended.
template <class AtPeak>
std::array<double, 2> suspend_and_resume(size_t count, AtPeak&& at_peak) {
    ftl::WaitGroup gate(&scheduler), started(&scheduler), ended(&scheduler);
    gate.Add(1);
    started.Add(static_cast<int32_t>(count));
    auto waiter = [&] {
        started.Done();
        gate.Wait();
    };
    const auto begin = bench::Clock::now();
    for (size_t index = 0; index < count; ++index) spawn(calling(waiter), &ended);
    started.Wait();
    const auto suspended = bench::Clock::now();
    at_peak();
    const auto signalled = bench::Clock::now();
    gate.Done();
    ended.Wait();
    return {bench::ns_between(begin, suspended), bench::ns_between(signalled, bench::Clock::now())};
}

Measured fanout_cell(const Params& params) {
    start(scheduler, params.workers, fanout::WAITERS + FIBERS);
    return fanout::measure(params, [] { return suspend_and_resume(fanout::WAITERS, [] {}); });
}

// The scheduler makes the fibers when it starts, which is therefore part of the first half. It looks for a
// free fiber from the first on, past all that are taken: with a million of them this would take hours.
Measured memory_fibers_cell(const Params& params) {
    const auto round = [&](size_t count, auto at_peak) {
        const double start_ns = bench::time_ns([&] { start(scheduler, params.workers, count + FIBERS); });
        const auto [suspend_ns, resume_ns] = suspend_and_resume(count, at_peak);
        return std::array{start_ns + suspend_ns, resume_ns};
    };
    return memory_fibers::measure(params, round, 30'000);
}

Measured chain_cell(const Params& params) {
    start(scheduler, params.workers);
    struct Link {
        ftl::WaitGroup* ended;
        size_t left = 0;

        // One link at a time runs: all are the same object.
        void operator()() {
            if (--left > 0) spawn(calling(*this), ended);
        }
    };
    return chain::measure(params, [] {
        ftl::WaitGroup ended(&scheduler);
        Link link{&ended, chain::EDGES};
        spawn(calling(link), &ended);
        ended.Wait();
    });
}

// A node's pointer is its depth: nothing else is needed, and nothing allocated.
Measured tree_cell(const Params& params) {
    start(scheduler, params.workers);
    static ftl::WaitGroup* ended;
    struct Node {
        static void run(ftl::TaskScheduler*, void* argument) {
            const size_t depth = reinterpret_cast<size_t>(argument);
            if (depth == 0) return;
            for (int child = 0; child < 2; ++child) spawn({run, reinterpret_cast<void*>(depth - 1)}, ended);
        }
    };
    return tree::measure(params, [] {
        ftl::WaitGroup group(&scheduler);
        ended = &group;
        spawn({Node::run, reinterpret_cast<void*>(size_t{tree::DEPTH})}, ended);
        group.Wait();
    });
}

// Calls `body(begin, end)` for parts of at most `size` items, each in a task.
template <class Body>
void chunks(size_t count, size_t size, const Body& body) {
    struct Chunk {
        const Body* body;
        size_t begin, end;

        void operator()() { (*body)(begin, end); }
    };
    std::vector<Chunk> chunks;
    std::vector<ftl::Task> tasks;
    chunks.reserve(par_for::div_ceil(count, size));
    tasks.reserve(chunks.capacity());
    for (size_t begin = 0; begin < count; begin += size) {
        chunks.push_back({&body, begin, std::min(count, begin + size)});
        tasks.push_back(calling(chunks.back()));
    }
    ftl::WaitGroup group(&scheduler);
    scheduler.AddTasks(static_cast<uint32_t>(tasks.size()), tasks.data(), ftl::TaskPriority::Normal, &group);
    group.Wait();
}

Measured par_for_cell(const Params& params) {
    start(scheduler, params.workers);
    const size_t workers = params.workers;
    const auto parallel_for = [](float a, const float* x, float* y, size_t n) {
        const auto body = [=](ftl::TaskScheduler*, float* element) { *element += a * x[element - y]; };
        ftl::ParallelFor(&scheduler, y, n, 4096, body, ftl::TaskPriority::Normal);
    };
    const auto saxpy = [](auto size) -> par_for::Saxpy {
        return [=](float a, const float* x, float* y, size_t n) {
            chunks(n, size(n), [=](size_t begin, size_t end) {
                par_for::saxpy(a, x + begin, y + begin, end - begin);
            });
        };
    };
    const auto triangular = [](auto size) -> par_for::Triangular {
        return [=](size_t n) { chunks(n, size(n), par_for::items); };
    };
    const auto fixed = [](size_t size) { return [=](size_t) { return size; }; };
    const auto divided = [](size_t parts) { return [=](size_t n) { return par_for::div_ceil(n, parts); }; };
    return par_for::measure(params,
                            {{"ParallelFor, batches of 4096", parallel_for},
                             {"tasks of 4096", saxpy(fixed(4096))},
                             {"tasks of n/workers", saxpy(divided(workers))},
                             {"tasks of n/(4 workers)", saxpy(divided(4 * workers))}},
                            {{"tasks of 16", triangular(fixed(16))},
                             {"tasks of n/(8 workers)", triangular(divided(8 * workers))}});
}

// Runs `job(index)` for all below `count`, each as a task.
template <class Job>
void batch(size_t count, const Job& job) {
    chunks(count, 1, [&job](size_t index, size_t) { job(index); });
}

Measured sand_cell(const Params& params) {
    start(scheduler, params.workers);
    return sand::measure(params, [](size_t count, const auto& body) { batch(count, body); });
}

Measured mandelbrot_cell(const Params& params) {
    start(scheduler, params.workers);
    return mandelbrot::measure(params, [](size_t count, const auto& body) { batch(count, body); });
}

// Spawns a task that owns what it calls.
template <class F>
void detach(F f) {
    const auto run = [](ftl::TaskScheduler*, void* argument) {
        const std::unique_ptr<F> f(static_cast<F*>(argument));
        (*f)();
    };
    spawn({run, new F(std::move(f))}, nullptr);
}

// Tasks can be added only by the thread that started the scheduler, and by tasks.
Measured outside_cell(const Params& params) {
    start(scheduler, params.workers + 1);
    return outside::measure(params, [](outside::Probe probe) {
        detach([probe = std::move(probe)] { probe.start(); });
    });
}

void run_one(ftl::TaskScheduler& scheduler) {
    ftl::WaitGroup group(&scheduler);
    scheduler.AddTask(empty_task(0), ftl::TaskPriority::Normal, &group);
    group.Wait();
}

Measured start_stop_cell(const Params& params) {
    return start_stop::measure(
        params,
        [&] {
            auto system = std::make_unique<ftl::TaskScheduler>();
            start(*system, params.workers);
            run_one(*system);
            return system;
        },
        [](std::unique_ptr<ftl::TaskScheduler> system) { system.reset(); });
}

Measured idle_cell(const Params& params) {
    start(scheduler, params.workers);
    run_one(scheduler);
    return idle::measure();
}

struct Join {
    template <class A, class B>
    void operator()(const A& a, const B& b) const {
        auto task = [&a] { a(); };
        ftl::WaitGroup group(&scheduler);
        spawn(calling(task), &group);
        b();
        group.Wait();
    }
};

// The deepest of the trees has nearly a thousand levels, with a few calls each that wait.
constexpr size_t FIBERS_OF_JOINS = 5'000;

template <Measured (*MEASURE)(const Params&, Join&)>
Measured by_join(const Params& params) {
    start(scheduler, params.workers, FIBERS_OF_JOINS);
    Join join;
    return MEASURE(params, join);
}

Measured batches_cell(const Params& params) {
    start(scheduler, params.workers);
    return batches::measure(params, [](size_t count, const auto& job) { batch(count, job); });
}

Measured imbalanced_cell(const Params& params) {
    start(scheduler, params.workers);
    return imbalanced::measure(params, [](size_t count, const auto& job) { batch(count, job); });
}

Measured jobs_200ns_cell(const Params& params) {
    start(scheduler, params.workers);
    return jobs_200ns::measure(params, [](size_t count, const auto& job) { batch(count, job); });
}

Measured frame_cell(const Params& params) {
    start(scheduler, params.workers);
    return frame::measure(params, [](size_t count, const auto& job) { batch(count, job); });
}

Measured wake_storm_cell(const Params& params) {
    start(scheduler, params.workers + 1);
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
               {"flat_batch", flat_batch_cell},
               {"jobs_200ns", jobs_200ns_cell},
               {"never_waits", flat_spawn_cell},
               {"switch", switch_cell},
               {"event_ping_pong", switch_cell},
               {"mutex_ping_pong", mutex_ping_pong_cell},
               {"mutex_uncontended", mutex_uncontended_cell},
               {"mutex_contended", mutex_contended_cell},
               {"fanout", fanout_cell},
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
               {"memory_fibers", memory_fibers_cell},
               {"start_stop", start_stop_cell},
               {"idle", idle_cell}});
}
