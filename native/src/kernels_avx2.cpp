// Kernels for AVX2 and FMA: 16 registers hold 12 sums, two vectors of weights and a value.
#define SET avx2
#define NAME "avx2"
#define NUMBER 2
#define WIDTH 8
#define VECTORS 2
#define GROUP 6

namespace fmedge {
namespace SET {
namespace {
bool can_run() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
}  // namespace
}  // namespace SET
}  // namespace fmedge

#include "kernels_impl.h"
