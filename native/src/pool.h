// Threads that do pieces of work together with the thread that asks for it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>

namespace fmedge {

class Pool {
  public:
    // A piece of work: its number, and the number of the thread that does it, 0 for the one that asks.
    typedef void (*Piece)(const void *job, uint32_t piece, uint32_t thread);

    Pool() = default;
    Pool(const Pool &) = delete;
    Pool &operator=(const Pool &) = delete;
    ~Pool() { stop(); }

    // Start threads - 1 threads, bound to cores in turn where some are named. Throws std::bad_alloc or
    // std::system_error; then stop() ends those that were started.
    void start(uint32_t threads, uint32_t spin_us, const uint32_t *cpus, uint32_t cpu_count);
    void stop();

    // Do pieces 0 to pieces - 1, in any order, and return when all are done.
    void run(uint32_t pieces, Piece piece, const void *job);

    template <typename Job>
    void each(uint32_t pieces, const Job &job) {
        run(pieces, [](const void *given, uint32_t piece, uint32_t thread) {
            (*static_cast<const Job *>(given))(piece, thread);
        }, &job);
    }

    uint32_t threads() const { return count_ + 1; }

  private:
    void work(uint32_t thread);
    void take(uint32_t thread);
    template <typename Condition>
    void wait(std::condition_variable &wake, uint32_t &asleep, const Condition &condition);

    std::unique_ptr<std::thread[]> others_;
    uint32_t count_ = 0;  // threads beside the one that asks
    uint32_t spin_us_ = 0;

    std::mutex mutex_;
    std::condition_variable start_, end_;
    uint32_t sleepers_ = 0, asker_sleeps_ = 0;  // who waits for start_ and for end_; under mutex_

    Piece piece_ = nullptr;  // written before job_number_ changes
    const void *job_ = nullptr;
    uint32_t pieces_ = 0;
    bool ended_ = false;

    alignas(64) std::atomic<uint32_t> job_number_{0};
    alignas(64) std::atomic<uint32_t> next_{0};
    alignas(64) std::atomic<uint32_t> busy_{0};  // threads that have not finished the job
};

}  // namespace fmedge
