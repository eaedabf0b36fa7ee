// Weights as the kernels want them, in one block of memory that can be kept and mapped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels.h"
#include "model.h"
#include "pool.h"

namespace fmedge {

struct PackedLayer {
    const Winograd *method;  // null: computed directly, or pooling
    bool direct;
    size_t weights, bias;    // offsets; 0 for pooling
};

// Where everything lies in a block of packed weights.
struct Packing {
    size_t mean, bytes;
    std::vector<PackedLayer> layers;
};

// Returns whether the sizes fit the address space; throws std::bad_alloc.
bool plan_packing(const Model &model, const Kernels &kernels, Packing &packing);

// Write packed weights, of packing.bytes.
void pack(const Model &model, const Kernels &kernels, const Packing &packing, Pool &pool, uint8_t *packed);

// Whether packed weights are whole, and those of this model and these kernels.
bool is_packed(const Model &model, const Kernels &kernels, const Packing &packing, Pool &pool, const uint8_t *packed);

}  // namespace fmedge
