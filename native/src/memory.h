// Blocks of memory: aligned to cache lines, large ones on large pages where the system offers them.
#pragma once

#include <cstddef>

namespace fmedge {

class Memory {
  public:
    Memory() = default;
    Memory(const Memory &) = delete;
    Memory &operator=(const Memory &) = delete;
    ~Memory() { release(); }

    // Have at least so many bytes, of unknown content. Returns whether there are.
    bool reserve(size_t bytes);
    void release();

    void *data() const { return data_; }
    size_t bytes() const { return bytes_; }

  private:
    void *data_ = nullptr;
    size_t bytes_ = 0;
    void *mapped_ = nullptr;  // null: from operator new
    size_t mapped_bytes_ = 0;
};

}  // namespace fmedge
