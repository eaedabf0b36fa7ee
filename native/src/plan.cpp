#include "plan.h"

#include "checked.h"

namespace fmedge {

namespace {

// Bytes of transformed tiles and products that a thread works at on its own: they should stay in its second cache,
// 512 KB to 2 MB on today's cores.
constexpr size_t kOwnBytes = size_t(1) << 20;
// Bytes of a layer's packed weights from which on all threads work at one chunk, so that each reads but a part of them.
constexpr size_t kSharedWeights = size_t(12) << 20;
// Bytes of transformed tiles and products of such a chunk: they should stay in the third cache.
constexpr size_t kTogetherBytes = size_t(24) << 20;

uint32_t least(size_t a, size_t b) { return uint32_t(a < b ? a : b); }

}  // namespace

bool grid_for(const Kernels &kernels, uint32_t count, uint32_t channels, uint32_t height, uint32_t width, Grid &grid,
              size_t &bytes) {
    const uint64_t rows = (uint64_t(height) + kLargestTile - 1) / kLargestTile * kLargestTile + 2;
    const uint64_t columns = (uint64_t(width) + kLargestTile - 1) / kLargestTile * kLargestTile + 2;
    const uint32_t blocks = (channels + kernels.width - 1) / kernels.width;
    if (rows > UINT32_MAX || columns > UINT32_MAX) return false;
    grid = {nullptr, count, channels, height, width, blocks, uint32_t(rows), uint32_t(columns)};
    return multiplied({count, blocks, size_t(rows), size_t(columns), kernels.width, 4}, bytes);
}

bool plan_work(const Kernels &kernels, const Winograd &method, uint32_t in, uint32_t out, uint32_t count, uint32_t height,
               uint32_t width, uint32_t threads, Work &work) {
    size_t tiles;
    const size_t rows = (height - 1) / method.tile + 1, columns = (width - 1) / method.tile + 1;
    if (!multiplied({count, rows, columns}, tiles)) return false;
    if (tiles > UINT32_MAX / 64) return false;
    const size_t in_padded = (size_t(in) + kernels.width - 1) / kernels.width * kernels.width;
    const size_t out_padded = (size_t(out) + kernels.width - 1) / kernels.width * kernels.width;
    const size_t tile_bytes = method.points * (in_padded + out_padded) * 4;
    const size_t weights = size_t(method.points) * in * out_padded * 4;
    work.tiles = uint32_t(tiles);
    work.together = threads > 1 && (weights >= kSharedWeights || tiles < size_t(threads) * 3 * kernels.group);
    const size_t limit = weights >= kSharedWeights ? kTogetherBytes : kOwnBytes;
    const size_t wanted = limit / tile_bytes < kernels.group ? kernels.group : limit / tile_bytes;
    size_t chunks = (tiles + wanted - 1) / wanted;
    if (!work.together && threads > 1) {  // as many for every thread
        chunks = (chunks + threads - 1) / threads * threads;
    }
    work.chunk = least((tiles + chunks - 1) / chunks, tiles);
    const size_t extra = kLine / 4;  // lest all points fall into the same lines of a cache
    work.stride = in_padded * work.chunk + extra;
    return multiplied({method.points, work.stride + out_padded * work.chunk}, work.floats) && work.floats < SIZE_MAX / 4 / 64;
}

}  // namespace fmedge
