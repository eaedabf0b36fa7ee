// What a set of kernels offers, and the layouts that all of them share. Each set is compiled from kernels_impl.h with
// its own width and instructions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fmedge {

constexpr uint32_t kLargestTile = 4; // rows and columns of outputs that a tile gives at most
constexpr uint32_t kTaps = 9;        // weights of a 3 x 3 kernel
constexpr uint32_t kDirect = 4;      // up to as many input channels a convolution is computed directly
constexpr uint32_t kStrip = 8;       // rows of outputs of one piece of a direct convolution
constexpr size_t kLine = 64;         // bytes of a cache line; all blocks of memory start on one

// Feature maps between two layers: [image][block of channels][row][column][channel in the block], with zeros around
// them: one row and column before, and as many after as whole tiles want and one more.
struct Grid {
    float *data;
    uint32_t count, channels, height, width;
    uint32_t blocks, rows, columns;
};

// Tiles of a layer are numbered image by image, row by row.
struct Tiles {
    uint32_t first, last;
};

struct Images {
    const void *data;  // (count, height, width, channels)
    const float *mean;
    uint32_t channels, height, width;
    bool floats;
};

// Where a convolution's outputs go, and what happens to them on the way.
struct Outputs {
    const Grid *grid;  // null: nowhere
    float *tap;        // (count, channels, height, width); null: nowhere
    uint32_t channels, height, width;  // of the convolution's own output
    bool relu, pooled, tap_before_relu;
};

// One of Winograd's methods.
struct Winograd {
    uint32_t tile;    // rows and columns of outputs that one tile gives
    uint32_t points;  // products per tile and pair of channels: (tile + 2) squared

    // Packed weights of output blocks [first, last).
    void (*pack)(const float *kernel, uint32_t in, uint32_t out, uint32_t first, uint32_t last, float *packed);
    // Tiles of a grid, blocks [first, last) of its channels, to transformed[point][block][tile][channel].
    void (*transform)(const Grid &grid, Tiles tiles, uint32_t first, uint32_t last, float *transformed, size_t stride);
    // Panel of packed weights times transformed tiles, at one point, to products[block][tile][point][channel].
    void (*multiply)(const float *packed, uint32_t in, uint32_t out, uint32_t point, uint32_t panel,
                     const float *transformed, size_t stride, uint32_t tiles, float *products);
    // Products of blocks [first, last) back to outputs.
    void (*restore)(const float *products, const float *bias, Tiles tiles, uint32_t first, uint32_t last,
                    const Outputs &outputs);
};

struct Kernels {
    uint32_t number;  // fmedge_chain_kernels
    const char *name;
    uint32_t width;    // floats in a vector: channels of a block
    uint32_t vectors;  // blocks of output channels in a panel of packed weights
    uint32_t group;    // tiles that are multiplied at once
    bool (*can_run)();

    Winograd methods[2];  // F(4x4, 3x3) and F(2x2, 3x3)

    void (*pack_direct)(const float *kernel, uint32_t in, uint32_t out, float *packed);
    // A direct convolution of output rows [first, last) of one image.
    void (*direct)(const Images &images, uint32_t image, uint32_t first, uint32_t last, const float *packed,
                   const float *bias, float *scratch, const Outputs &outputs);

    void (*load)(const Images &images, uint32_t image, uint32_t block, const Grid &grid);
    void (*pool)(const Grid &from, uint32_t image, uint32_t block, const Grid &to);
    void (*save)(const Grid &grid, uint32_t image, uint32_t block, float *tap);
    void (*clear_border)(const Grid &grid, uint32_t image, uint32_t block);
};

// Floats of scratch that one piece of a direct convolution needs. Returns whether they fit the address space.
bool direct_scratch(uint32_t channels, uint32_t width, size_t &floats);

// All sets of this build, the best first.
extern const Kernels *const kKernels[];
extern const uint32_t kKernelsCount;

const Kernels *find_kernels(uint32_t number);  // null: not in this build, or this processor cannot run them

}  // namespace fmedge
