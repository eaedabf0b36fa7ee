// Kernels that every processor runs: the compiler makes of a vector what the instructions allow.
#define SET plain
#define NAME "plain"
#define NUMBER 1
#define WIDTH 4
#define VECTORS 2
#define GROUP 6

namespace fmedge {
namespace SET {
namespace {
bool can_run() { return true; }
}  // namespace
}  // namespace SET
}  // namespace fmedge

#include "kernels_impl.h"
