// The C interface.
#include "fmedge_chain.h"

#include <cstring>
#include <new>
#include <system_error>

#include "checked.h"
#include "kernels.h"
#include "memory.h"
#include "model.h"
#include "packed.h"
#include "plan.h"
#include "pool.h"

using namespace fmedge;

namespace {

constexpr uint32_t kMostThreads = 64, kMostSpin = 1000000, kMostCpus = 4096;

bool is_aligned(const void *data, size_t bytes) { return reinterpret_cast<uintptr_t>(data) % bytes == 0; }

// What the exception means that is being handled: none may leave the library.
int status_of_exception() {
    try {
        throw;
    } catch (const std::bad_alloc &) {
        return FMEDGE_CHAIN_NO_MEMORY;
    } catch (const std::system_error &) {
        return FMEDGE_CHAIN_NO_THREADS;
    } catch (...) {
        return FMEDGE_CHAIN_NO_MEMORY;
    }
}

template <typename Function>
int guarded(const Function &function) {
    try {
        return function();
    } catch (...) {
        return status_of_exception();
    }
}

struct Buffers {
    size_t grids[2];       // bytes of the two grids that layers read and write in turn
    size_t scratch;        // bytes for each thread, or for all together
    size_t total;
};

}  // namespace

struct fmedge_chain {
    const Kernels *kernels;
    uint32_t channels;
    bool floats;
    std::vector<Layer> layers;
    Packing packing;
    const uint8_t *packed;
    Memory own_packed, grids[2], scratch;
    Pool pool;

    const float *floats_at(size_t offset) const { return reinterpret_cast<const float *>(packed + offset); }
    int plan(uint32_t count, uint32_t height, uint32_t width, size_t layers_wanted, Buffers &buffers) const;
    int run(const void *images, uint32_t count, uint32_t height, uint32_t width, float *const *taps);
    void convolve(const Grid &from, const Layer &layer, const PackedLayer &place, const Outputs &outputs);
};

namespace {

// A model that was read, and where its packed weights go.
struct Prepared {
    const Kernels *kernels = nullptr;
    Model model = {};
    Packing packing = {};
};

int prepare(const void *content, size_t size, uint32_t number, Prepared &prepared) {
    prepared.kernels = find_kernels(number);
    if (prepared.kernels == nullptr) return FMEDGE_CHAIN_NO_KERNELS;
    if (!read_model(content, size, prepared.model)) return FMEDGE_CHAIN_BAD_MODEL;
    return plan_packing(prepared.model, *prepared.kernels, prepared.packing) ? FMEDGE_CHAIN_OK : FMEDGE_CHAIN_TOO_LARGE;
}

uint32_t strips_of(uint32_t height) { return (height - 1) / kStrip + 1; }

bool is_tap(const Layer &layer) { return layer.tap || layer.tap_before_relu; }

// A pooling layer is computed together with the convolution before it, unless that one is computed directly.
bool pools_along(const fmedge_chain &chain, size_t number, size_t wanted) {
    return number + 1 < wanted && chain.layers[number + 1].pool && !chain.layers[number].pool &&
           !chain.packing.layers[number].direct;
}

void clear_borders(Pool &pool, const Kernels &kernels, const Grid &grid) {
    pool.each(grid.count * grid.blocks, [&](uint32_t piece, uint32_t) {
        kernels.clear_border(grid, piece / grid.blocks, piece % grid.blocks);
    });
}

}  // namespace

int fmedge_chain::plan(uint32_t count, uint32_t height, uint32_t width, size_t wanted, Buffers &buffers) const {
    buffers = {};
    size_t turn = 0;
    const auto needs_grid = [&](uint32_t channels, uint32_t rows, uint32_t columns) {
        Grid grid;
        size_t bytes;
        if (!grid_for(*kernels, count, channels, rows, columns, grid, bytes)) return false;
        if (grid.blocks > UINT32_MAX / count) return false;
        if (bytes > buffers.grids[turn]) buffers.grids[turn] = bytes;
        turn = 1 - turn;
        return true;
    };
    if (!packing.layers[0].direct && !needs_grid(channels, height, width)) return FMEDGE_CHAIN_TOO_LARGE;
    for (size_t number = 0; number < wanted; ++number) {
        const Layer &layer = layers[number];
        size_t bytes = 0;
        if (packing.layers[number].direct) {
            size_t floats_each;
            if (!direct_scratch(layer.in, width, floats_each) || !multiplied({floats_each, 4, pool.threads()}, bytes) ||
                strips_of(height) > UINT32_MAX / count) {
                return FMEDGE_CHAIN_TOO_LARGE;
            }
        } else if (!layer.pool) {
            Work work;
            if (!plan_work(*kernels, *packing.layers[number].method, layer.in, layer.out, count, height, width, pool.threads(), work)) {
                return FMEDGE_CHAIN_TOO_LARGE;
            }
            bytes = work.floats * 4 * (work.together ? 1 : pool.threads());
        }
        if (bytes > buffers.scratch) buffers.scratch = bytes;
        if (pools_along(*this, number, wanted)) ++number;
        if (layers[number].pool) {
            height /= 2;
            width /= 2;
            if (height == 0 || width == 0) return FMEDGE_CHAIN_TOO_SMALL;
        }
        const bool last = number + 1 == wanted && !layers[number].pool;
        if (!last && !needs_grid(layers[number].out, height, width)) return FMEDGE_CHAIN_TOO_LARGE;
    }
    for (const size_t bytes : {buffers.grids[0], buffers.grids[1], buffers.scratch}) {
        if (__builtin_add_overflow(buffers.total, bytes, &buffers.total)) return FMEDGE_CHAIN_TOO_LARGE;
    }
    return FMEDGE_CHAIN_OK;
}

void fmedge_chain::convolve(const Grid &from, const Layer &layer, const PackedLayer &place, const Outputs &outputs) {
    const Winograd &method = *place.method;
    Work work;
    plan_work(*kernels, method, layer.in, layer.out, from.count, from.height, from.width, pool.threads(), work);
    const float *weights = floats_at(place.weights), *bias = floats_at(place.bias);
    const uint32_t blocks = (layer.out + kernels->width - 1) / kernels->width;
    const uint32_t panels = (blocks + kernels->vectors - 1) / kernels->vectors;
    const uint32_t chunks = (work.tiles + work.chunk - 1) / work.chunk;
    float *const memory = static_cast<float *>(scratch.data());
    const auto tiles_of = [&](uint32_t chunk) {
        const uint32_t first = chunk * work.chunk, left = work.tiles - first;
        return Tiles{first, first + (left < work.chunk ? left : work.chunk)};
    };
    if (!work.together) {
        pool.each(chunks, [&](uint32_t chunk, uint32_t thread) {
            const Tiles tiles = tiles_of(chunk);
            float *transformed = memory + thread * work.floats, *products = transformed + method.points * work.stride;
            method.transform(from, tiles, 0, from.blocks, transformed, work.stride);
            for (uint32_t point = 0; point < method.points; ++point) {
                for (uint32_t panel = 0; panel < panels; ++panel) {
                    method.multiply(weights, layer.in, layer.out, point, panel, transformed, work.stride,
                                      tiles.last - tiles.first, products);
                }
            }
            method.restore(products, bias, tiles, 0, blocks, outputs);
        });
        return;
    }
    float *transformed = memory, *products = memory + method.points * work.stride;
    // Neighbouring panels go to one thread, since their weights are read in one stream; each gets about eight pieces.
    const uint32_t total = method.points * panels, run_of = (total - 1) / (8 * pool.threads()) + 1;
    for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
        const Tiles tiles = tiles_of(chunk);
        pool.each(from.blocks, [&](uint32_t block, uint32_t) {
            method.transform(from, tiles, block, block + 1, transformed, work.stride);
        });
        pool.each((total - 1) / run_of + 1, [&](uint32_t piece, uint32_t) {
            for (uint32_t number = piece * run_of; number < (piece + 1) * run_of && number < total; ++number) {
                method.multiply(weights, layer.in, layer.out, number / panels, number % panels, transformed, work.stride,
                                  tiles.last - tiles.first, products);
            }
        });
        pool.each(blocks, [&](uint32_t block, uint32_t) {
            method.restore(products, bias, tiles, block, block + 1, outputs);
        });
    }
}

int fmedge_chain::run(const void *data, uint32_t count, uint32_t height, uint32_t width, float *const *taps) {
    size_t wanted = 0, tap = 0;
    for (size_t number = 0; number < layers.size(); ++number) {
        if (is_tap(layers[number]) && taps[tap++] != nullptr) wanted = number + 1;
    }
    if (wanted == 0) return FMEDGE_CHAIN_OK;
    Buffers buffers;
    const int status = plan(count, height, width, wanted, buffers);
    if (status != FMEDGE_CHAIN_OK) return status;
    if (!grids[0].reserve(buffers.grids[0]) || !grids[1].reserve(buffers.grids[1]) || !scratch.reserve(buffers.scratch)) {
        return FMEDGE_CHAIN_NO_MEMORY;
    }
    size_t turn = 0, bytes;
    const auto next_grid = [&](uint32_t channels_of, uint32_t rows, uint32_t columns) {
        Grid grid;
        grid_for(*kernels, count, channels_of, rows, columns, grid, bytes);
        grid.data = static_cast<float *>(grids[turn].data());
        turn = 1 - turn;
        clear_borders(pool, *kernels, grid);
        return grid;
    };
    const Images images = {data, floats_at(packing.mean), channels, height, width, floats};
    Grid current = {};
    if (!packing.layers[0].direct) {
        current = next_grid(channels, height, width);
        pool.each(count * current.blocks, [&](uint32_t piece, uint32_t) {
            kernels->load(images, piece / current.blocks, piece % current.blocks, current);
        });
    }
    tap = 0;
    for (size_t number = 0; number < wanted; ++number) {
        const Layer &layer = layers[number];
        const PackedLayer &place = packing.layers[number];
        float *into = is_tap(layer) ? taps[tap++] : nullptr;
        if (layer.pool) {
            const Grid next = next_grid(layer.out, height /= 2, width /= 2);
            pool.each(count * next.blocks, [&](uint32_t piece, uint32_t) {
                kernels->pool(current, piece / next.blocks, piece % next.blocks, next);
            });
            current = next;
        } else {
            const bool pooled = pools_along(*this, number, wanted), last = number + 1 == wanted;
            Outputs outputs = {nullptr, into, layer.out, height, width, layer.relu, pooled, layer.tap_before_relu};
            Grid next = {};
            if (pooled) {
                height /= 2;
                width /= 2;
            }
            if (!last) {
                next = next_grid(layer.out, height, width);
                outputs.grid = &next;
            }
            if (place.direct) {
                const uint32_t strips = strips_of(height);
                size_t floats_each;
                direct_scratch(layer.in, width, floats_each);
                pool.each(count * strips, [&](uint32_t piece, uint32_t thread) {
                    const uint32_t first = piece % strips * kStrip;
                    kernels->direct(images, piece / strips, first, first + kStrip < height ? first + kStrip : height,
                                    floats_at(place.weights), floats_at(place.bias),
                                    static_cast<float *>(scratch.data()) + thread * floats_each, outputs);
                });
            } else {
                convolve(current, layer, place, outputs);
            }
            current = next;
            if (!pooled) continue;
            ++number;
            into = is_tap(layers[number]) ? taps[tap++] : nullptr;
        }
        if (into == nullptr) continue;
        pool.each(count * current.blocks, [&](uint32_t piece, uint32_t) {
            kernels->save(current, piece / current.blocks, piece % current.blocks, into);
        });
    }
    return FMEDGE_CHAIN_OK;
}

extern "C" {

uint32_t fmedge_chain_abi(void) { return FMEDGE_CHAIN_ABI; }

const char *fmedge_chain_status_text(int status) {
    switch (status) {
        case FMEDGE_CHAIN_OK: return "done";
        case FMEDGE_CHAIN_BAD_ARGUMENT: return "an argument is null or out of its range";
        case FMEDGE_CHAIN_BAD_MODEL: return "the model is not one, or is damaged";
        case FMEDGE_CHAIN_BAD_PACKED: return "the packed weights are not those of this model and these kernels";
        case FMEDGE_CHAIN_NO_MEMORY: return "memory ran out";
        case FMEDGE_CHAIN_NO_THREADS: return "the system allows no more threads";
        case FMEDGE_CHAIN_NO_KERNELS: return "this processor, or this build, lacks the kernels";
        case FMEDGE_CHAIN_TOO_LARGE: return "the numbers of elements do not fit the address space";
        case FMEDGE_CHAIN_TOO_SMALL: return "the image is too small for the pooling, or a buffer for a tap";
        default: return "an unknown status";
    }
}

const char *fmedge_chain_kernels_name(uint32_t kernels) {
    switch (kernels) {
        case FMEDGE_CHAIN_PLAIN: return "plain";
        case FMEDGE_CHAIN_AVX2: return "avx2";
        case FMEDGE_CHAIN_AVX512: return "avx512";
        case FMEDGE_CHAIN_NEON: return "neon";
        default: return nullptr;
    }
}

int fmedge_chain_can_run(uint32_t kernels) { return kernels != FMEDGE_CHAIN_BEST && find_kernels(kernels) != nullptr; }

uint32_t fmedge_chain_best(void) { return find_kernels(FMEDGE_CHAIN_BEST)->number; }

int fmedge_chain_packed_bytes(const void *content, size_t size, uint32_t number, size_t *bytes) {
    if (content == nullptr || !is_aligned(content, 4) || bytes == nullptr) return FMEDGE_CHAIN_BAD_ARGUMENT;
    return guarded([&] {
        Prepared prepared;
        const int status = prepare(content, size, number, prepared);
        *bytes = prepared.packing.bytes;
        return status;
    });
}

int fmedge_chain_pack(const void *content, size_t size, uint32_t number, uint32_t threads, void *packed, size_t bytes) {
    if (content == nullptr || !is_aligned(content, 4) || packed == nullptr || !is_aligned(packed, kLine) ||
        threads > kMostThreads) {
        return FMEDGE_CHAIN_BAD_ARGUMENT;
    }
    return guarded([&] {
        Prepared prepared;
        const int status = prepare(content, size, number, prepared);
        if (status != FMEDGE_CHAIN_OK) return status;
        if (bytes != prepared.packing.bytes) return int(FMEDGE_CHAIN_BAD_ARGUMENT);
        Pool pool;
        pool.start(threads, 0, nullptr, 0);
        pack(prepared.model, *prepared.kernels, prepared.packing, pool, static_cast<uint8_t *>(packed));
        return int(FMEDGE_CHAIN_OK);
    });
}

int fmedge_chain_open(const void *content, size_t size, const fmedge_chain_options *given, fmedge_chain **opened) {
    if (opened == nullptr) return FMEDGE_CHAIN_BAD_ARGUMENT;
    *opened = nullptr;
    fmedge_chain_options options = {};
    if (given != nullptr) {
        if (given->struct_size != sizeof(options)) return FMEDGE_CHAIN_BAD_ARGUMENT;
        options = *given;
    }
    if (options.threads == 0) options.threads = 1;
    if (content == nullptr || !is_aligned(content, 4) || options.threads > kMostThreads ||
        options.spin_us > kMostSpin || options.cpu_count > kMostCpus || options.reserved != 0 ||
        (options.cpu_count > 0 && options.cpus == nullptr) || !is_aligned(options.packed, kLine)) {
        return FMEDGE_CHAIN_BAD_ARGUMENT;
    }
    return guarded([&] {
        Prepared prepared;
        const int status = prepare(content, size, options.kernels, prepared);
        if (status != FMEDGE_CHAIN_OK) return status;
        const Model &model = prepared.model;
        const Kernels &kernels = *prepared.kernels;
        std::unique_ptr<fmedge_chain> chain(new fmedge_chain{});
        chain->kernels = &kernels;
        chain->channels = model.channels;
        chain->floats = model.floats;
        chain->layers = model.layers;
        chain->packing = std::move(prepared.packing);
        chain->pool.start(options.threads, options.spin_us, options.cpus, options.cpu_count);
        if (options.packed != nullptr) {
            chain->packed = static_cast<const uint8_t *>(options.packed);
            if (options.packed_bytes != chain->packing.bytes ||
                !is_packed(model, kernels, chain->packing, chain->pool, chain->packed)) {
                return int(FMEDGE_CHAIN_BAD_PACKED);
            }
        } else {
            if (!chain->own_packed.reserve(chain->packing.bytes)) return int(FMEDGE_CHAIN_NO_MEMORY);
            uint8_t *const packed = static_cast<uint8_t *>(chain->own_packed.data());
            pack(model, kernels, chain->packing, chain->pool, packed);
            chain->packed = packed;
        }
        *opened = chain.release();
        return int(FMEDGE_CHAIN_OK);
    });
}

uint32_t fmedge_chain_tap_count(const fmedge_chain *chain) {
    uint32_t count = 0;
    if (chain != nullptr) {
        for (const Layer &layer : chain->layers) count += is_tap(layer);
    }
    return count;
}

int fmedge_chain_tap_shape(const fmedge_chain *chain, uint32_t tap, uint32_t height, uint32_t width, uint32_t shape[3]) {
    if (chain == nullptr || shape == nullptr || height == 0 || width == 0) return FMEDGE_CHAIN_BAD_ARGUMENT;
    for (const Layer &layer : chain->layers) {
        if (layer.pool) {
            height /= 2;
            width /= 2;
        }
        if (!is_tap(layer) || tap-- > 0) continue;
        if (height == 0 || width == 0) return FMEDGE_CHAIN_TOO_SMALL;
        shape[0] = layer.out;
        shape[1] = height;
        shape[2] = width;
        return FMEDGE_CHAIN_OK;
    }
    return FMEDGE_CHAIN_BAD_ARGUMENT;
}

uint32_t fmedge_chain_kernels_of(const fmedge_chain *chain) { return chain == nullptr ? 0 : chain->kernels->number; }

int fmedge_chain_run_bytes(const fmedge_chain *chain, uint32_t count, uint32_t height, uint32_t width, size_t *bytes) {
    if (chain == nullptr || bytes == nullptr || count == 0 || height == 0 || width == 0) return FMEDGE_CHAIN_BAD_ARGUMENT;
    Buffers buffers;
    const int status = chain->plan(count, height, width, chain->layers.size(), buffers);
    *bytes = buffers.total;
    return status;
}

int fmedge_chain_run(fmedge_chain *chain, const void *images, uint32_t count, uint32_t height, uint32_t width,
                     float *const *taps, const size_t *tap_floats, uint32_t tap_count) {
    if (chain == nullptr || images == nullptr || taps == nullptr || tap_floats == nullptr || count == 0 || height == 0 ||
        width == 0 || tap_count != fmedge_chain_tap_count(chain) || (chain->floats && !is_aligned(images, 4))) {
        return FMEDGE_CHAIN_BAD_ARGUMENT;
    }
    for (uint32_t tap = 0; tap < tap_count; ++tap) {
        if (taps[tap] == nullptr) continue;
        if (!is_aligned(taps[tap], 4)) return FMEDGE_CHAIN_BAD_ARGUMENT;
        uint32_t shape[3];
        const int status = fmedge_chain_tap_shape(chain, tap, height, width, shape);
        if (status != FMEDGE_CHAIN_OK) return status;
        size_t floats;
        if (!multiplied({count, shape[0], shape[1], shape[2]}, floats)) return FMEDGE_CHAIN_TOO_LARGE;
        if (floats > tap_floats[tap]) return FMEDGE_CHAIN_TOO_SMALL;
    }
    return guarded([&] { return chain->run(images, count, height, width, taps); });
}

void fmedge_chain_close(fmedge_chain *chain) { delete chain; }

}  // extern "C"
