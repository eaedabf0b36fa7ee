/* Buffers that end, or begin, right beside a page that nobody may touch. */
#ifndef GUARDED_H
#define GUARDED_H

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

class Guarded {
  public:
    /* At the end of its pages (which only multiples of the alignment reach to the byte), or at their beginning. */
    Guarded(size_t size, size_t alignment, bool at_end) {
        size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), inside = (size + page - 1) / page * page;
        inside = inside ? inside : page;
        length_ = inside + 2 * page;
        base_ = static_cast<unsigned char *>(mmap(nullptr, length_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        if (base_ == MAP_FAILED || mprotect(base_ + page, inside, PROT_READ | PROT_WRITE) != 0) {
            std::perror("guard pages");
            std::exit(2);
        }
        data_ = base_ + page + (at_end ? (inside - size) / alignment * alignment : 0);
        inside_ = inside, page_ = page;
    }
    Guarded(const Guarded &) = delete;
    Guarded &operator=(const Guarded &) = delete;
    ~Guarded() { munmap(base_, length_); }

    unsigned char *data() const { return data_; }
    float *floats() const { return reinterpret_cast<float *>(data_); }
    void read_only() { mprotect(base_ + page_, inside_, PROT_READ); }

  private:
    unsigned char *base_, *data_;
    size_t length_, inside_, page_;
};

#endif
