#include "pool.h"

#include <chrono>

#ifdef __linux__
#include <pthread.h>
#include <sched.h>
#endif

namespace fmedge {

namespace {

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

void bind(std::thread &thread, uint32_t cpu) {
#ifdef __linux__
    if (cpu >= CPU_SETSIZE) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    pthread_setaffinity_np(thread.native_handle(), sizeof(set), &set);  // a core that is not allowed stays unused
#else
    (void)thread;
    (void)cpu;
#endif
}

constexpr uint32_t kLooks = 64;  // looks at a condition between two looks at the clock

}  // namespace

void Pool::start(uint32_t threads, uint32_t spin_us, const uint32_t *cpus, uint32_t cpu_count) {
    spin_us_ = spin_us;
    if (threads < 2) return;
    others_.reset(new std::thread[threads - 1]);
    for (uint32_t thread = 1; thread < threads; ++thread) {
        others_[thread - 1] = std::thread(&Pool::work, this, thread);
        ++count_;
        if (cpu_count > 0) bind(others_[thread - 1], cpus[thread % cpu_count]);
    }
}

void Pool::stop() {
    if (count_ > 0) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            ended_ = true;
            job_number_.fetch_add(1, std::memory_order_release);
        }
        start_.notify_all();
        for (uint32_t thread = 0; thread < count_; ++thread) others_[thread].join();
    }
    others_.reset();
    count_ = 0;
    ended_ = false;
}

void Pool::run(uint32_t pieces, Piece piece, const void *job) {
    if (count_ == 0 || pieces < 2) {
        for (uint32_t number = 0; number < pieces; ++number) piece(job, number, 0);
        return;
    }
    piece_ = piece;
    job_ = job;
    pieces_ = pieces;
    next_.store(0, std::memory_order_relaxed);
    busy_.store(count_, std::memory_order_relaxed);
    bool sleepers;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        job_number_.fetch_add(1, std::memory_order_release);
        sleepers = sleepers_ > 0;
    }
    if (sleepers) start_.notify_all();
    take(0);
    wait(end_, asker_sleeps_, [&] { return busy_.load(std::memory_order_acquire) == 0; });
}

void Pool::take(uint32_t thread) {
    for (;;) {
        const uint32_t number = next_.fetch_add(1, std::memory_order_relaxed);
        if (number >= pieces_) return;
        piece_(job_, number, thread);
    }
}

void Pool::work(uint32_t thread) {
    for (uint32_t done = 0;; ++done) {
        wait(start_, sleepers_, [&] { return job_number_.load(std::memory_order_acquire) != done; });
        if (ended_) return;
        take(thread);
        if (busy_.fetch_sub(1, std::memory_order_acq_rel) > 1) continue;
        bool sleeps;
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            sleeps = asker_sleeps_ > 0;
        }
        if (sleeps) end_.notify_one();
    }
}

// Spin for a while, then sleep. Who sleeps counts itself under the mutex, under which others look after the condition
// has come true; so nobody sleeps on unseen. Nobody yields: a thread that has waited gets its core back sooner from sleep.
template <typename Condition>
void Pool::wait(std::condition_variable &wake, uint32_t &asleep, const Condition &condition) {
    typedef std::chrono::steady_clock Clock;
    const Clock::time_point end = Clock::now() + std::chrono::microseconds(spin_us_);
    do {
        for (uint32_t look = 0; look < kLooks; ++look) {
            if (condition()) return;
            pause();
        }
    } while (Clock::now() < end);
    std::unique_lock<std::mutex> lock(mutex_);
    ++asleep;
    wake.wait(lock, condition);
    --asleep;
}

}  // namespace fmedge
