// The part of each workload that all systems share, as in the harness's src/workloads: sizes, repetitions,
// checks, and the names of the figures. README.md says what a round is.
#pragma once

#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>

#include <sys/mman.h>
#include <time.h>

#include "bench.hpp"

// Counts down to zero, for which a thread outside of the system waits without using the processor.
class Countdown {
public:
    // Starts anew. Nobody may be waiting or counting.
    void reset(size_t count) {
        is_zero.store(0, std::memory_order_relaxed);
        left.store(count, std::memory_order_relaxed);
    }

    void count_down() {
        // ORDERING: Release and Acquire make what the others did before visible to the one that is woken.
        if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            is_zero.store(1, std::memory_order_release);
            is_zero.notify_one();
        }
    }

    void wait() const { is_zero.wait(0, std::memory_order_acquire); }

private:
    std::atomic<size_t> left = 0;
    std::atomic<int> is_zero = 0;
};

namespace fib {

constexpr int N = 32;
// A system that takes so long for a round gets a smaller number, which the report names.
constexpr double ROUND_NS_MAX = 6e8;

constexpr uint64_t serial(int n) {
    uint64_t value = 0;
    for (uint64_t next = 1; n > 0; --n) {
        const uint64_t sum = value + next;
        value = next;
        next = sum;
    }
    return value;
}

// A join for every call with n of 2 or more.
constexpr uint64_t joins(int n) { return serial(n + 1) - 1; }

// Times `fib(n)`, which runs where the system wants its joins to run.
template <class Fib>
bench::Measured measure(const bench::Params& params, Fib&& fib) {
    const auto round = [&](int n) { bench::check(fib(bench::black_box(n)) == serial(n), "fib is wrong"); };
    // Rounds that get longer until one says how long the next would be.
    int n = 14;
    double ns_of_n = 0;
    do ns_of_n = bench::time_ns([&] { round(++n); });
    while (n < N && ns_of_n < ROUND_NS_MAX / 20);
    const double join_ns = ns_of_n / static_cast<double>(joins(n));
    while (n < N && join_ns * static_cast<double>(joins(n + 1)) < ROUND_NS_MAX) ++n;
    const double ns = bench::ns_per_op(params, 7, static_cast<double>(joins(n)), [&] { round(n); });
    return bench::Measured().with("join", ns, n == N ? "" : "fib(" + std::to_string(n) + ")");
}

}  // namespace fib

namespace flat_spawn {

constexpr size_t JOBS = 1'000'000;

// The body of an empty job: it captures an index, and that is all it looks at.
inline void empty(size_t index) { bench::black_box(index); }

// Times `round`, which spawns all jobs, each of which calls `empty`, and waits for them. So it is in
// flat_batch and never_waits.
template <class Round>
bench::Measured measure(const bench::Params& params, Round&& round) {
    return bench::Measured().with("job", bench::ns_per_op(params, 7, JOBS, round));
}

}  // namespace flat_spawn

// Two fibers on one worker pass a baton.
namespace switch_ {

constexpr uint64_t PASSES = 1'000'000;

template <class Round>
bench::Measured measure(const bench::Params& params, Round&& round) {
    return bench::Measured().with("pass", bench::ns_per_op(params, 9, PASSES, round));
}

}  // namespace switch_

// Two fibers on one worker lock three mutexes hand over hand, so that every lock has to wait.
namespace mutex_ping_pong {

constexpr size_t MUTEXES = 3;
constexpr uint64_t LOCKS = 250'000;

template <class Mutex>
struct Circle {
    // A count of the locks, which whoever has the mutex may change.
    struct Station {
        Mutex mutex;
        uint64_t count = 0;
    };

    // What one of the two does that has locked the mutex at `position`. Both must hold theirs before either begins.
    void walk(size_t position) {
        for (uint64_t lock = 0; lock < LOCKS; ++lock) {
            Station& held = stations[position];
            position = (position + 1) % MUTEXES;
            stations[position].mutex.lock();
            ++stations[position].count;
            held.mutex.unlock();
        }
        stations[position].mutex.unlock();
    }

    void check() const {
        uint64_t all = 0;
        for (const Station& station : stations) all += station.count;
        bench::check(all == 2 * LOCKS, "two have held the same mutex");
    }

    std::array<Station, MUTEXES> stations;
};

// Times `round`, in which two fibers walk round a circle of their own.
template <class Round>
bench::Measured measure(const bench::Params& params, Round&& round) {
    return bench::Measured().with("lock", bench::ns_per_op(params, 9, 2 * LOCKS, round));
}

}  // namespace mutex_ping_pong

// Two fibers on one worker send a number to and fro through two channels that hold one message each.
namespace channel_ping_pong {

constexpr uint64_t PASSES = 500'000;

// What the one does that begins: sends a number, and gets the one that follows.
template <class Send, class Receive>
void ping(Send&& send, Receive&& receive) {
    for (uint64_t number = 0; number < PASSES / 2; ++number) {
        send(number);
        bench::check(receive() == number + 1, "a message was lost or changed");
    }
}

// What the other does.
template <class Receive, class Send>
void pong(Receive&& receive, Send&& send) {
    for (uint64_t message = 0; message < PASSES / 2; ++message) send(receive() + 1);
}

template <class Round>
bench::Measured measure(const bench::Params& params, Round&& round) {
    return bench::Measured().with("pass", bench::ns_per_op(params, 9, PASSES, round));
}

}  // namespace channel_ping_pong

// A mutex that nobody else wants.
namespace mutex_uncontended {

constexpr uint64_t LOCKS = 2'000'000;

template <class Mutex, class... Args>
bench::Measured measure(const bench::Params& params, Args&&... args) {
    const double ns = bench::ns_per_op(params, 15, LOCKS, [&] {
        Mutex mutex(args...);
        uint64_t count = 0;
        for (uint64_t lock = 0; lock < LOCKS; ++lock) {
            Mutex& hidden = *bench::black_box(&mutex);
            hidden.lock();
            ++count;
            hidden.unlock();
        }
        bench::check(count == LOCKS, "additions are missing");
    });
    return bench::Measured().with("lock", ns);
}

}  // namespace mutex_uncontended

// A mutex that 64 fibers on two workers want at the same time.
namespace mutex_contended {

constexpr size_t LOCKERS = 64;
constexpr uint64_t LOCKS = 5'000;
constexpr double INSIDE_NS = 75, OUTSIDE_NS = 25;

// The mutex of a round, with what it guards, and when each of the lockers has run.
template <class Mutex>
class Contest {
public:
    template <class... Args>
    explicit Contest(const bench::Busy& busy, Args&&... args) : busy(busy), mutex(args...) {}

    // What the locker of this number does.
    void run(size_t locker) {
        const auto begin = bench::Clock::now();
        for (uint64_t lock = 0; lock < LOCKS; ++lock) {
            mutex.lock();
            ++count;
            busy.work(INSIDE_NS);
            mutex.unlock();
            busy.work(OUTSIDE_NS);
        }
        spans[locker] = {begin, bench::Clock::now()};
    }

    // What a lock took, from the first begin to the last end.
    double ns() const {
        bench::check(count == LOCKERS * LOCKS, "two have held the mutex at once");
        auto [begin, end] = spans[0];
        for (const auto& span : spans) {
            begin = std::min(begin, span[0]);
            end = std::max(end, span[1]);
        }
        return bench::ns_between(begin, end) / static_cast<double>(count);
    }

private:
    const bench::Busy& busy;
    Mutex mutex;
    uint64_t count = 0;
    std::array<std::array<bench::Clock::time_point, 2>, LOCKERS> spans;
};

// Takes the median over `round`, which lets fibers run a contest, each with its number, and waits for them.
template <class Mutex, class Round, class... Args>
bench::Measured measure(const bench::Params& params, Round&& round, Args&&... args) {
    const bench::Busy busy = bench::Busy::calibrate();
    const auto ns = [&] {
        Contest<Mutex> contest(busy, args...);
        round(contest);
        return std::array{contest.ns()};
    };
    return bench::Measured().with("lock", bench::medians<1>(params, 9, ns)[0]);
}

}  // namespace mutex_contended

namespace switch_many {

constexpr size_t FIBERS = 16'000;
constexpr size_t TURNS = 64;

// Takes the median over `round`, which returns the time in nanoseconds of all turns of all fibers.
template <class Round>
bench::Measured measure(const bench::Params& params, Round&& round) {
    const auto turn = [&] { return std::array{round() / static_cast<double>(FIBERS * TURNS)}; };
    return bench::Measured().with("turn", bench::medians<1>(params, 7, turn)[0]);
}

}  // namespace switch_many

namespace fanout {

constexpr size_t WAITERS = 10'000;

// Takes the medians over `round`, which returns the times of both halves in nanoseconds.
template <class Round>
bench::Measured measure(const bench::Params& params, Round&& round) {
    const auto halves = [&] {
        std::array<double, 2> ns = round();
        return std::array{ns[0] / WAITERS, ns[1] / WAITERS};
    };
    const auto [suspend, resume] = bench::medians<2>(params, 31, halves);
    return bench::Measured().with("suspend", suspend).with("resume", resume);
}

}  // namespace fanout

namespace chain {

constexpr size_t EDGES = 100'000;

template <class Round>
bench::Measured measure(const bench::Params& params, Round&& round) {
    return bench::Measured().with("edge", bench::ns_per_op(params, 15, EDGES, round));
}

}  // namespace chain

namespace tree {

constexpr int DEPTH = 17;
constexpr size_t NODES = (size_t{1} << (DEPTH + 1)) - 1;

template <class Round>
bench::Measured measure(const bench::Params& params, Round&& round) {
    return bench::Measured().with("job", bench::ns_per_op(params, 9, NODES, round));
}

}  // namespace tree

namespace par_for {

using Saxpy = std::function<void(float a, const float* x, float* y, size_t n)>;
using Triangular = std::function<void(size_t n)>;
template <class Form>
using Forms = std::vector<std::pair<std::string, Form>>;

constexpr size_t TRIANGULAR = 4'096;
// A timed round repeats its loop until it has lasted about this long.
constexpr double ROUND_NS = 2e6;

// `y += a * x`, the loop that each system runs on its parts of the arrays.
inline void saxpy(float a, const float* __restrict x, float* __restrict y, size_t n) {
    for (size_t index = 0; index < n; ++index) y[index] += a * x[index];
}

// `state * factor + addend`, for so many steps of a small generator at once.
struct Steps {
    uint64_t factor = 1;
    uint64_t addend = 0;

    constexpr explicit Steps(int count) {
        for (; count > 0; --count) {
            factor *= 6'364'136'223'846'793'005u;
            addend = addend * 6'364'136'223'846'793'005u + 1;
        }
    }
};

// An item of the triangular loop: `index` dependent steps of the generator. Rust's compiler takes eight at
// once in its form of this loop, and other compilers do not: here it is said, so that all do the same.
inline void item(size_t index) {
    constexpr Steps ONE(1), EIGHT(8);
    uint64_t state = index;
    size_t step = 0;
    for (; step + 8 <= index; step += 8) state = state * EIGHT.factor + EIGHT.addend;
    for (; step < index; ++step) state = state * ONE.factor + ONE.addend;
    bench::black_box(state);
}

// Items of the triangular loop from `begin` up to `end`.
inline void items(size_t begin, size_t end) {
    for (size_t index = begin; index < end; ++index) item(index);
}

inline size_t div_ceil(size_t dividend, size_t divisor) { return (dividend + divisor - 1) / divisor; }

// The median time of something in microseconds, which is done so often in a round that a round lasts about 2
// ms.
template <class Once>
double repeated_us(const bench::Params& params, Once&& once) {
    const double first_ns = bench::time_ns(once);
    if (first_ns > params.soft_limit_s * 1e9) return first_ns / 1e3;
    const double estimate_ns = std::min({first_ns, bench::time_ns(once), bench::time_ns(once)});
    const double times = std::clamp(std::ceil(ROUND_NS / std::max(estimate_ns, 1.0)), 1.0, 1e6);
    const auto round = [&] {
        for (uint64_t time = static_cast<uint64_t>(times); time > 0; --time) once();
    };
    return bench::ns_per_op(params, 15, times, round) / 1e3;
}

inline double saxpy_us(const bench::Params& params, size_t length, const Saxpy& form) {
    constexpr float A = 0.5;
    std::vector<float> x(length), y(length, 1.0f);
    for (size_t index = 0; index < length; ++index) x[index] = static_cast<float>(index % 1'000);
    form(A, x.data(), y.data(), length);
    for (size_t index = 0; index < length; ++index) bench::check(y[index] == 1.0f + A * x[index], "saxpy is wrong");
    return repeated_us(params, [&] {
        float a = A;
        asm volatile("" : "+m"(a));
        form(a, x.data(), y.data(), length);
    });
}

// Times all forms. Call it where the system wants its loops to run: inside the pool.
inline bench::Measured measure(const bench::Params& all_params, const Forms<Saxpy>& saxpy_forms,
                               const Forms<Triangular>& triangular_forms) {
    const bench::Params params = all_params.share(3 * saxpy_forms.size() + triangular_forms.size());
    bench::Measured measured;
    const std::pair<const char*, size_t> sizes[] = {
        {"saxpy 10k", 10'000}, {"saxpy 100k", 100'000}, {"saxpy 1M", 1'000'000}};
    for (const auto& [metric, length] : sizes) {
        std::vector<std::pair<std::string, double>> figures;
        for (const auto& [name, form] : saxpy_forms) figures.emplace_back(name, saxpy_us(params, length, form));
        measured.with_best(metric, figures);
    }
    std::vector<std::pair<std::string, double>> figures;
    for (const auto& [name, form] : triangular_forms) {
        figures.emplace_back(name, repeated_us(params, [&] { form(bench::black_box(TRIANGULAR)); }));
    }
    return measured.with_best("triangular", figures);
}

}  // namespace par_for

// Submission from a thread outside the system, until the job starts.
namespace outside {

constexpr auto IDLE = std::chrono::milliseconds(5);

// The job to submit: it notes when it started. Build a job that calls `start` and nothing else.
struct Probe {
    void start() const {
        const uint64_t now = now_ns();
        // ORDERING: nothing else is handed over; Release only makes the store prompt to reason about.
        started->store(now, std::memory_order_release);
    }

    static uint64_t now_ns() {
        return static_cast<uint64_t>(bench::ns_between(bench::Clock::time_point(), bench::Clock::now()));
    }

    // Zero until the job has started, then the time.
    std::shared_ptr<std::atomic<uint64_t>> started = std::make_shared<std::atomic<uint64_t>>(0);
};

// Measures both cases with `submit`, which hands a probe to the system.
template <class Submit>
bench::Measured measure(const bench::Params& all_params, Submit&& submit) {
    constexpr int PARKED_WARM_UPS = 10, PARKED_SAMPLES = 1'000, PARKED_SAMPLES_LEAST = 60;
    constexpr size_t BUSY_WARM_UPS = 1'000, BUSY_SAMPLES = 30'000;
    const bench::Params params = all_params.share(2);
    const auto once = [&](bool is_parked) {
        Probe probe;
        const auto started = probe.started;
        const uint64_t submitted = Probe::now_ns();
        submit(std::move(probe));
        if (is_parked) std::this_thread::sleep_for(IDLE);
        uint64_t start;
        while ((start = started->load(std::memory_order_acquire)) == 0) bench::spin_loop();
        return static_cast<double>(start - std::min(start, submitted)) / 1e3;
    };
    for (int index = 0; index < PARKED_WARM_UPS; ++index) once(true);
    std::vector<double> parked_us, busy_us;
    const int samples = params.samples(PARKED_SAMPLES, 0.005, PARKED_SAMPLES_LEAST);
    for (int index = 0; index < samples; ++index) parked_us.push_back(once(true));
    // A system that needs tens of microseconds for each is measured with fewer of them.
    const auto begin = bench::Clock::now();
    const auto is_in_time = [&] { return bench::ns_between(begin, bench::Clock::now()) < params.soft_limit_s * 1e9; };
    const size_t repeats = BUSY_WARM_UPS + static_cast<size_t>(params.repeats(BUSY_SAMPLES));
    while (busy_us.size() < repeats && is_in_time()) busy_us.push_back(once(false));
    const size_t warm_ups = std::min(BUSY_WARM_UPS, busy_us.size() / 2);
    busy_us.erase(busy_us.begin(), busy_us.begin() + static_cast<ptrdiff_t>(warm_ups));
    bench::Measured measured;
    using Case = std::pair<const char*, const std::vector<double>*>;
    for (const auto& [name, times_us] : {Case{"parked", &parked_us}, Case{"busy", &busy_us}}) {
        using Percentile = std::pair<const char*, double>;
        for (const auto& [suffix, percent] : {Percentile{" p50", 50}, {" p99", 99}, {" p99.9", 99.9}}) {
            measured.with(std::string(name) + suffix, bench::percentile(*times_us, percent));
        }
    }
    return measured;
}

}  // namespace outside

// A million fibers wait at once.
namespace memory_fibers {

constexpr size_t STACK_BYTES = 64 * 1024;
constexpr size_t STRIDE_BYTES = STACK_BYTES + 8 * 1024;

// Fibers that wait: a tenth in a quick run.
inline size_t fibers(const bench::Params& params) { return params.quick ? 100'000 : 1'000'000; }

// The time in which a page is touched for each fiber, as far apart as their stacks are, in new memory.
inline double touch(size_t count) {
    const size_t bytes = count * STRIDE_BYTES;
    void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    bench::check(base != MAP_FAILED, "there is no address space");
    madvise(base, bytes, MADV_NOHUGEPAGE);
    volatile char* bottom = static_cast<volatile char*>(base);
    const double ns = bench::time_ns([&] {
        for (size_t index = 1; index <= count; ++index) bottom[index * STRIDE_BYTES - 64] = 1;
    });
    munmap(base, bytes);
    return ns;
}

// Measures one `round(count, at_peak)`, which suspends all fibers, calls `at_peak`, and resumes them; it
// returns the time of both halves in nanoseconds. There is no second round: its stacks would not be new. A
// system that would take too long for so many gets `count_max` of them, which the report names.
template <class Round>
bench::Measured measure(const bench::Params& params, Round&& round, size_t count_max = SIZE_MAX) {
    const size_t count = std::min(fibers(params), count_max);
    const std::string form = count < fibers(params) ? std::to_string(count) + " fibers" : "";
    const double each = static_cast<double>(count);
    // The host may have to find the memory, for whoever touches it first.
    touch(count);
    const double before_kib = bench::resident_kib();
    double peak_kib = 0;
    const std::array<double, 2> ns = round(count, [&] { peak_kib = bench::resident_kib(); });
    const double touch_ns = touch(count);
    return bench::Measured()
        .with("memory", (peak_kib - before_kib) / each, form)
        .with("suspend", ns[0] / each, form)
        .with("suspend over touch", ns[0] / touch_ns, form)
        .with("resume", ns[1] / each, form);
}

}  // namespace memory_fibers

// What it takes to start a system and run its first job, and to stop it again.
namespace start_stop {

// Times `start`, which returns the system after its first job, and `stop`, which ends it.
template <class Start, class Stop>
bench::Measured measure(const bench::Params& params, Start&& start, Stop&& stop) {
    auto first = start();
    const double memory_mib = bench::resident_kib() / 1024;
    stop(std::move(first));
    const auto [start_ms, stop_ms] = bench::medians<2>(params, 31, [&] {
        const auto begin = bench::Clock::now();
        auto system = start();
        const double start_ns = bench::ns_between(begin, bench::Clock::now());
        const double stop_ns = bench::time_ns([&] { stop(std::move(system)); });
        return std::array{start_ns / 1e6, stop_ns / 1e6};
    });
    return bench::Measured().with("start", start_ms).with("stop", stop_ms).with("memory", memory_mib);
}

}  // namespace start_stop

// The processor time that a system uses while it has nothing to do.
namespace idle {

inline double process_cpu_ns() {
    timespec time{};
    bench::check(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) == 0, "the process's CPU clock cannot be read");
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

// Measures while the calling thread sleeps; the caller keeps a system alive that has run a job.
inline bench::Measured measure() {
    // Workers may spin for a while before they park: that is not what is measured here.
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    const auto begin = bench::Clock::now();
    const double cpu_begin_ns = process_cpu_ns();
    std::this_thread::sleep_for(std::chrono::seconds(1));
    const double wall_ns = bench::ns_between(begin, bench::Clock::now());
    return bench::Measured().with("cpu", 100 * (process_cpu_ns() - cpu_begin_ns) / wall_ns);
}

}  // namespace idle

// Frames back to back, each of three barriers with a hundred jobs of 5 us before each, over the ideal time.
namespace frame {

constexpr size_t BARRIERS = 3, JOBS = 100;
constexpr double WORK_NS = 5e3;

// Measures frames of which each calls `batch(count, job)` three times: that runs `job(index)` for all below
// `count` as jobs, and returns when they are done. Call it where the system wants a program's main loop to
// run.
template <class Batch>
bench::Measured measure(const bench::Params& params, Batch&& batch) {
    constexpr size_t FRAMES_LEAST = 20, FRAMES_PER_BLOCK = 40, WARM_UP_FRAMES = 3, SERIAL_FRAMES = 3;
    const size_t frames = static_cast<size_t>(params.repeats(600));
    const bench::Busy busy = bench::Busy::calibrate();
    const auto job = [busy](size_t) { busy.work(WORK_NS); };
    // Serial frames of this block: those before it first.
    std::vector<double> serial_ns, ratios;
    const auto run_serial = [&] {
        for (size_t frame = 0; frame < SERIAL_FRAMES; ++frame) {
            serial_ns.push_back(bench::time_ns([&] {
                for (size_t index = 0; index < BARRIERS * JOBS; ++index) job(index);
            }));
        }
    };
    const auto begin = bench::Clock::now();
    const auto is_over_time = [&] { return bench::ns_between(begin, bench::Clock::now()) > params.soft_limit_s * 1e9; };
    run_serial();
    bool is_last = false;
    while (!is_last) {
        std::vector<double> frames_ns;
        while (frames_ns.size() < WARM_UP_FRAMES + FRAMES_PER_BLOCK && !is_last) {
            const double ns = bench::time_ns([&] {
                for (size_t barrier = 0; barrier < BARRIERS; ++barrier) batch(JOBS, job);
            });
            frames_ns.push_back(ns);
            const size_t counted = ratios.size() + frames_ns.size() - std::min(frames_ns.size(), WARM_UP_FRAMES);
            is_last = counted >= frames || (counted >= FRAMES_LEAST && is_over_time());
        }
        run_serial();
        const double ideal_ns = bench::median(serial_ns) / params.workers;
        for (size_t index = WARM_UP_FRAMES; index < frames_ns.size(); ++index) {
            ratios.push_back(frames_ns[index] / ideal_ns);
        }
        serial_ns.erase(serial_ns.begin(), serial_ns.begin() + SERIAL_FRAMES);
    }
    return bench::Measured().with("p50", bench::percentile(ratios, 50)).with("p99", bench::percentile(ratios, 99));
}

}  // namespace frame

// A thousand jobs whose costs differ.
namespace imbalanced {

constexpr size_t JOBS = 1'000, STEPS_PER_US = 600;

inline size_t every_tenth(size_t index) { return index % 10 == 0 ? 100 * STEPS_PER_US : STEPS_PER_US; }

inline size_t triangular(size_t index) { return index * 12; }

// So many dependent steps of a generator.
inline uint64_t compute(size_t index, size_t steps) {
    uint64_t state = index + 1;
    for (; steps > 0; --steps) state = (state ^ (state >> 29)) * 6'364'136'223'846'793'005u;
    return bench::black_box(state);
}

// Times both loads with `batch`, as in `frame`.
template <class Batch>
bench::Measured measure(const bench::Params& all_params, Batch&& batch) {
    const bench::Params params = all_params.share(2);
    bench::Measured measured;
    std::string checksums;
    using Load = std::pair<const char*, size_t (*)(size_t)>;
    for (const auto& [metric, steps] : {Load{"every tenth", every_tenth}, Load{"triangular", triangular}}) {
        std::atomic<uint64_t> sum = 0;
        uint64_t first_sum = 0;
        const auto job = [&sum, steps = steps](size_t index) {
            sum.fetch_add(compute(index, steps(index)), std::memory_order_relaxed);
        };
        const double ns = bench::medians<1>(params, 15, [&] {
            sum = 0;
            const double ns = bench::time_ns([&] { batch(JOBS, job); });
            if (first_sum == 0) first_sum = sum;
            bench::check(sum == first_sum, "not all jobs have run once");
            return std::array{ns};
        })[0];
        measured.with(metric, ns / 1e6);
        checksums += (checksums.empty() ? "" : " ") + bench::hex(first_sum);
    }
    return measured.checked(checksums);
}

}  // namespace imbalanced

// Batches of empty jobs of all sizes.
namespace batches {

template <class Batch>
bench::Measured measure(const bench::Params& all_params, Batch&& batch) {
    const std::pair<const char*, size_t> sizes[] = {
        {"batch 10", 10}, {"batch 100", 100}, {"batch 1k", 1'000}, {"batch 10k", 10'000}, {"batch 100k", 100'000}};
    const bench::Params params = all_params.share(std::size(sizes));
    bench::Measured measured;
    for (const auto& [metric, size] : sizes) {
        measured.with(metric, par_for::repeated_us(params, [&, size = size] { batch(size, flat_spawn::empty); }));
    }
    return measured;
}

}  // namespace batches

// Jobs of 200 ns: whether a second worker helps with them.
namespace jobs_200ns {

template <class Batch>
bench::Measured measure(const bench::Params& params, Batch&& batch) {
    constexpr size_t JOBS = 100'000;
    const bench::Busy busy = bench::Busy::calibrate();
    std::atomic<size_t> ran = 0;
    batch(JOBS, [&ran, busy](size_t) {
        busy.work(200);
        ran.fetch_add(1, std::memory_order_relaxed);
    });
    bench::check(ran == JOBS, "not every job has run");
    const auto job = [busy](size_t) { busy.work(200); };
    const auto [job_ns, over_ideal] = bench::medians<2>(params, 7, [&] {
        const double plain_ns = bench::time_ns([&] {
            for (size_t index = 0; index < JOBS; ++index) job(index);
        });
        const double round_ns = bench::time_ns([&] { batch(JOBS, job); });
        return std::array{round_ns / JOBS, round_ns * params.workers / plain_ns};
    });
    return bench::Measured().with("job", job_ns).with("over ideal", over_ideal);
}

}  // namespace jobs_200ns

// Many tiny jobs at once for workers that all sleep.
namespace wake_storm {

constexpr int JOBS = 64;
constexpr auto PERIOD = std::chrono::milliseconds(1);

// The jobs of a storm, each of which calls `run` and nothing else.
class Storm {
public:
    void run() {
        // ORDERING: Release and Acquire order the others' jobs before the last one's look at the clock.
        if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            took_ns.store(std::max(bench::ns_between(began, bench::Clock::now()), 1.0), std::memory_order_release);
            took_ns.notify_one();
        }
    }

    // Waits for all jobs; how long they took, in nanoseconds.
    double wait() {
        took_ns.wait(0, std::memory_order_acquire);
        return took_ns.load(std::memory_order_acquire);
    }

private:
    bench::Clock::time_point began = bench::Clock::now();
    std::atomic<int> left = JOBS;
    std::atomic<double> took_ns = 0;
};

// Measures `submit`, which hands a job to the system that calls `run` on the storm that it is given. A storm
// lives as long as any of its jobs.
template <class Submit>
bench::Measured measure(const bench::Params& params, Submit&& submit) {
    const auto storm_us = [&] {
        const auto due = bench::Clock::now() + PERIOD;
        const auto storm = std::make_shared<Storm>();
        for (int job = 0; job < JOBS; ++job) submit(storm);
        const double ns = storm->wait();
        std::this_thread::sleep_for(std::max<bench::Clock::duration>(due - bench::Clock::now(), PERIOD / 2));
        return ns / 1e3;
    };
    for (int storm = 0; storm < 10; ++storm) storm_us();
    const double cpu_begin_ns = idle::process_cpu_ns();
    const int storms = params.samples(500, 0.001, 50);
    std::vector<double> times_us;
    for (int storm = 0; storm < storms; ++storm) times_us.push_back(storm_us());
    const double cpu_us = (idle::process_cpu_ns() - cpu_begin_ns) / 1e3;
    return bench::Measured()
        .with("p50", bench::percentile(times_us, 50))
        .with("p99", bench::percentile(times_us, 99))
        .with("processor", cpu_us / storms);
}

}  // namespace wake_storm

// Many tasks sleep at the same time.
namespace timers {

// What the systems get that are here: each sleep has a stack.
constexpr size_t SLEEPS = 20'000;
constexpr auto NOMINAL = std::chrono::milliseconds(200);

// Takes the medians over `round`, in which as many tasks sleep.
template <class Round>
bench::Measured measure(const bench::Params& params, Round&& round) {
    const auto sleeps = [&] {
        const auto begin = bench::Clock::now();
        const double cpu_begin_ns = idle::process_cpu_ns();
        round();
        const double beyond_ns = bench::ns_between(begin + NOMINAL, bench::Clock::now());
        bench::check(beyond_ns >= 0, "a sleep was cut short");
        return std::array{beyond_ns / SLEEPS, (idle::process_cpu_ns() - cpu_begin_ns) / SLEEPS};
    };
    const auto [beyond, processor] = bench::medians<2>(params, 5, sleeps);
    return bench::Measured().with("beyond", beyond).with("processor", processor);
}

}  // namespace timers
