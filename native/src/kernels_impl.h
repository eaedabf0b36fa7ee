// The kernels, for vectors of WIDTH floats. Included once by each kernels_*.cpp, which defines
//   WIDTH    floats in a vector,
//   VECTORS  vectors of weights in a panel,
//   GROUP    tiles multiplied at once; GROUP * VECTORS sums stay in registers,
//   SET      the namespace, NAME and NUMBER of the set, and can_run().
// Nothing of the standard library that may be compiled into a function of its own is used here: the linker would
// merge it with that of other files, and a function for AVX-512 could be the one that is kept.
//
// Winograd's methods F(4x4, 3x3) and F(2x2, 3x3): S. Winograd, Arithmetic Complexity of Computations, 1980; A. Lavin and
// S. Gray, Fast Algorithms for Convolutional Neural Networks, 2016. For the former the points are 0, +-5/8, +-3/2 and
// infinity: 5 dB more accurate than 0, +-1, +-2 at the same cost, since their powers are nearer to 1.

#include "kernels.h"

namespace fmedge {
namespace SET {
namespace {

typedef float Vector __attribute__((vector_size(WIDTH * 4), may_alias));
typedef float Unaligned __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));
typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));
typedef double Wide __attribute__((vector_size(WIDTH * 8)));

#define INLINE inline __attribute__((always_inline))

constexpr float kA = 5.0f / 8, kB = 3.0f / 2;
constexpr float kA2 = kA * kA, kB2 = kB * kB;  // all of these are exact in float
constexpr float kSum = kA2 + kB2, kProduct = kA2 * kB2;

INLINE uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

INLINE Vector load(const float *from) { return *reinterpret_cast<const Vector *>(from); }
INLINE Vector load_unaligned(const float *from) { return *reinterpret_cast<const Unaligned *>(from); }
INLINE void store(float *to, Vector value) { *reinterpret_cast<Vector *>(to) = value; }
INLINE void store_unaligned(float *to, Vector value) { *reinterpret_cast<Unaligned *>(to) = value; }
INLINE Vector zeros() { return Vector{}; }
INLINE Vector larger(Vector a, Vector b) { return a > b ? a : b; }
INLINE Vector rectified(Vector a) { return a < zeros() ? zeros() : a; }  // keeps NaN

INLINE size_t block_floats(const Grid &grid) { return size_t(grid.rows) * grid.columns * WIDTH; }

INLINE float *block_of(const Grid &grid, uint32_t image, uint32_t block) {
    return grid.data + (size_t(image) * grid.blocks + block) * block_floats(grid);
}

INLINE float *pixel(const Grid &grid, float *block, uint32_t row, uint32_t column) {  // (0, 0) is the first real one
    return block + ((size_t(row) + 1) * grid.columns + column + 1) * WIDTH;
}

// Each method has the three transforms of one dimension: into() is B transposed times a row or column of the input,
// back() is A transposed times products, and weights() is G times a row or column of a kernel. result and what is read
// lie `to` and `step` vectors apart.
struct FourByFour {
    static constexpr uint32_t kTile = 4, kSpan = 6;

    static INLINE void into(const Vector *d, size_t step, Vector *result) {
        const Vector d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
        const Vector even_a = d4 - kB2 * d2, odd_a = kA * (d3 - kB2 * d1);
        const Vector even_b = d4 - kA2 * d2, odd_b = kB * (d3 - kA2 * d1);
        result[0] = d4 - kSum * d2 + kProduct * d0;
        result[1] = even_a + odd_a;
        result[2] = even_a - odd_a;
        result[3] = even_b + odd_b;
        result[4] = even_b - odd_b;
        result[5] = d5 - kSum * d3 + kProduct * d1;
    }

    static INLINE void back(const Vector *m, size_t step, Vector *result, size_t to) {
        const Vector sum_a = m[step] + m[2 * step], difference_a = m[step] - m[2 * step];
        const Vector sum_b = m[3 * step] + m[4 * step], difference_b = m[3 * step] - m[4 * step];
        result[0] = m[0] + sum_a + sum_b;
        result[to] = kA * difference_a + kB * difference_b;
        result[2 * to] = kA2 * sum_a + kB2 * sum_b;
        result[3 * to] = kA2 * kA * difference_a + kB2 * kB * difference_b + m[5 * step];
    }

    static INLINE void weights(const Wide *g, size_t step, Wide *result) {
        constexpr double a = kA, b = kB, a2 = kA2, b2 = kB2;
        constexpr double zero = 1 / (a2 * b2), at_a = 1 / (2 * a2 * (a2 - b2)), at_b = 1 / (2 * b2 * (b2 - a2));
        const Wide g0 = g[0], g1 = g[step], g2 = g[2 * step];
        const Wide even_a = (g0 + a2 * g2) * at_a, odd_a = a * at_a * g1;
        const Wide even_b = (g0 + b2 * g2) * at_b, odd_b = b * at_b * g1;
        result[0] = g0 * zero;
        result[1] = even_a + odd_a;
        result[2] = even_a - odd_a;
        result[3] = even_b + odd_b;
        result[4] = even_b - odd_b;
        result[5] = g2;
    }
};

// The points 0, +-1 and infinity.
struct TwoByTwo {
    static constexpr uint32_t kTile = 2, kSpan = 4;

    static INLINE void into(const Vector *d, size_t step, Vector *result) {
        const Vector d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step];
        result[0] = d0 - d2;
        result[1] = d1 + d2;
        result[2] = d2 - d1;
        result[3] = d3 - d1;
    }

    static INLINE void back(const Vector *m, size_t step, Vector *result, size_t to) {
        result[0] = m[0] + m[step] + m[2 * step];
        result[to] = m[step] - m[2 * step] + m[3 * step];
    }

    static INLINE void weights(const Wide *g, size_t step, Wide *result) {
        const Wide even = (g[0] + g[2 * step]) * 0.5, odd = g[step] * 0.5;
        result[0] = g[0];
        result[1] = even + odd;
        result[2] = even - odd;
        result[3] = g[2 * step];
    }
};

struct Position {
    uint32_t image, row, column;  // of tiles
};

INLINE Position position_of(uint32_t tile, uint32_t rows, uint32_t columns) {
    const uint32_t row = tile / columns;
    return {row / rows, row % rows, tile % columns};
}

INLINE uint32_t tiles_along(uint32_t extent, uint32_t tile) { return (extent - 1) / tile + 1; }

INLINE void advance(Position &at, uint32_t rows, uint32_t columns) {
    if (++at.column < columns) return;
    at.column = 0;
    if (++at.row < rows) return;
    at.row = 0;
    ++at.image;
}

template <typename Method>
void transform(const Grid &grid, Tiles tiles, uint32_t first, uint32_t last, float *transformed, size_t stride) {
    constexpr uint32_t kSpan = Method::kSpan, kTile = Method::kTile;
    const uint32_t rows = tiles_along(grid.height, kTile), columns = tiles_along(grid.width, kTile);
    const uint32_t count = tiles.last - tiles.first;
    const size_t row_floats = size_t(grid.columns) * WIDTH;
    for (uint32_t block = first; block < last; ++block) {
        Position at = position_of(tiles.first, rows, columns);
        float *into = transformed + size_t(block) * count * WIDTH;
        for (uint32_t tile = 0; tile < count; ++tile, into += WIDTH, advance(at, rows, columns)) {
            const float *from = block_of(grid, at.image, block) + at.row * kTile * row_floats + at.column * kTile * WIDTH;
            Vector half[kSpan * kSpan];
            for (uint32_t row = 0; row < kSpan; ++row) {
                Method::into(reinterpret_cast<const Vector *>(from + row * row_floats), 1, half + kSpan * row);
            }
            for (uint32_t column = 0; column < kSpan; ++column) {
                Vector whole[kSpan];
                Method::into(half + column, kSpan, whole);
                for (uint32_t row = 0; row < kSpan; ++row) store(into + (kSpan * row + column) * stride, whole[row]);
            }
        }
    }
}

// Floats of weights that are fetched ahead: deep layers' weights come from memory. 4 KB ahead take 2 to 13 % off a run.
constexpr size_t kAhead = 1024;

// Products of up to GROUP tiles with a panel of weights. Sums run over the input channels in order, so they do not
// depend on how tiles are grouped.
template <int Count, int Vectors>
void multiply_group(const float *__restrict weights, uint32_t in, const float *__restrict tiles, size_t block_stride,
                    float *__restrict products, size_t tile_stride, size_t vector_stride) {
    Vector sums[Count][Vectors];
    for (int tile = 0; tile < Count; ++tile) {
        for (int vector = 0; vector < Vectors; ++vector) sums[tile][vector] = zeros();
    }
    for (uint32_t base = 0; base < in; base += WIDTH, tiles += block_stride) {
        const uint32_t lanes = least(WIDTH, in - base);
#pragma GCC unroll 4
        for (uint32_t lane = 0; lane < lanes; ++lane, weights += Vectors * WIDTH) {
            Vector factors[Vectors];
            for (int vector = 0; vector < Vectors; ++vector) __builtin_prefetch(weights + kAhead + vector * WIDTH);
            for (int vector = 0; vector < Vectors; ++vector) factors[vector] = load(weights + vector * WIDTH);
            for (int tile = 0; tile < Count; ++tile) {
                const float value = tiles[tile * WIDTH + lane];
                for (int vector = 0; vector < Vectors; ++vector) sums[tile][vector] += factors[vector] * value;
            }
        }
    }
    for (int vector = 0; vector < Vectors; ++vector) {
        for (int tile = 0; tile < Count; ++tile) store(products + vector * vector_stride + tile * tile_stride, sums[tile][vector]);
    }
}

typedef void (*Group)(const float *, uint32_t, const float *, size_t, float *, size_t, size_t);

template <int Count, int Vectors>
struct Groups {
    static INLINE Group find(uint32_t count, uint32_t vectors) {
        if (vectors != Vectors) return Groups<Count, Vectors - 1>::find(count, vectors);
        if (count != Count) return Groups<Count - 1, Vectors>::find(count, vectors);
        return multiply_group<Count, Vectors>;
    }
};
template <int Vectors>
struct Groups<0, Vectors> {
    static INLINE Group find(uint32_t, uint32_t) { return nullptr; }
};
template <int Count>
struct Groups<Count, 0> {
    static INLINE Group find(uint32_t, uint32_t) { return nullptr; }
};
template <>
struct Groups<0, 0> {
    static INLINE Group find(uint32_t, uint32_t) { return nullptr; }
};

template <typename Method>
void multiply(const float *packed, uint32_t in, uint32_t out, uint32_t point, uint32_t panel, const float *transformed,
              size_t stride, uint32_t tiles, float *products) {
    constexpr size_t kStep = Method::kSpan * Method::kSpan * WIDTH;  // floats between two tiles of products
    const uint32_t blocks = (out + WIDTH - 1) / WIDTH;
    const uint32_t vectors = least(VECTORS, blocks - panel * VECTORS);
    const float *weights = packed + (size_t(point) * blocks + size_t(panel) * VECTORS) * WIDTH * in;
    const float *from = transformed + point * stride;
    float *into = products + size_t(panel) * VECTORS * tiles * kStep + point * WIDTH;
    const uint32_t groups = (tiles + GROUP - 1) / GROUP;
    const uint32_t size = tiles / groups, longer = tiles % groups;  // groups are as equal as they can be
    for (uint32_t group = 0, tile = 0; group < groups; ++group) {
        const uint32_t count = size + (group < longer);
        Groups<GROUP, VECTORS>::find(count, vectors)(weights, in, from + size_t(tile) * WIDTH, size_t(tiles) * WIDTH,
                                                     into + tile * kStep, kStep, tiles * kStep);
        tile += count;
    }
}

// Channels of four pixels: part [k] holds in lanes 4 j to 4 j + 3 the four pixels of channel 4 j + k.
INLINE void across(const Vector *pixels, Vector *parts) {
#if WIDTH == 4
#define LANES(a, b, c, d) a, b, c, d
#elif WIDTH == 8
#define LANES(a, b, c, d) a, b, c, d, a + 4, b + 4, c + 4, d + 4
#else
#define LANES(a, b, c, d) \
    a, b, c, d, a + 4, b + 4, c + 4, d + 4, a + 8, b + 8, c + 8, d + 8, a + 12, b + 12, c + 12, d + 12
#endif
    const Vector low_a = __builtin_shufflevector(pixels[0], pixels[1], LANES(0, WIDTH, 1, WIDTH + 1));
    const Vector high_a = __builtin_shufflevector(pixels[0], pixels[1], LANES(2, WIDTH + 2, 3, WIDTH + 3));
    const Vector low_b = __builtin_shufflevector(pixels[2], pixels[3], LANES(0, WIDTH, 1, WIDTH + 1));
    const Vector high_b = __builtin_shufflevector(pixels[2], pixels[3], LANES(2, WIDTH + 2, 3, WIDTH + 3));
    parts[0] = __builtin_shufflevector(low_a, low_b, LANES(0, 1, WIDTH, WIDTH + 1));
    parts[1] = __builtin_shufflevector(low_a, low_b, LANES(2, 3, WIDTH + 2, WIDTH + 3));
    parts[2] = __builtin_shufflevector(high_a, high_b, LANES(0, 1, WIDTH, WIDTH + 1));
    parts[3] = __builtin_shufflevector(high_a, high_b, LANES(2, 3, WIDTH + 2, WIDTH + 3));
#undef LANES
}

// Up to four pixels of a row, of up to WIDTH channels, to planes.
INLINE void store_planes(const Vector *pixels, uint32_t valid, uint32_t channels, float *into, size_t plane) {
    Vector parts[4];
    across(pixels, parts);
    if (valid == 4 && channels == WIDTH) {
        for (uint32_t lane = 0; lane < WIDTH; ++lane) {
            const Four value = {parts[lane % 4][lane / 4 * 4], parts[lane % 4][lane / 4 * 4 + 1],
                                parts[lane % 4][lane / 4 * 4 + 2], parts[lane % 4][lane / 4 * 4 + 3]};
            *reinterpret_cast<Four *>(into + lane * plane) = value;
        }
        return;
    }
    for (uint32_t lane = 0; lane < channels; ++lane) {
        for (uint32_t column = 0; column < valid; ++column) into[lane * plane + column] = pixels[column][lane];
    }
}

// Where the outputs of restored tiles go. The common cases are known when this is compiled.
enum Target { kToGrid, kToPooled, kToTap, kToAll };

template <typename Method>
INLINE void tile_to_planes(const Vector *found, uint32_t high, uint32_t wide, uint32_t channels, float *into, size_t line,
                           size_t plane) {
    for (uint32_t row = 0; row < high; ++row) {
        if (Method::kTile == 4) {
            store_planes(found + 4 * row, wide, channels, into + row * line, plane);
        } else {
            const Vector pixels[4] = {found[2 * row], found[2 * row + 1], zeros(), zeros()};
            store_planes(pixels, wide, channels, into + row * line, plane);
        }
    }
}

template <typename Method>
INLINE void tile_to_pooled(const Vector *found, const Grid &grid, float *into, uint32_t top, uint32_t left) {
    constexpr uint32_t kTile = Method::kTile;
    for (uint32_t row = 0; row < kTile / 2; ++row) {
        for (uint32_t column = 0; column < kTile / 2; ++column) {
            const uint32_t y = top / 2 + row, x = left / 2 + column;
            if (y >= grid.height || x >= grid.width) continue;
            const Vector *window = found + 2 * kTile * row + 2 * column;
            store(pixel(grid, into, y, x), larger(larger(window[0], window[1]), larger(window[kTile], window[kTile + 1])));
        }
    }
}

template <typename Method>
INLINE void tile_to_grid(const Vector *found, const Grid &grid, float *into, uint32_t top, uint32_t left) {
    constexpr uint32_t kTile = Method::kTile;
    float *line = pixel(grid, into, top, left);
    const size_t step = size_t(grid.columns) * WIDTH;
    const uint32_t high = least(kTile, grid.height - top), wide = least(kTile, grid.width - left);
    if (high == kTile && wide == kTile) {  // with extents that are known when this is compiled
        for (uint32_t row = 0; row < kTile; ++row) {
            for (uint32_t column = 0; column < kTile; ++column) store(line + row * step + column * WIDTH, found[kTile * row + column]);
        }
        return;
    }
    for (uint32_t row = 0; row < high; ++row) {
        for (uint32_t column = 0; column < wide; ++column) store(line + row * step + column * WIDTH, found[kTile * row + column]);
    }
}

template <typename Method, Target Where, bool Relu>
void restore_block(const float *from, const float *bias, Tiles tiles, uint32_t block, const Outputs &outputs) {
    constexpr uint32_t kSpan = Method::kSpan, kTile = Method::kTile;
    const uint32_t rows = tiles_along(outputs.height, kTile), columns = tiles_along(outputs.width, kTile);
    const size_t plane = size_t(outputs.height) * outputs.width;
    const Vector added = load(bias + size_t(block) * WIDTH);
    const uint32_t channels = least(WIDTH, outputs.channels - block * WIDTH);
    Position at = position_of(tiles.first, rows, columns);
    for (uint32_t tile = tiles.first; tile < tiles.last; ++tile, from += kSpan * kSpan * WIDTH, advance(at, rows, columns)) {
        Vector half[kTile * kSpan], found[kTile * kTile];
        for (uint32_t row = 0; row < kSpan; ++row) {
            Method::back(reinterpret_cast<const Vector *>(from) + kSpan * row, 1, half + row, kSpan);
        }
        for (uint32_t column = 0; column < kTile; ++column) {
            Vector line[kTile];
            Method::back(half + kSpan * column, 1, line, 1);
            for (uint32_t row = 0; row < kTile; ++row) {
                const Vector value = line[row] + added;
                found[kTile * row + column] = Relu ? rectified(value) : value;
            }
        }
        const uint32_t top = at.row * kTile, left = at.column * kTile;
        if (Where == kToTap || (Where == kToAll && outputs.tap != nullptr)) {
            float *tap = outputs.tap + (size_t(at.image) * outputs.channels + size_t(block) * WIDTH) * plane +
                         size_t(top) * outputs.width + left;
            tile_to_planes<Method>(found, least(kTile, outputs.height - top), least(kTile, outputs.width - left), channels,
                                   tap, outputs.width, plane);
        }
        if (Where == kToTap) continue;
        if (Where == kToAll && outputs.relu && !Relu) {
            for (Vector &value : found) value = rectified(value);
        }
        float *into = block_of(*outputs.grid, at.image, block);
        if (Where == kToPooled || (Where == kToAll && outputs.pooled)) {
            tile_to_pooled<Method>(found, *outputs.grid, into, top, left);
        } else {
            tile_to_grid<Method>(found, *outputs.grid, into, top, left);
        }
    }
}

template <typename Method>
void restore(const float *products, const float *bias, Tiles tiles, uint32_t first, uint32_t last, const Outputs &outputs) {
    typedef void (*Block)(const float *, const float *, Tiles, uint32_t, const Outputs &);
    static constexpr Block kBlocks[][2] = {
        {restore_block<Method, kToGrid, false>, restore_block<Method, kToGrid, true>},
        {restore_block<Method, kToPooled, false>, restore_block<Method, kToPooled, true>},
        {restore_block<Method, kToTap, false>, restore_block<Method, kToTap, true>},
        {restore_block<Method, kToAll, false>, restore_block<Method, kToAll, true>}};
    const bool before = outputs.tap != nullptr && outputs.tap_before_relu;  // ReLU comes after the tap
    const Target target = outputs.grid == nullptr  ? kToTap
                          : outputs.tap != nullptr ? kToAll
                          : outputs.pooled         ? kToPooled
                                                   : kToGrid;
    const Block restore_one = kBlocks[target][outputs.relu && !before];
    const size_t floats = size_t(tiles.last - tiles.first) * Method::kSpan * Method::kSpan * WIDTH;
    for (uint32_t block = first; block < last; ++block) restore_one(products + block * floats, bias, tiles, block, outputs);
}

// One image's rows around [first, last), the mean subtracted, as [row][channel][column], with zeros beyond the image.
INLINE size_t staged_pitch(uint32_t width) { return (size_t(width) + 2 + 5 * WIDTH - 1) / WIDTH * WIDTH; }

template <typename Value>
INLINE void stage_row(const Value *from, const Images &images, float *into, size_t pitch) {
    for (uint32_t channel = 0; channel < images.channels; ++channel) {
        float *line = into + channel * pitch;
        const float mean = images.mean[channel];
        line[0] = 0;
        for (uint32_t column = 0; column < images.width; ++column) {
            line[column + 1] = float(from[size_t(column) * images.channels + channel]) - mean;
        }
        for (size_t column = size_t(images.width) + 1; column < pitch; ++column) line[column] = 0;
    }
}

void stage(const Images &images, uint32_t image, uint32_t first, uint32_t last, float *scratch) {
    const size_t pitch = staged_pitch(images.width), row_values = size_t(images.width) * images.channels;
    for (uint32_t row = first; row < last + 2; ++row, scratch += images.channels * pitch) {
        if (row == 0 || row > images.height) {
            for (size_t value = 0; value < images.channels * pitch; ++value) scratch[value] = 0;
            continue;
        }
        const size_t start = (size_t(image) * images.height + row - 1) * row_values;
        if (images.floats) {
            stage_row(static_cast<const float *>(images.data) + start, images, scratch, pitch);
        } else {
            stage_row(static_cast<const uint8_t *>(images.data) + start, images, scratch, pitch);
        }
    }
}

// A direct convolution with outputs as planes: vectors of columns, and kChannels output channels at once.
constexpr int kChannels = GROUP * VECTORS / 3;

constexpr int kLine = 16;  // floats in a line of the cache

template <int Channels, int Vectors>
void direct_planes(const float *staged, size_t pitch, uint32_t in, const float *packed, const float *bias, bool relu,
                   uint32_t valid, float *into, size_t plane) {
    Vector sums[Channels][Vectors];
    for (int channel = 0; channel < Channels; ++channel) {
        // Fetched while the sums are made. Without it, stores of whole lines waited for memory: block1_conv1 into an
        // array aligned to 64 bytes took 4.2 ms instead of 2.1 (Skylake, AVX-512).
        const float *line = into + channel * plane;
        for (int ahead = 0; ahead < Vectors * WIDTH; ahead += kLine) __builtin_prefetch(line + ahead, 1);
        for (int vector = 0; vector < Vectors; ++vector) sums[channel][vector] = zeros() + bias[channel];
    }
    for (uint32_t row = 0; row < 3; ++row) {
        for (uint32_t column = 0; column < 3; ++column) {
            for (uint32_t source = 0; source < in; ++source, packed += WIDTH) {
                const float *line = staged + (row * in + source) * pitch + column;
                Vector values[Vectors];
                for (int vector = 0; vector < Vectors; ++vector) values[vector] = load_unaligned(line + vector * WIDTH);
                for (int channel = 0; channel < Channels; ++channel) {
                    for (int vector = 0; vector < Vectors; ++vector) sums[channel][vector] += values[vector] * packed[channel];
                }
            }
        }
    }
    for (int channel = 0; channel < Channels; ++channel) {
        for (int vector = 0; vector < Vectors; ++vector) {
            Vector value = sums[channel][vector];
            if (relu) value = rectified(value);
            float *line = into + channel * plane + vector * WIDTH;
            if (uint32_t(vector + 1) * WIDTH <= valid) {
                store_unaligned(line, value);
            } else {
                for (uint32_t lane = 0; vector * WIDTH + lane < valid; ++lane) line[lane] = value[lane];
            }
        }
    }
}

void direct_to_tap(const Images &images, uint32_t image, uint32_t first, uint32_t last, const float *packed,
                   const float *bias, const float *staged, const Outputs &outputs) {
    const size_t pitch = staged_pitch(images.width), plane = size_t(outputs.height) * outputs.width;
    const bool relu = outputs.relu && !outputs.tap_before_relu;
    for (uint32_t channel = 0; channel < outputs.channels;) {
        const uint32_t lane = channel % WIDTH;
        const bool many = least(outputs.channels - channel, WIDTH - lane) >= kChannels;
        const float *weights = packed + size_t(channel / WIDTH) * kTaps * images.channels * WIDTH + lane;
        for (uint32_t row = first; row < last; ++row) {  // row by row of one plane: what is written lies together
            const float *from = staged + (row - first) * images.channels * pitch;
            float *into = outputs.tap + (size_t(image) * outputs.channels + channel) * plane + size_t(row) * outputs.width;
            for (uint32_t column = 0; column < outputs.width; column += 3 * WIDTH) {
                const uint32_t valid = least(outputs.width - column, 3 * WIDTH);
#define DIRECT(CHANNELS, COUNT)                                                                                       \
    direct_planes<CHANNELS, COUNT>(from + column, pitch, images.channels, weights, bias + channel, relu, valid, \
                                   into + column, plane)
                if (valid > 2 * WIDTH) {
                    many ? DIRECT(kChannels, 3) : DIRECT(1, 3);
                } else if (valid > WIDTH) {
                    many ? DIRECT(kChannels, 2) : DIRECT(1, 2);
                } else {
                    many ? DIRECT(kChannels, 1) : DIRECT(1, 1);
                }
#undef DIRECT
            }
        }
        channel += many ? kChannels : 1;
    }
}

// A direct convolution with outputs as a grid: vectors of output channels, and GROUP columns at once.
template <int Count>
void direct_columns(const float *staged, size_t pitch, uint32_t in, const float *packed, Vector bias, Vector *found) {
    Vector sums[Count];
    for (int column = 0; column < Count; ++column) sums[column] = bias;
    for (uint32_t row = 0; row < 3; ++row) {
        for (uint32_t shift = 0; shift < 3; ++shift) {
            for (uint32_t source = 0; source < in; ++source, packed += WIDTH) {
                const float *line = staged + (row * in + source) * pitch + shift;
                const Vector weights = load(packed);
                for (int column = 0; column < Count; ++column) sums[column] += weights * line[column];
            }
        }
    }
    for (int column = 0; column < Count; ++column) found[column] = sums[column];
}

void direct_to_grid(const Images &images, uint32_t image, uint32_t first, uint32_t last, const float *packed,
                    const float *bias, const float *staged, const Outputs &outputs) {
    constexpr uint32_t kColumns = GROUP >= 8 ? 8 : 4;
    const Grid &grid = *outputs.grid;
    const size_t pitch = staged_pitch(images.width), plane = size_t(outputs.height) * outputs.width;
    for (uint32_t row = first; row < last; ++row, staged += images.channels * pitch) {
        for (uint32_t block = 0; block < grid.blocks; ++block) {
            const float *weights = packed + size_t(block) * kTaps * images.channels * WIDTH;
            const uint32_t channels = least(WIDTH, outputs.channels - block * WIDTH);
            float *line = pixel(grid, block_of(grid, image, block), row, 0);
            for (uint32_t column = 0; column < outputs.width; column += kColumns) {
                const uint32_t valid = least(kColumns, outputs.width - column);
                Vector found[kColumns];  // the scratch is wide enough to compute columns beyond the image
                direct_columns<kColumns>(staged + column, pitch, images.channels, weights, load(bias + size_t(block) * WIDTH), found);
                if (outputs.tap != nullptr) {
                    float *tap = outputs.tap + (size_t(image) * outputs.channels + size_t(block) * WIDTH) * plane +
                                 size_t(row) * outputs.width + column;
                    for (uint32_t four = 0; four < valid; four += 4) {
                        Vector pixels[4];
                        for (uint32_t k = 0; k < 4; ++k) {
                            pixels[k] = outputs.relu && !outputs.tap_before_relu ? rectified(found[four + k]) : found[four + k];
                        }
                        store_planes(pixels, least(4, valid - four), channels, tap + four, plane);
                    }
                }
                for (uint32_t k = 0; k < valid; ++k) {
                    store(line + size_t(column + k) * WIDTH, outputs.relu ? rectified(found[k]) : found[k]);
                }
            }
        }
    }
}

void direct(const Images &images, uint32_t image, uint32_t first, uint32_t last, const float *packed, const float *bias,
            float *scratch, const Outputs &outputs) {
    stage(images, image, first, last, scratch);
    (outputs.grid == nullptr ? direct_to_tap : direct_to_grid)(images, image, first, last, packed, bias, scratch, outputs);
}

void load_block(const Images &images, uint32_t image, uint32_t block, const Grid &grid) {
    float *into = block_of(grid, image, block);
    for (uint32_t row = 0; row < grid.height; ++row) {
        for (uint32_t column = 0; column < grid.width; ++column) {
            const size_t start = ((size_t(image) * grid.height + row) * grid.width + column) * images.channels;
            float *lanes = pixel(grid, into, row, column);
            for (uint32_t lane = 0; lane < WIDTH; ++lane) {
                const uint32_t channel = block * WIDTH + lane;
                if (channel >= images.channels) {
                    lanes[lane] = 0;
                } else {
                    lanes[lane] = (images.floats ? static_cast<const float *>(images.data)[start + channel]
                                                 : float(static_cast<const uint8_t *>(images.data)[start + channel])) -
                                  images.mean[channel];
                }
            }
        }
    }
}

void pool(const Grid &from, uint32_t image, uint32_t block, const Grid &to) {
    float *source = block_of(from, image, block), *target = block_of(to, image, block);
    for (uint32_t row = 0; row < to.height; ++row) {
        for (uint32_t column = 0; column < to.width; ++column) {
            const float *upper = pixel(from, source, 2 * row, 2 * column), *lower = pixel(from, source, 2 * row + 1, 2 * column);
            store(pixel(to, target, row, column),
                  larger(larger(load(upper), load(upper + WIDTH)), larger(load(lower), load(lower + WIDTH))));
        }
    }
}

void save(const Grid &grid, uint32_t image, uint32_t block, float *tap) {
    float *source = block_of(grid, image, block);
    const size_t plane = size_t(grid.height) * grid.width;
    const uint32_t channels = least(WIDTH, grid.channels - block * WIDTH);
    float *into = tap + (size_t(image) * grid.channels + size_t(block) * WIDTH) * plane;
    for (uint32_t row = 0; row < grid.height; ++row) {
        for (uint32_t column = 0; column < grid.width; column += 4) {
            const float *lanes = pixel(grid, source, row, column);  // a row has at least one column of zeros after it
            const uint32_t valid = least(4, grid.width - column);
            Vector pixels[4];
            for (uint32_t k = 0; k < 4; ++k) pixels[k] = k < valid ? load(lanes + k * WIDTH) : zeros();
            store_planes(pixels, valid, channels, into + size_t(row) * grid.width + column, plane);
        }
    }
}

void clear(float *from, const float *end) {
    for (; from < end; from += WIDTH) store(from, zeros());
}

void clear_border(const Grid &grid, uint32_t image, uint32_t block) {
    float *start = block_of(grid, image, block);
    const size_t row = size_t(grid.columns) * WIDTH;
    clear(start, start + row + WIDTH);
    for (uint32_t y = 0; y < grid.height; ++y) {  // what follows a row, and the column before the next one
        float *after = pixel(grid, start, y, grid.width);
        clear(after, start + (size_t(y) + 2) * row + WIDTH);
    }
    clear(start + (size_t(grid.height) + 1) * row + WIDTH, start + block_floats(grid));
}

// G times g times G transposed, in double precision: the rows of G are those of the points.
template <typename Method>
void pack_winograd(const float *kernel, uint32_t in, uint32_t out, uint32_t first, uint32_t last, float *packed) {
    constexpr uint32_t kSpan = Method::kSpan;
    const uint32_t blocks = (out + WIDTH - 1) / WIDTH;
    for (uint32_t block = first; block < last; ++block) {
        const uint32_t panel = block / VECTORS, vectors = least(VECTORS, blocks - panel * VECTORS);
        const uint32_t lanes = least(WIDTH, out - block * WIDTH);
        for (uint32_t source = 0; source < in; ++source) {
            Wide weights[kTaps] = {};
            for (uint32_t lane = 0; lane < lanes; ++lane) {
                const float *from = kernel + (size_t(block * WIDTH + lane) * in + source) * kTaps;
                for (uint32_t tap = 0; tap < kTaps; ++tap) weights[tap][lane] = from[tap];
            }
            Wide half[3 * kSpan];
            for (uint32_t row = 0; row < 3; ++row) Method::weights(weights + 3 * row, 1, half + kSpan * row);
            for (uint32_t column = 0; column < kSpan; ++column) {
                Wide whole[kSpan];
                Method::weights(half + column, kSpan, whole);
                for (uint32_t row = 0; row < kSpan; ++row) {
                    const size_t point = kSpan * row + column;
                    float *into = packed + (point * blocks + size_t(panel) * VECTORS) * WIDTH * in +
                                  (size_t(source) * vectors + block % VECTORS) * WIDTH;
                    store(into, __builtin_convertvector(whole[row], Vector));
                }
            }
        }
    }
}

// [block of output channels][row][column][input channel][output channel in the block]
void pack_direct(const float *kernel, uint32_t in, uint32_t out, float *packed) {
    const uint32_t blocks = (out + WIDTH - 1) / WIDTH;
    for (uint32_t channel = 0; channel < blocks * WIDTH; ++channel) {
        float *into = packed + size_t(channel / WIDTH) * kTaps * in * WIDTH + channel % WIDTH;
        for (uint32_t tap = 0; tap < kTaps; ++tap) {
            for (uint32_t source = 0; source < in; ++source, into += WIDTH) {
                *into = channel < out ? kernel[(size_t(channel) * in + source) * kTaps + tap] : 0;
            }
        }
    }
}

}  // namespace

#define METHOD(METHOD_)                                                                       \
    {METHOD_::kTile, METHOD_::kSpan * METHOD_::kSpan, pack_winograd<METHOD_>, transform<METHOD_>, multiply<METHOD_>, \
     restore<METHOD_>}

extern const Kernels kernels;
const Kernels kernels = {NUMBER,  NAME,        WIDTH,  VECTORS,    GROUP, can_run, {METHOD(FourByFour), METHOD(TwoByTwo)},
                         pack_direct, direct,  load_block, pool, save,  clear_border};

}  // namespace SET
}  // namespace fmedge
