// Kernels for AVX-512: 32 registers hold 24 sums, two vectors of weights and values.
#define SET avx512
#define NAME "avx512"
#define NUMBER 3
#define WIDTH 16
#define VECTORS 2
#define GROUP 12

namespace fmedge {
namespace SET {
namespace {
bool can_run() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
}  // namespace
}  // namespace SET
}  // namespace fmedge

#include "kernels_impl.h"
