// What all programs of rivals in C++ share: the command line of a cell, timing by the same rules as the
// harness's src/measure.rs, and the line of JSON.
//
//   PROGRAM about                                                     the library's version, and the workloads
//   PROGRAM cell WORKLOAD SYSTEM --workers N --budget S [--quick]     measures a cell
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
    // No repetition is begun after so many seconds, except the first.
    double soft_limit_s = 7.5;

    // Repetitions: `full`, or about a third of them in a quick run.
    int repeats(int full) const { return quick ? std::max((full + 2) / 3, std::min(3, full)) : full; }
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

// Runs `round` once to warm up, then up to `full` times, and returns the median of each of its figures.
template <size_t N, class Round>
std::array<double, N> medians(const Params& params, int full, Round&& round) {
    const auto begin = Clock::now();
    round();
    std::array<std::vector<double>, N> samples;
    for (int index = 0; index < params.repeats(full); ++index) {
        if (index > 0 && ns_between(begin, Clock::now()) > params.soft_limit_s * 1e9) break;
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

// Prints the only line of a program. Nothing is torn down: not every library can be in every state.
[[noreturn]] inline void print_and_exit(const std::string& line) {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
    std::_Exit(0);
}

// Does what the command line asks for.
[[noreturn]] inline void run(int argc, char** argv, const std::string& version,
                             std::initializer_list<Cell> cells) {
    const std::vector<std::string> words(argv + 1, argv + argc);
    if (words == std::vector<std::string>{"about"}) {
        std::string names;
        for (const Cell& cell : cells) {
            names.append(names.empty() ? "\"" : ",\"").append(cell.workload).append("\"");
        }
        print_and_exit("{\"version\":\"" + version + "\",\"workloads\":[" + names + "]}");
    }
    if (words.size() < 3 || words[0] != "cell") {
        fail("usage: about | cell WORKLOAD SYSTEM --workers N --budget S [--quick]");
    }
    Params params;
    double budget_s = 30;
    for (size_t index = 3; index < words.size(); ++index) {
        const bool has_value = index + 1 < words.size();
        if (words[index] == "--quick") {
            params.quick = true;
        } else if (words[index] == "--workers" && has_value) {
            params.workers = static_cast<unsigned>(std::stoul(words[++index]));
        } else if (words[index] == "--budget" && has_value) {
            budget_s = std::stod(words[++index]);
        } else {
            fail(("unknown argument " + words[index]).c_str());
        }
    }
    params.soft_limit_s = budget_s / 4;
    for (const Cell& cell : cells) {
        if (words[1] != cell.workload) continue;
        // Should the parent be gone that is to end this process.
        alarm(static_cast<unsigned>(budget_s) + 5);
        print_and_exit(cell.measure(params).json());
    }
    fail(("no workload is called " + words[1]).c_str());
}

}  // namespace bench
