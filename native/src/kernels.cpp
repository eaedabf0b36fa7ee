#include "kernels.h"

#include "checked.h"

namespace fmedge {

namespace plain {
extern const Kernels kernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
const Kernels *const kKernels[] = {&avx512::kernels, &avx2::kernels, &plain::kernels};
#elif defined(__aarch64__)
namespace neon {
extern const Kernels kernels;
}
const Kernels *const kKernels[] = {&neon::kernels, &plain::kernels};
#else
const Kernels *const kKernels[] = {&plain::kernels};
#endif

const uint32_t kKernelsCount = sizeof(kKernels) / sizeof(kKernels[0]);

const Kernels *find_kernels(uint32_t number) {
    for (const Kernels *kernels : kKernels) {
        if ((number == 0 || kernels->number == number) && kernels->can_run()) return kernels;
    }
    return nullptr;
}

bool direct_scratch(uint32_t channels, uint32_t width, size_t &floats) {
    constexpr size_t kMargin = 2 + 6 * 16;  // 16: the widest vector
    return width <= SIZE_MAX - kMargin && multiplied({width + kMargin, kStrip + 2, channels}, floats);
}

}  // namespace fmedge
