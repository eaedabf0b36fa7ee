// What a run of a layer does in which order, and how much memory that takes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels.h"

namespace fmedge {

// How a convolution by Winograd's method is cut into pieces.
struct Work {
    uint32_t tiles;    // of all images
    uint32_t chunk;    // tiles that are transformed, multiplied and restored at a time
    bool together;     // all threads work at one chunk, step by step; otherwise each at a chunk of its own
    size_t stride;     // floats between two points of transformed tiles
    size_t floats;     // of both, for one chunk
};

// The grid for so many images and channels; data is null. Returns whether its size fits the address space.
bool grid_for(const Kernels &kernels, uint32_t count, uint32_t channels, uint32_t height, uint32_t width, Grid &grid,
              size_t &bytes);

// Returns whether the sizes fit the address space.
bool plan_work(const Kernels &kernels, const Winograd &method, uint32_t in, uint32_t out, uint32_t count, uint32_t height,
               uint32_t width, uint32_t threads, Work &work);

}  // namespace fmedge
