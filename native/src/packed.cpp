#include "packed.h"

#include <cstring>

#include "checked.h"

namespace fmedge {

namespace {

constexpr uint32_t kVersion = 1;  // to be raised with every change of the layouts, of the points or of the methods

// After so many poolings maps are small: 14 x 14 of an image of 224 x 224. There weights, which come from memory, cost
// as much as arithmetic; F(2x2, 3x3) has less than half of them, and loses no part of a tile at the border.
constexpr uint32_t kSmallMaps = 4;

struct Header {
    char magic[8];  // "FMPACKED"
    uint32_t version, kernels;
    uint64_t bytes;
    uint64_t model;    // digest of the model's table, weights and mean
    uint64_t content;  // digest of what follows the header
    uint8_t rest[24];
};
static_assert(sizeof(Header) == kLine, "what follows the header starts on a cache line");

constexpr uint64_t kPrime = 0x9E3779B97F4A7C15;  // 2^64 divided by the golden ratio, odd

uint64_t mixed(uint64_t digest, uint64_t value) {
    digest = (digest ^ value) * kPrime;
    return digest ^ (digest >> 29);
}

// A digest against damage and mistaken files, not against forgers. Eight sums, since each step waits for the one before.
uint64_t digest_of(const uint8_t *bytes, size_t size) {
    constexpr size_t kSums = 8;
    uint64_t sums[kSums] = {1, 2, 3, 4, 5, 6, 7, 8};
    size_t place = 0;
    for (; place + kSums * 8 <= size; place += kSums * 8) {
        for (size_t sum = 0; sum < kSums; ++sum) {
            uint64_t value;
            std::memcpy(&value, bytes + place + sum * 8, 8);
            sums[sum] = mixed(sums[sum], value);
        }
    }
    uint64_t digest = size;
    for (; place < size; ++place) digest = mixed(digest, bytes[place]);
    for (const uint64_t sum : sums) digest = mixed(digest, sum);
    return digest;
}

// The digest of many pieces, computed by all threads. The pieces have a fixed size, so the digest does not depend on threads.
uint64_t digest_of(Pool &pool, const uint8_t *bytes, size_t size, std::vector<uint64_t> &digests) {
    constexpr size_t kPiece = size_t(1) << 20;
    digests.assign((size + kPiece - 1) / kPiece, 0);
    pool.each(uint32_t(digests.size()), [&](uint32_t piece, uint32_t) {
        const size_t start = piece * kPiece;
        digests[piece] = digest_of(bytes + start, size - start < kPiece ? size - start : kPiece);
    });
    uint64_t digest = size;
    for (const uint64_t one : digests) digest = mixed(digest, one);
    return digest;
}

uint64_t digest_of(const Model &model, Pool &pool) {
    std::vector<uint64_t> digests;
    const auto floats = [&](size_t offset, size_t count) { return digest_of(pool, model.content + offset, count * 4, digests); };
    uint64_t digest = mixed(model.channels, model.floats);
    digest = mixed(digest, floats(model.mean, model.channels));
    for (const Layer &layer : model.layers) {
        const uint64_t flags = layer.pool + 2 * layer.relu + 4 * layer.tap + 8 * layer.tap_before_relu;
        digest = mixed(mixed(digest, layer.out), flags);
        if (layer.pool) continue;
        digest = mixed(digest, floats(layer.kernel, size_t(layer.out) * layer.in * kTaps));
        digest = mixed(digest, floats(layer.bias, layer.out));
    }
    return digest;
}

bool added(size_t &total, size_t bytes) {
    size_t rounded;
    return !__builtin_add_overflow(bytes, kLine - 1, &rounded) &&
           !__builtin_add_overflow(total, rounded / kLine * kLine, &total);
}

Header header_of(const Kernels &kernels, const Packing &packing) {
    Header header = {};
    std::memcpy(header.magic, "FMPACKED", 8);
    header.version = kVersion;
    header.kernels = kernels.number;
    header.bytes = packing.bytes;
    return header;
}

}  // namespace

bool plan_packing(const Model &model, const Kernels &kernels, Packing &packing) {
    size_t total = packing.mean = sizeof(Header);
    if (!added(total, size_t(model.channels) * 4)) return false;
    packing.layers.clear();
    packing.layers.reserve(model.layers.size());
    uint32_t pools = 0;
    for (const Layer &layer : model.layers) {
        PackedLayer packed = {};
        pools += layer.pool;
        if (!layer.pool) {
            packed.direct = packing.layers.empty() && layer.in <= kDirect;
            if (!packed.direct) packed.method = &kernels.methods[pools >= kSmallMaps];
            const size_t padded = (size_t(layer.out) + kernels.width - 1) / kernels.width * kernels.width;
            size_t bytes;
            if (!multiplied({padded, layer.in, packed.direct ? kTaps : packed.method->points, 4}, bytes)) return false;
            packed.weights = total;
            if (!added(total, bytes)) return false;
            packed.bias = total;
            if (!added(total, padded * 4)) return false;
        }
        packing.layers.push_back(packed);
    }
    packing.bytes = total;
    return true;
}

void pack(const Model &model, const Kernels &kernels, const Packing &packing, Pool &pool, uint8_t *packed) {
    std::memset(packed + packing.mean, 0, (size_t(model.channels) * 4 + kLine - 1) / kLine * kLine);
    std::memcpy(packed + packing.mean, model.content + model.mean, size_t(model.channels) * 4);
    for (size_t number = 0; number < model.layers.size(); ++number) {
        const Layer &layer = model.layers[number];
        const PackedLayer &place = packing.layers[number];
        if (layer.pool) continue;
        float *weights = reinterpret_cast<float *>(packed + place.weights);
        const uint32_t blocks = (layer.out + kernels.width - 1) / kernels.width;
        const size_t bias_bytes = (size_t(blocks) * kernels.width * 4 + kLine - 1) / kLine * kLine;
        if (place.direct) {
            const size_t bytes = place.bias - place.weights;
            std::memset(weights, 0, bytes);
            kernels.pack_direct(model.at(layer.kernel), layer.in, layer.out, weights);
        } else {
            const size_t used = size_t(blocks) * kernels.width * layer.in * place.method->points * 4;
            std::memset(packed + place.weights + used, 0, place.bias - place.weights - used);
            pool.each(blocks, [&](uint32_t block, uint32_t) {
                place.method->pack(model.at(layer.kernel), layer.in, layer.out, block, block + 1, weights);
            });
        }
        std::memset(packed + place.bias, 0, bias_bytes);
        std::memcpy(packed + place.bias, model.content + layer.bias, size_t(layer.out) * 4);
    }
    Header header = header_of(kernels, packing);
    std::vector<uint64_t> digests;
    header.model = digest_of(model, pool);
    header.content = digest_of(pool, packed + sizeof(Header), packing.bytes - sizeof(Header), digests);
    std::memcpy(packed, &header, sizeof(Header));
}

bool is_packed(const Model &model, const Kernels &kernels, const Packing &packing, Pool &pool, const uint8_t *packed) {
    Header wanted = header_of(kernels, packing);
    Header header;
    std::memcpy(&header, packed, sizeof(Header));
    wanted.content = header.content;
    wanted.model = digest_of(model, pool);
    if (std::memcmp(&header, &wanted, sizeof(Header)) != 0) return false;
    std::vector<uint64_t> digests;
    return header.content == digest_of(pool, packed + sizeof(Header), packing.bytes - sizeof(Header), digests);
}

}  // namespace fmedge
