// Kernels for NEON of 64-bit Arm, where every processor has it: 32 registers hold 24 sums, four vectors of weights and a value.
#define SET neon
#define NAME "neon"
#define NUMBER 4
#define WIDTH 4
#define VECTORS 4
#define GROUP 6

namespace fmedge {
namespace SET {
namespace {
bool can_run() { return true; }
}  // namespace
}  // namespace SET
}  // namespace fmedge

#include "kernels_impl.h"
