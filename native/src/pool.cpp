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

constexpr uint32_t kLooks = 64;      // looks at the job number between two looks at the clock
constexpr uint32_t kPatience = 4096; // looks at threads that are still busy before the core is offered to others

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
        wake_.notify_all();
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
        sleepers = asleep_ > 0;
    }
    if (sleepers) wake_.notify_all();
    take(0);
    for (uint32_t looks = 0; busy_.load(std::memory_order_acquire) > 0; ++looks) {
        looks < kPatience ? pause() : std::this_thread::yield();
    }
}

void Pool::take(uint32_t thread) {
    for (;;) {
        const uint32_t number = next_.fetch_add(1, std::memory_order_relaxed);
        if (number >= pieces_) return;
        piece_(job_, number, thread);
    }
}

void Pool::work(uint32_t thread) {
    for (uint32_t done = 0;;) {
        done = wait_for_job(done);
        if (ended_) return;
        take(thread);
        busy_.fetch_sub(1, std::memory_order_release);
    }
}

uint32_t Pool::wait_for_job(uint32_t done) {
    typedef std::chrono::steady_clock Clock;
    const Clock::time_point end = Clock::now() + std::chrono::microseconds(spin_us_);
    do {
        for (uint32_t look = 0; look < kLooks; ++look) {
            const uint32_t number = job_number_.load(std::memory_order_acquire);
            if (number != done) return number;
            pause();
        }
    } while (Clock::now() < end);
    std::unique_lock<std::mutex> lock(mutex_);
    ++asleep_;
    wake_.wait(lock, [&] { return job_number_.load(std::memory_order_acquire) != done; });
    --asleep_;
    return job_number_.load(std::memory_order_acquire);
}

}  // namespace fmedge
