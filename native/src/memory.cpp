#include "memory.h"

#include <cstdint>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "kernels.h"

namespace fmedge {

namespace {
constexpr size_t kLarge = size_t(2) << 20;  // bytes of a large page on x86-64, and of many on 64-bit Arm
constexpr size_t kMost = SIZE_MAX / 4;
}  // namespace

bool Memory::reserve(size_t bytes) {
    if (bytes <= bytes_) return true;
    release();
    if (bytes > kMost) return false;
#ifdef __linux__
    if (bytes >= 2 * kLarge) {
        const size_t mapped_bytes = (bytes + kLarge - 1) / kLarge * kLarge + kLarge;
        void *mapped = mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mapped == MAP_FAILED) return false;
        const uintptr_t start = (reinterpret_cast<uintptr_t>(mapped) + kLarge - 1) / kLarge * kLarge;
        madvise(reinterpret_cast<void *>(start), mapped_bytes - kLarge, MADV_HUGEPAGE);  // a wish: it may be refused
        mapped_ = mapped;
        mapped_bytes_ = mapped_bytes;
        data_ = reinterpret_cast<void *>(start);
        bytes_ = bytes;
        return true;
    }
#endif
    data_ = ::operator new(bytes, std::align_val_t(kLine), std::nothrow);
    if (data_ == nullptr) return false;
    bytes_ = bytes;
    return true;
}

void Memory::release() {
#ifdef __linux__
    if (mapped_ != nullptr) munmap(mapped_, mapped_bytes_);
#endif
    if (mapped_ == nullptr && data_ != nullptr) ::operator delete(data_, std::align_val_t(kLine));
    data_ = mapped_ = nullptr;
    bytes_ = mapped_bytes_ = 0;
}

}  // namespace fmedge
