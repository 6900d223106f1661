// What all programs of rivals in C++ share: the command line of a cell, timing by the same rules as the
// harness's src/measure.rs, and the line of JSON.
//
//   PROGRAM about                              the library's version, and the workloads
//   PROGRAM cell WORKLOAD SYSTEM --workers N --soft-limit S --budget S [--quick]     measures a cell
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

namespace bench {

// Ends the process with a reason, which the harness shows.
[[noreturn]] inline void fail(const char* reason) {
    std::fprintf(stderr, "%s\n", reason);
    std::fflush(stderr);
    std::abort();
}

inline void check(bool holds, const char* otherwise) {
    if (!holds) fail(otherwise);
}

// Hides a value from the optimiser, and lets it know nothing about memory afterwards.
template <class T>
inline T black_box(T value) {
    asm volatile("" : "+r"(value) : : "memory");
    return value;
}

inline void spin_loop() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb");
#endif
}

using Clock = std::chrono::steady_clock;

inline double ns_between(Clock::time_point begin, Clock::time_point end) {
    return static_cast<double>(std::chrono::duration_cast<std::chrono::nanoseconds>(end - begin).count());
}

// The settings of a cell.
struct Params {
    unsigned workers = 1;
    // Fewer repetitions; problem sizes stay the same.
    bool quick = false;
    // The cell's share of the time: no repetition is begun after so many seconds, except the first.
    double soft_limit_s = 1;

    // Repetitions: `full`, or about a third of them in a quick run.
    int repeats(int full) const { return quick ? std::max((full + 2) / 3, std::min(3, full)) : full; }

    // The settings of one of so many measurements that a cell makes one after the other.
    Params share(size_t measurements) const {
        Params params = *this;
        params.soft_limit_s /= static_cast<double>(std::max<size_t>(measurements, 1));
        return params;
    }

    // Samples that are taken at a steady rate: `full` of them, or a third in a quick run, or as many as the
    // soft limit has room for, but at least `least`.
    int samples(int full, double each_s, int least) const {
        const double room = std::min(soft_limit_s / each_s, 1e9);
        return std::max(std::min(repeats(full), static_cast<int>(room)), least);
    }
};

// The middle sample, or the mean of the two in the middle.
inline double median(std::vector<double> samples) {
    check(!samples.empty(), "a median needs at least one sample");
    std::sort(samples.begin(), samples.end());
    const size_t middle = samples.size() / 2;
    return samples.size() % 2 == 1 ? samples[middle] : (samples[middle - 1] + samples[middle]) / 2;
}

// The smallest sample that at least `percent` per cent of all samples do not exceed (nearest rank).
inline double percentile(std::vector<double> samples, double percent) {
    check(!samples.empty(), "a percentile needs at least one sample");
    std::sort(samples.begin(), samples.end());
    // As in the harness: rounding must not lift the rank to the next one.
    const double rank = std::ceil(percent / 100 * static_cast<double>(samples.size()) - 1e-6);
    return samples[std::clamp<size_t>(static_cast<size_t>(rank), 1, samples.size()) - 1];
}

// How long `f` takes, in nanoseconds.
template <class F>
double time_ns(F&& f) {
    const auto begin = Clock::now();
    f();
    return ns_between(begin, Clock::now());
}

// Runs `round` once to warm up, then up to `full` times, and returns the median of each of its figures. Where
// the one that warms up takes longer than the soft limit, it is all that there is, and counts.
template <size_t N, class Round>
std::array<double, N> medians(const Params& params, int full, Round&& round) {
    const auto begin = Clock::now();
    const auto is_over_time = [&] { return ns_between(begin, Clock::now()) > params.soft_limit_s * 1e9; };
    const std::array<double, N> warm_up = round();
    if (is_over_time()) return warm_up;
    std::array<std::vector<double>, N> samples;
    for (int index = 0; index < params.repeats(full); ++index) {
        if (index > 0 && is_over_time()) break;
        const std::array<double, N> figures = round();
        for (size_t figure = 0; figure < N; ++figure) samples[figure].push_back(figures[figure]);
    }
    std::array<double, N> result;
    for (size_t figure = 0; figure < N; ++figure) result[figure] = median(samples[figure]);
    return result;
}

// The median time of `round` in nanoseconds for each of its `operations`.
template <class Round>
double ns_per_op(const Params& params, int full, double operations, Round&& round) {
    return medians<1>(params, full, [&] { return std::array{time_ns(round) / operations}; })[0];
}

// A word as the checksums show it.
inline std::string hex(uint64_t word) {
    std::array<char, 20> text;
    std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(word));
    return text.data();
}

// What a cell measured.
class Measured {
public:
    // Adds a figure; `form` says which of several forms gave it, if that is to be shown.
    Measured& with(const std::string& metric, double value, const std::string& form = "") {
        std::array<char, 64> number;
        std::snprintf(number.data(), number.size(), "%.9g", value);
        if (!values.empty()) values += ",";
        values.append("{\"metric\":\"").append(metric).append("\",\"value\":").append(number.data());
        if (!form.empty()) values.append(",\"form\":\"").append(form).append("\"");
        values += "}";
        return *this;
    }

    // Adds the smallest of several forms' figures, and says whose it was, if there is more than one.
    Measured& with_best(const std::string& metric, const std::vector<std::pair<std::string, double>>& forms) {
        const auto less = [](const auto& left, const auto& right) { return left.second < right.second; };
        const auto best = std::min_element(forms.begin(), forms.end(), less);
        return with(metric, best->second, forms.size() > 1 ? best->first : "");
    }

    // Sets the checksum.
    Measured& checked(const std::string& text) {
        checksum = text;
        return *this;
    }

    std::string json() const {
        std::string line = "{\"values\":[";
        line.append(values).append("]");
        if (!checksum.empty()) line.append(",\"checksum\":\"").append(checksum).append("\"");
        return line.append("}");
    }

private:
    std::string values;
    std::string checksum;
};

// Work that takes a known time: dependent steps of a generator, as many as a calibration has shown to last
// that long. Spinning until the clock says so would take the time during which a thread is preempted for work
// that it has done.
class Busy {
public:
    // Measures how long a step takes. The fastest trial counts: it is the one that nobody disturbed.
    static Busy calibrate() {
        constexpr uint64_t WARM_UP_STEPS = 8'000'000, TRIAL_STEPS = 40'000;
        do_steps(WARM_UP_STEPS);
        double fastest_ns = INFINITY;
        for (int trial = 0; trial < 60; ++trial) {
            fastest_ns = std::min(fastest_ns, time_ns([] { do_steps(TRIAL_STEPS); }));
        }
        return Busy(static_cast<double>(TRIAL_STEPS) / std::max(fastest_ns, 1.0));
    }

    // Does work that takes this thread so long while nobody preempts it.
    void work(double ns) const { do_steps(static_cast<uint64_t>(ns * steps_per_ns)); }

private:
    explicit Busy(double steps_per_ns) : steps_per_ns(steps_per_ns) {}

    __attribute__((noinline)) static void do_steps(uint64_t count) {
        uint64_t state = black_box(count);
        for (; count > 0; --count) state = state * 6'364'136'223'846'793'005u + 1;
        black_box(state);
    }

    double steps_per_ns;
};

// A workload that a program knows.
struct Cell {
    const char* workload;
    Measured (*measure)(const Params&);
};

// Resident memory and page tables in KiB.
inline double resident_kib() {
    std::FILE* file = std::fopen("/proc/self/status", "r");
    if (file == nullptr) return NAN;
    double sum = 0;
    std::array<char, 256> line;
    while (std::fgets(line.data(), line.size(), file) != nullptr) {
        for (const char* key : {"VmRSS:", "VmPTE:"}) {
            const size_t length = std::strlen(key);
            if (std::strncmp(line.data(), key, length) == 0) sum += std::atof(line.data() + length);
        }
    }
    std::fclose(file);
    return sum;
}

// Takes standard output away from the library, and returns where it was: the only line that it gets is the result.
inline int take_output() {
    const int output = dup(STDOUT_FILENO);
    const int nowhere = open("/dev/null", O_WRONLY);
    check(output >= 0 && nowhere >= 0 && dup2(nowhere, STDOUT_FILENO) >= 0, "standard output cannot be redirected");
    return output;
}

// Prints the only line of a program. Nothing is torn down: not every library can be in every state.
[[noreturn]] inline void print_and_exit(int output, std::string line) {
    line += "\n";
    check(write(output, line.data(), line.size()) == static_cast<ssize_t>(line.size()), "nobody reads the result");
    std::_Exit(0);
}

// Does what the command line asks for.
[[noreturn]] inline void run(int argc, char** argv, const std::string& version,
                             std::initializer_list<Cell> cells) {
    const int output = take_output();
    const std::vector<std::string> words(argv + 1, argv + argc);
    if (words == std::vector<std::string>{"about"}) {
        std::string names;
        for (const Cell& cell : cells) {
            names.append(names.empty() ? "\"" : ",\"").append(cell.workload).append("\"");
        }
        print_and_exit(output, "{\"version\":\"" + version + "\",\"workloads\":[" + names + "]}");
    }
    if (words.size() < 3 || words[0] != "cell") {
        fail("usage: about | cell WORKLOAD SYSTEM --workers N --soft-limit S --budget S [--quick]");
    }
    Params params;
    double budget_s = 30;
    for (size_t index = 3; index < words.size(); ++index) {
        const bool has_value = index + 1 < words.size();
        if (words[index] == "--quick") {
            params.quick = true;
        } else if (words[index] == "--workers" && has_value) {
            params.workers = static_cast<unsigned>(std::stoul(words[++index]));
        } else if (words[index] == "--soft-limit" && has_value) {
            params.soft_limit_s = std::stod(words[++index]);
        } else if (words[index] == "--budget" && has_value) {
            budget_s = std::stod(words[++index]);
        } else {
            fail(("unknown argument " + words[index]).c_str());
        }
    }
    for (const Cell& cell : cells) {
        if (words[1] != cell.workload) continue;
        // Should the parent be gone that is to end this process.
        alarm(static_cast<unsigned>(budget_s) + 5);
        print_and_exit(output, cell.measure(params).json());
    }
    fail(("no workload is called " + words[1]).c_str());
}

}  // namespace bench
