// marl. N worker threads run the tasks; the thread that calls in only waits, so that rounds run in a task. A
// task is a function on a fiber of the worker that started it, where it stays.
//
// There is no call for batches or loops: those are tasks and a WaitGroup. There is no yield, either. Workers
// take the oldest task first: a recursion without a cutoff has nearly all of its calls suspended at once,
// which takes gigabytes. fib is therefore computed of a smaller number, and of the other recursions those
// with a cutoff are there.

#include <marl/event.h>
#include <marl/mutex.h>
#include <marl/parallelize.h>
#include <marl/scheduler.h>
#include <marl/waitgroup.h>

#include "fork.hpp"
#include "sand.hpp"
#include "workloads.hpp"

using bench::Measured;
using bench::Params;

namespace {

// A scheduler with workers, bound to the calling thread as long as it lives.
class System {
public:
    explicit System(const Params& params, size_t stack_bytes = marl::Scheduler::Config::DefaultFiberStackSize)
        : scheduler(marl::Scheduler::Config()
                        .setWorkerThreadCount(static_cast<int>(params.workers))
                        .setFiberStackSize(stack_bytes)) {
        scheduler.bind();
    }

    ~System() { marl::Scheduler::unbind(); }

    // Runs `f` in a task, and waits for it.
    template <class F>
    auto run(F&& f) {
        decltype(f()) result{};
        marl::Event ended;
        marl::schedule([&, ended] {
            result = f();
            ended.signal();
        });
        ended.wait();
        return result;
    }

private:
    marl::Scheduler scheduler;
};

uint64_t fib_of(int n) {
    if (n < 2) return static_cast<uint64_t>(n);
    uint64_t left, right;
    marl::parallelize([&right, n] { right = fib_of(n - 2); }, [&left, n] { left = fib_of(n - 1); });
    return left + right;
}

Measured fib_cell(const Params& params) {
    return System(params).run([&] { return fib::measure(params, fib_of); });
}

Measured flat_spawn_cell(const Params& params) {
    return System(params).run([&] {
        return flat_spawn::measure(params, [] {
            const marl::WaitGroup ended(flat_spawn::JOBS);
            for (size_t index = 0; index < flat_spawn::JOBS; ++index) {
                marl::schedule([&ended, index] {
                    flat_spawn::empty(index);
                    ended.done();
                });
            }
            ended.wait();
        });
    });
}

// Two tasks, each with an event of its own: wait for it, signal the other's.
Measured switch_cell(const Params& params) {
    return System(params).run([&] {
        return switch_::measure(params, [] {
            const marl::Event ping, pong;
            const marl::WaitGroup ended(2);
            const auto pass = [&ended](const marl::Event& mine, const marl::Event& other) {
                for (uint64_t turn = 0; turn < switch_::PASSES / 2; ++turn) {
                    mine.wait();
                    other.signal();
                }
                ended.done();
            };
            marl::schedule([&] { pass(ping, pong); });
            marl::schedule([&] { pass(pong, ping); });
            ping.signal();
            ended.wait();
        });
    });
}

// Its mutex blocks the thread.
Measured mutex_uncontended_cell(const Params& params) {
    return System(params).run([&] { return mutex_uncontended::measure<marl::mutex>(params); });
}

// No task is suspended: as many contend as there are threads.
Measured mutex_contended_cell(const Params& params) {
    return System(params).run([&] {
        return mutex_contended::measure<marl::mutex>(params, [](auto& contest) {
            const marl::WaitGroup ended(mutex_contended::LOCKERS);
            for (size_t locker = 0; locker < mutex_contended::LOCKERS; ++locker) {
                marl::schedule([&contest, &ended, locker] {
                    contest.run(locker);
                    ended.done();
                });
            }
            ended.wait();
        });
    });
}

// Tasks wait for an event that nobody signals.
Measured timers_cell(const Params& params) {
    return System(params).run([&] {
        return timers::measure(params, [] {
            const marl::Event never;
            const marl::WaitGroup ended(timers::SLEEPS);
            for (size_t sleep = 0; sleep < timers::SLEEPS; ++sleep) {
                marl::schedule([&never, &ended] {
                    never.wait_for(timers::NOMINAL);
                    ended.done();
                });
            }
            ended.wait();
        });
    });
}

// Lets `count` tasks wait for an event, calls `at_peak`, and signals it. Returns, in nanoseconds, how long it
// took until the last one was about to wait, and from the signal until all had ended.
template <class AtPeak>
std::array<double, 2> suspend_and_resume(size_t count, AtPeak&& at_peak) {
    const marl::Event gate(marl::Event::Mode::Manual);
    const marl::WaitGroup started(static_cast<unsigned>(count)), ended(static_cast<unsigned>(count));
    const auto begin = bench::Clock::now();
    for (size_t index = 0; index < count; ++index) {
        marl::schedule([&] {
            started.done();
            gate.wait();
            ended.done();
        });
    }
    started.wait();
    const auto suspended = bench::Clock::now();
    at_peak();
    const auto signalled = bench::Clock::now();
    gate.signal();
    ended.wait();
    return {bench::ns_between(begin, suspended), bench::ns_between(signalled, bench::Clock::now())};
}

Measured fanout_cell(const Params& params) {
    return System(params).run([&] {
        return fanout::measure(params, [] { return suspend_and_resume(fanout::WAITERS, [] {}); });
    });
}

// A million fibers would take most of a minute.
Measured memory_fibers_cell(const Params& params) {
    System system(params, memory_fibers::STACK_BYTES);
    const auto round = [&](size_t count, auto at_peak) {
        return system.run([&] { return suspend_and_resume(count, at_peak); });
    };
    return memory_fibers::measure(params, round, 100'000);
}

void link(const marl::WaitGroup& ended, size_t left) {
    if (left == 0) return ended.done(), void();
    marl::schedule([&ended, left] { link(ended, left - 1); });
}

Measured chain_cell(const Params& params) {
    return System(params).run([&] {
        return chain::measure(params, [] {
            const marl::WaitGroup ended(1);
            link(ended, chain::EDGES);
            ended.wait();
        });
    });
}

void node(const marl::WaitGroup& ended, int depth) {
    if (depth > 0) {
        for (int child = 0; child < 2; ++child) marl::schedule([&ended, depth] { node(ended, depth - 1); });
    }
    ended.done();
}

Measured tree_cell(const Params& params) {
    return System(params).run([&] {
        return tree::measure(params, [] {
            const marl::WaitGroup ended(tree::NODES);
            marl::schedule([&ended] { node(ended, tree::DEPTH); });
            ended.wait();
        });
    });
}

// Calls `body(begin, end)` for parts of at most `size` items, the first part in this task, each other in one
// of its own.
template <class Body>
void chunks(size_t count, size_t size, const Body& body) {
    const marl::WaitGroup ended(static_cast<unsigned>(par_for::div_ceil(count, size) - 1));
    for (size_t begin = size; begin < count; begin += size) {
        marl::schedule([&body, &ended, begin, end = std::min(count, begin + size)] {
            body(begin, end);
            ended.done();
        });
    }
    body(size_t{0}, std::min(count, size));
    ended.wait();
}

Measured par_for_cell(const Params& params) {
    const size_t workers = params.workers;
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
    return System(params).run([&] {
        return par_for::measure(params,
                                {{"tasks of 4096", saxpy(fixed(4096))},
                                 {"tasks of n/workers", saxpy(divided(workers))},
                                 {"tasks of n/(4 workers)", saxpy(divided(4 * workers))}},
                                {{"tasks of 16", triangular(fixed(16))},
                                 {"tasks of n/(8 workers)", triangular(divided(8 * workers))}});
    });
}

// Runs `job(index)` for all below `count`, each as a task, but for the first.
template <class Job>
void batch(size_t count, const Job& job) {
    chunks(count, 1, [&job](size_t index, size_t) { job(index); });
}

Measured sand_cell(const Params& params) {
    return System(params).run([&] {
        return sand::measure(params, [](size_t count, const auto& body) { batch(count, body); });
    });
}

Measured mandelbrot_cell(const Params& params) {
    return System(params).run([&] {
        return mandelbrot::measure(params, [](size_t count, const auto& body) { batch(count, body); });
    });
}

Measured outside_cell(const Params& params) {
    System system(params);
    return outside::measure(params, [](outside::Probe probe) {
        marl::schedule([probe = std::move(probe)] { probe.start(); });
    });
}

Measured start_stop_cell(const Params& params) {
    return start_stop::measure(
        params,
        [&] {
            auto system = std::make_unique<System>(params);
            system->run([] { return 0; });
            return system;
        },
        [](std::unique_ptr<System> system) { system.reset(); });
}

Measured idle_cell(const Params& params) {
    System system(params);
    system.run([] { return 0; });
    return idle::measure();
}

struct Join {
    template <class A, class B>
    void operator()(const A& a, const B& b) const {
        marl::parallelize([&b] { b(); }, [&a] { a(); });
    }
};

template <Measured (*MEASURE)(const Params&, Join&)>
Measured by_join(const Params& params) {
    return System(params).run([&] {
        Join join;
        return MEASURE(params, join);
    });
}

Measured batches_cell(const Params& params) {
    return System(params).run([&] {
        return batches::measure(params, [](size_t count, const auto& job) { batch(count, job); });
    });
}

Measured imbalanced_cell(const Params& params) {
    return System(params).run([&] {
        return imbalanced::measure(params, [](size_t count, const auto& job) { batch(count, job); });
    });
}

Measured jobs_200ns_cell(const Params& params) {
    return System(params).run([&] {
        return jobs_200ns::measure(params, [](size_t count, const auto& job) { batch(count, job); });
    });
}

Measured frame_cell(const Params& params) {
    return System(params).run([&] {
        return frame::measure(params, [](size_t count, const auto& job) { batch(count, job); });
    });
}

Measured wake_storm_cell(const Params& params) {
    System system(params);
    return wake_storm::measure(params, [](const std::shared_ptr<wake_storm::Storm>& storm) {
        marl::schedule([storm] { storm->run(); });
    });
}

}  // namespace

int main(int argc, char** argv) {
    bench::run(argc, argv, "unknown",
              {{"fib", fib_cell},
               {"quicksort", by_join<quicksort::measure<Join>>},
               {"matmul", by_join<matmul::measure<Join>>},
               {"flat_spawn", flat_spawn_cell},
               {"jobs_200ns", jobs_200ns_cell},
               {"never_waits", flat_spawn_cell},
               {"switch", switch_cell},
               {"event_ping_pong", switch_cell},
               {"mutex_uncontended", mutex_uncontended_cell},
               {"mutex_contended", mutex_contended_cell},
               {"timers", timers_cell},
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
