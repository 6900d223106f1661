// Boost.Fiber. There is no pool: each thread schedules fibers, and with N workers, N threads do, the calling
// one among them. One thread has the library's usual scheduler, several have its work_stealing, whose idle
// threads spin: those that it can be told to let sleep are not woken for work that they could steal.
//
// A job is a fiber, and every fiber has a stack. Fibers are entered when they are launched
// (launch::dispatch), as their stacks are used again then, except where a fiber would have to outlive all
// that it has started: those are queued (launch::post). Jobs come from outside through a channel.

#include <condition_variable>
#include <mutex>

#include <boost/fiber/all.hpp>
#include <boost/version.hpp>

#include "fork.hpp"
#include "sand.hpp"
#include "workloads.hpp"

namespace fibers = boost::fibers;
using bench::Measured;
using bench::Params;

namespace {

// Counts fibers that have not ended; one fiber waits for all.
class Group {
public:
    explicit Group(size_t count) : left(count) {}

    void done() {
        if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            // Under the lock: who waits may take the group apart as soon as it is free.
            const std::lock_guard lock(mutex);
            is_zero = true;
            zero.notify_all();
        }
    }

    void wait() {
        std::unique_lock lock(mutex);
        zero.wait(lock, [this] { return is_zero; });
    }

private:
    std::atomic<size_t> left;
    bool is_zero = false;
    fibers::mutex mutex;
    fibers::condition_variable zero;
};

// The threads besides the calling one, which schedule fibers until the system goes.
template <class Algorithm>
class Threads {
public:
    template <class... Args>
    explicit Threads(unsigned workers, Args... args) {
        for (unsigned index = 1; index < workers; ++index) {
            threads.emplace_back([this, args...] {
                fibers::use_scheduling_algorithm<Algorithm>(args...);
                std::unique_lock lock(mutex);
                end.wait(lock, [this] { return has_ended; });
            });
        }
        if (workers > 1) fibers::use_scheduling_algorithm<Algorithm>(args...);
    }

    ~Threads() {
        {
            const std::lock_guard lock(mutex);
            has_ended = true;
            end.notify_all();
        }
        for (std::thread& thread : threads) thread.join();
    }

private:
    std::vector<std::thread> threads;
    bool has_ended = false;
    fibers::mutex mutex;
    fibers::condition_variable end;
};

// There can be only one of these in the life of a process: the algorithm numbers its threads.
struct System : Threads<fibers::algo::work_stealing> {
    explicit System(const Params& params) : Threads(params.workers, params.workers) {}
};

uint64_t fib_of(int n) {
    if (n < 2) return static_cast<uint64_t>(n);
    uint64_t left;
    fibers::fiber fiber(fibers::launch::dispatch, [&left, n] { left = fib_of(n - 1); });
    const uint64_t right = fib_of(n - 2);
    fiber.join();
    return left + right;
}

Measured fib_cell(const Params& params) {
    System system(params);
    return fib::measure(params, fib_of);
}

Measured flat_spawn_cell(const Params& params) {
    System system(params);
    return flat_spawn::measure(params, [] {
        Group group(flat_spawn::JOBS);
        for (size_t index = 0; index < flat_spawn::JOBS; ++index) {
            fibers::fiber(fibers::launch::dispatch, [&group, index] {
                flat_spawn::empty(index);
                group.done();
            }).detach();
        }
        group.wait();
    });
}

// Set by one fiber for another that waits for it, which clears it.
class Event {
public:
    void signal() {
        const std::lock_guard lock(mutex);
        is_set = true;
        changed.notify_one();
    }

    void wait() {
        std::unique_lock lock(mutex);
        changed.wait(lock, [this] { return is_set; });
        is_set = false;
    }

private:
    bool is_set = false;
    fibers::mutex mutex;
    fibers::condition_variable changed;
};

Measured switch_cell(const Params& params) {
    System system(params);
    return switch_::measure(params, [] {
        Event ping, pong;
        const auto pass = [](Event& mine, Event& other) {
            for (uint64_t turn = 0; turn < switch_::PASSES / 2; ++turn) {
                mine.wait();
                other.signal();
            }
        };
        fibers::fiber there([&] { pass(ping, pong); });
        fibers::fiber back([&] { pass(pong, ping); });
        ping.signal();
        there.join();
        back.join();
    });
}

Measured mutex_ping_pong_cell(const Params& params) {
    System system(params);
    return mutex_ping_pong::measure(params, [] {
        mutex_ping_pong::Circle<fibers::mutex> circle;
        // Each holds a mutex before either wants the next.
        fibers::barrier ready(2);
        const auto walk = [&](size_t position) {
            circle.stations[position].mutex.lock();
            ready.wait();
            circle.walk(position);
        };
        fibers::fiber first([&] { walk(0); });
        fibers::fiber second([&] { walk(1); });
        first.join();
        second.join();
        circle.check();
    });
}

// A buffered channel holds one message less than its size, which is a power of two.
Measured channel_ping_pong_cell(const Params& params) {
    System system(params);
    return channel_ping_pong::measure(params, [] {
        fibers::buffered_channel<uint64_t> to(2), fro(2);
        const auto send = [](auto& channel) { return [&channel](uint64_t number) { channel.push(number); }; };
        const auto receive = [](auto& channel) { return [&channel] { return channel.value_pop(); }; };
        fibers::fiber first([&] { channel_ping_pong::ping(send(to), receive(fro)); });
        fibers::fiber second([&] { channel_ping_pong::pong(receive(to), send(fro)); });
        first.join();
        second.join();
    });
}

Measured mutex_uncontended_cell(const Params& params) {
    System system(params);
    return mutex_uncontended::measure<fibers::mutex>(params);
}

Measured mutex_contended_cell(const Params& params) {
    System system(params);
    return mutex_contended::measure<fibers::mutex>(params, [](auto& contest) {
        Group ended(mutex_contended::LOCKERS);
        for (size_t locker = 0; locker < mutex_contended::LOCKERS; ++locker) {
            fibers::fiber(fibers::launch::post, [&contest, &ended, locker] {
                contest.run(locker);
                ended.done();
            }).detach();
        }
        ended.wait();
    });
}

Measured timers_cell(const Params& params) {
    System system(params);
    return timers::measure(params, [] {
        Group ended(timers::SLEEPS);
        for (size_t sleep = 0; sleep < timers::SLEEPS; ++sleep) {
            fibers::fiber(fibers::launch::post, [&ended] {
                boost::this_fiber::sleep_for(timers::NOMINAL);
                ended.done();
            }).detach();
        }
        ended.wait();
    });
}

// Lets `count` fibers wait, calls `at_peak`, wakes them, and lets each do `then`. Returns, in nanoseconds,
// how long it took until the last one was about to wait, and from then until all had ended.
template <class Stacks, class AtPeak, class Then>
std::array<double, 2> suspend_and_resume(size_t count, Stacks stacks, AtPeak&& at_peak, Then then) {
    fibers::mutex mutex;
    fibers::condition_variable gate;
    bool is_open = false;
    Group started(count), ended(count);
    const auto begin = bench::Clock::now();
    for (size_t index = 0; index < count; ++index) {
        fibers::fiber(fibers::launch::dispatch, std::allocator_arg, stacks, [&] {
            started.done();
            {
                std::unique_lock lock(mutex);
                gate.wait(lock, [&] { return is_open; });
            }
            then();
            ended.done();
        }).detach();
    }
    started.wait();
    const auto suspended = bench::Clock::now();
    at_peak();
    const auto signalled = bench::Clock::now();
    {
        const std::lock_guard lock(mutex);
        is_open = true;
        gate.notify_all();
    }
    ended.wait();
    return {bench::ns_between(begin, suspended), bench::ns_between(signalled, bench::Clock::now())};
}

Measured switch_many_cell(const Params& params) {
    System system(params);
    return switch_many::measure(params, [] {
        const auto take_turns = [] {
            for (size_t turn = 0; turn < switch_many::TURNS; ++turn) boost::this_fiber::yield();
        };
        return suspend_and_resume(switch_many::FIBERS, fibers::default_stack(), [] {}, take_turns)[1];
    });
}

Measured fanout_cell(const Params& params) {
    System system(params);
    return fanout::measure(params, [] {
        return suspend_and_resume(fanout::WAITERS, fibers::default_stack(), [] {}, [] {});
    });
}

// A million fibers would take most of a minute.
Measured memory_fibers_cell(const Params& params) {
    System system(params);
    const auto round = [](size_t count, auto at_peak) {
        return suspend_and_resume(count, fibers::fixedsize_stack(memory_fibers::STACK_BYTES), at_peak, [] {});
    };
    return memory_fibers::measure(params, round, 100'000);
}

void link(Group& ended, size_t left) {
    if (left == 0) return ended.done();
    fibers::fiber(fibers::launch::post, [&ended, left] { link(ended, left - 1); }).detach();
}

Measured chain_cell(const Params& params) {
    System system(params);
    return chain::measure(params, [] {
        Group ended(1);
        link(ended, chain::EDGES);
        ended.wait();
    });
}

void node(Group& ended, int depth) {
    if (depth > 0) {
        for (int child = 0; child < 2; ++child) {
            fibers::fiber(fibers::launch::dispatch, [&ended, depth] { node(ended, depth - 1); }).detach();
        }
    }
    ended.done();
}

Measured tree_cell(const Params& params) {
    System system(params);
    return tree::measure(params, [] {
        Group ended(tree::NODES);
        fibers::fiber(fibers::launch::dispatch, [&ended] { node(ended, tree::DEPTH); }).detach();
        ended.wait();
    });
}

// Calls `body(begin, end)` for parts of at most `size` items, the first part in this fiber, each other in one
// of its own.
template <class Body>
void chunks(size_t count, size_t size, const Body& body) {
    Group group(par_for::div_ceil(count, size));
    for (size_t begin = size; begin < count; begin += size) {
        fibers::fiber(fibers::launch::post, [&body, &group, begin, end = std::min(count, begin + size)] {
            body(begin, end);
            group.done();
        }).detach();
    }
    body(size_t{0}, std::min(count, size));
    group.done();
    group.wait();
}

Measured par_for_cell(const Params& params) {
    System system(params);
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
    const auto divided = [](size_t parts) { return [=](size_t n) { return par_for::div_ceil(n, parts); }; };
    return par_for::measure(params,
                            {{"fibers of n/workers", saxpy(divided(workers))},
                             {"fibers of n/(4 workers)", saxpy(divided(4 * workers))}},
                            {{"fibers of n/(8 workers)", triangular(divided(8 * workers))},
                             {"fibers of n/(32 workers)", triangular(divided(32 * workers))}});
}

// Runs `job(index)` for all below `count`, each as a fiber, but for the first.
template <class Job>
void batch(size_t count, const Job& job) {
    chunks(count, 1, [&job](size_t index, size_t) { job(index); });
}

Measured sand_cell(const Params& params) {
    System system(params);
    return sand::measure(params, [](size_t count, const auto& body) { batch(count, body); });
}

Measured mandelbrot_cell(const Params& params) {
    System system(params);
    return mandelbrot::measure(params, [](size_t count, const auto& body) { batch(count, body); });
}

// Threads with a fiber each that takes jobs from a channel, and runs them.
class Outside {
public:
    explicit Outside(unsigned workers) {
        for (unsigned index = 0; index < workers; ++index) {
            threads.emplace_back([this] {
                std::function<void()> job;
                while (jobs.pop(job) == fibers::channel_op_status::success) job();
            });
        }
    }

    ~Outside() {
        jobs.close();
        for (std::thread& thread : threads) thread.join();
    }

    void submit(std::function<void()> job) { jobs.push(std::move(job)); }

private:
    fibers::buffered_channel<std::function<void()>> jobs{64};
    std::vector<std::thread> threads;
};

Measured outside_cell(const Params& params) {
    Outside system(params.workers);
    return outside::measure(params, [&](outside::Probe probe) {
        system.submit([probe = std::move(probe)] { probe.start(); });
    });
}

// With the other algorithm for several threads, which a process can start more than once.
using Sharing = Threads<fibers::algo::shared_work>;

Measured start_stop_cell(const Params& params) {
    return start_stop::measure(
        params,
        [&] {
            auto system = std::make_unique<Sharing>(params.workers);
            fibers::fiber([] {}).join();
            return system;
        },
        [](std::unique_ptr<Sharing> system) { system.reset(); });
}

Measured idle_cell(const Params& params) {
    System system(params);
    fibers::fiber([] {}).join();
    return idle::measure();
}

struct Join {
    template <class A, class B>
    void operator()(const A& a, const B& b) const {
        fibers::fiber fiber(fibers::launch::dispatch, [&a] { a(); });
        b();
        fiber.join();
    }
};

template <Measured (*MEASURE)(const Params&, Join&)>
Measured by_join(const Params& params) {
    System system(params);
    Join join;
    return MEASURE(params, join);
}

Measured imbalanced_cell(const Params& params) {
    System system(params);
    return imbalanced::measure(params, [](size_t count, const auto& job) { batch(count, job); });
}

Measured frame_cell(const Params& params) {
    System system(params);
    return frame::measure(params, [](size_t count, const auto& job) { batch(count, job); });
}

Measured wake_storm_cell(const Params& params) {
    Outside system(params.workers);
    return wake_storm::measure(params, [&](const std::shared_ptr<wake_storm::Storm>& storm) {
        system.submit([storm] { storm->run(); });
    });
}

}  // namespace

int main(int argc, char** argv) {
    const int major = BOOST_VERSION / 100'000, minor = BOOST_VERSION / 100 % 1'000;
    const std::string version = std::to_string(major) + "." + std::to_string(minor);
    bench::run(argc, argv, version,
              {{"fib", fib_cell},
               {"quicksort", by_join<quicksort::measure<Join>>},
               {"matmul", by_join<matmul::measure<Join>>},
               {"flat_spawn", flat_spawn_cell},
               {"never_waits", flat_spawn_cell},
               {"switch", switch_cell},
               {"event_ping_pong", switch_cell},
               {"mutex_ping_pong", mutex_ping_pong_cell},
               {"channel_ping_pong", channel_ping_pong_cell},
               {"mutex_uncontended", mutex_uncontended_cell},
               {"mutex_contended", mutex_contended_cell},
               {"timers", timers_cell},
               {"switch_many", switch_many_cell},
               {"fanout", fanout_cell},
               {"chain", chain_cell},
               {"tree", tree_cell},
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
