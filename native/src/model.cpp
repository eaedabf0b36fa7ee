#include "model.h"

#include <cstring>

#include "checked.h"

namespace fmedge {

namespace {

constexpr size_t kHeader = 64, kRow = 32;
constexpr uint32_t kMostLayers = 1024, kMostChannels = 65536;
enum : uint32_t { kConvolution = 1, kPooling = 2 };
enum : uint32_t { kRelu = 1, kTap = 2, kTapBeforeRelu = 4 };

template <typename Value>
Value read(const uint8_t *from) {
    Value value;
    std::memcpy(&value, from, sizeof(value));
    return value;
}

// Whether so many floats lie at an offset, behind the table.
bool holds(uint64_t offset, size_t floats, size_t table, size_t size) {
    return offset % 4 == 0 && offset >= table && offset <= size && floats <= (size - size_t(offset)) / 4;
}

}  // namespace

bool read_model(const void *content, size_t size, Model &model) {
    const uint8_t *bytes = static_cast<const uint8_t *>(content);
    if (size < kHeader || std::memcmp(bytes, "FMCHAIN1", 8) != 0) return false;
    const uint32_t count = read<uint32_t>(bytes + 8), channels = read<uint32_t>(bytes + 12);
    const uint32_t type = read<uint32_t>(bytes + 16);
    const uint64_t mean = read<uint64_t>(bytes + 24), used = read<uint64_t>(bytes + 32);
    if (count < 1 || count > kMostLayers || channels < 1 || channels > kMostChannels || type > 1) return false;
    if (used > size) return false;
    for (size_t place = 20; place < 64; ++place) {
        if ((place < 24 || place >= 40) && bytes[place] != 0) return false;
    }
    const size_t table = kHeader + count * kRow, end = size_t(used);
    if (end < table || !holds(mean, channels, table, end)) return false;
    model.content = bytes;
    model.channels = channels;
    model.floats = type == 1;
    model.mean = size_t(mean);
    model.layers.clear();
    model.layers.reserve(count);
    uint32_t in = channels;
    for (uint32_t number = 0; number < count; ++number) {
        const uint8_t *row = bytes + kHeader + number * kRow;
        const uint32_t kind = read<uint32_t>(row), out = read<uint32_t>(row + 4), flags = read<uint32_t>(row + 8);
        const uint64_t kernel = read<uint64_t>(row + 16), bias = read<uint64_t>(row + 24);
        if (out < 1 || out > kMostChannels || read<uint32_t>(row + 12) != 0) return false;
        if (flags > 7 || ((flags & kTapBeforeRelu) && ((flags & kTap) || !(flags & kRelu)))) return false;
        if (kind == kConvolution) {
            size_t floats;
            if (!multiplied({out, in, 9}, floats)) return false;
            if (!holds(kernel, floats, table, end) || !holds(bias, out, table, end)) return false;
        } else if (kind != kPooling || out != in || (flags & kRelu) || kernel != 0 || bias != 0) {
            return false;
        }
        const bool tap = flags & kTap, before = flags & kTapBeforeRelu;
        model.layers.push_back({kind == kPooling, in, out, (flags & kRelu) != 0, tap, before, size_t(kernel), size_t(bias)});
        in = out;
    }
    const Layer &last = model.layers.back();
    return last.tap || last.tap_before_relu;
}

}  // namespace fmedge
