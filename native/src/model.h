// The file of a model: read and checked. The format is told in fmedge_chain.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fmedge {

struct Layer {
    bool pool;
    uint32_t in, out;
    bool relu, tap, tap_before_relu;
    size_t kernel, bias;  // offsets in the file
};

struct Model {
    const uint8_t *content;
    uint32_t channels;
    bool floats;
    size_t mean;  // offset in the file
    std::vector<Layer> layers;

    const float *at(size_t offset) const { return reinterpret_cast<const float *>(content + offset); }
};

// Read a model. Returns whether it is one; throws std::bad_alloc.
bool read_model(const void *content, size_t size, Model &model);

}  // namespace fmedge
