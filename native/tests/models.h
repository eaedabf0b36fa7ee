/* Models made up for tests, and what they compute, in double precision and with plain loops. */
#ifndef MODELS_H
#define MODELS_H

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "fmedge_chain.h"

/* SplitMix64: the same numbers everywhere. */
struct Random {
    uint64_t state;

    uint64_t next() {
        uint64_t z = (state += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    uint32_t below(uint32_t n) { return static_cast<uint32_t>((next() >> 32) * n >> 32); }
    uint32_t between(uint32_t low, uint32_t high) { return low + below(high - low + 1); }
    bool chance(uint32_t of_hundred) { return below(100) < of_hundred; }
    float real() { return static_cast<float>(next() >> 40) / 8388608.0f - 1.0f; }  /* -1 to 1 */
};

struct Layer {
    uint32_t kind, channels, flags;  /* as in the format */
    std::vector<float> kernel, bias;
};

struct Network {
    uint32_t channels = 3, image_type = 0;
    std::vector<float> mean;
    std::vector<Layer> layers;

    void add_convolution(Random &random, uint32_t outputs, uint32_t flags) {
        uint32_t inputs = layers.empty() ? channels : layers.back().channels;
        Layer layer{1, outputs, flags, {}, {}};
        float scale = std::sqrt(6.0f / (9.0f * static_cast<float>(inputs)));
        layer.kernel.resize(static_cast<size_t>(outputs) * inputs * 9);
        for (float &each : layer.kernel) each = random.real() * scale;
        layer.bias.resize(outputs);
        for (float &each : layer.bias) each = random.real() * (layers.empty() ? 20.0f : 0.5f);
        layers.push_back(layer);
    }
    void add_pooling(uint32_t flags) {
        layers.push_back({2, layers.empty() ? channels : layers.back().channels, flags, {}, {}});
    }

    uint32_t pools() const {
        uint32_t found = 0;
        for (const Layer &layer : layers) found += layer.kind == 2;
        return found;
    }

    /* The file. */
    std::vector<unsigned char> bytes() const {
        std::vector<unsigned char> file(64 + 32 * layers.size());
        auto put32 = [&](size_t at, uint32_t value) { std::memcpy(&file[at], &value, 4); };
        auto put64 = [&](size_t at, uint64_t value) { std::memcpy(&file[at], &value, 8); };
        auto append = [&](const std::vector<float> &values) {
            uint64_t offset = file.size();
            file.resize(offset + 4 * values.size());
            if (!values.empty()) std::memcpy(&file[offset], values.data(), 4 * values.size());
            return offset;
        };
        std::memcpy(&file[0], "FMCHAIN1", 8);
        put32(8, static_cast<uint32_t>(layers.size()));
        put32(12, channels);
        put32(16, image_type);
        put64(24, append(mean));
        for (size_t i = 0; i < layers.size(); ++i) {
            size_t at = 64 + 32 * i;
            put32(at, layers[i].kind);
            put32(at + 4, layers[i].channels);
            put32(at + 8, layers[i].flags);
            if (layers[i].kind == 1) {
                put64(at + 16, append(layers[i].kernel));
                put64(at + 24, append(layers[i].bias));
            }
        }
        put64(32, file.size());
        return file;
    }
};

/* A network of up to most_layers layers, of which some are taps; one in five begins with poolings, after which maps are small
   and the library may compute in another way. */
inline Network random_network(Random &random, uint32_t most_layers, uint32_t most_channels) {
    Network network;
    network.channels = random.chance(60) ? 3 : random.between(1, random.chance(50) ? 5 : most_channels);
    network.image_type = random.chance(50);
    for (uint32_t i = 0; i < network.channels; ++i) network.mean.push_back(random.chance(90) ? random.real() * 120 : 0);
    uint32_t count = random.between(1, most_layers), pools = 0;
    if (random.chance(20)) {
        if (random.chance(50)) network.add_convolution(random, random.between(1, 9), random.below(4));
        for (uint32_t wanted = random.between(3, 5); pools < wanted; ++pools) network.add_pooling(random.chance(10) ? 2 : 0);
    }
    for (uint32_t i = 0; i < count; ++i) {
        bool last = i + 1 == count, pool = random.chance(25) && pools < 5;
        if (pool) {
            ++pools;
            network.add_pooling(last || random.chance(40) ? 2 : 0);
        } else {
            uint32_t wide = random.chance(40) ? 4 : random.chance(70) ? 24 : most_channels;
            uint32_t tap = last || random.chance(40), relu = random.chance(70);
            network.add_convolution(random, random.between(1, wide < most_channels ? wide : most_channels),
                                    relu | (tap ? (relu && random.chance(40) ? 4 : 2) : 0));
        }
    }
    return network;
}

inline std::vector<unsigned char> random_images(Random &random, const Network &network, uint32_t count, uint32_t height,
                                                uint32_t width) {
    size_t values = static_cast<size_t>(count) * height * width * network.channels;
    std::vector<unsigned char> images(values * (network.image_type ? 4 : 1));
    for (size_t i = 0; i < values; ++i) {
        uint32_t value = random.below(256);
        if (network.image_type) {
            float real = static_cast<float>(value) + random.real();
            std::memcpy(&images[4 * i], &real, 4);
        } else {
            images[i] = static_cast<unsigned char>(value);
        }
    }
    return images;
}

struct Tensor {
    uint32_t channels, height, width;
    std::vector<double> values;
    double loudness; /* mean square of the values, had no terms of the sums before cancelled, and no ReLU taken any away */
};

inline double mean_square(const std::vector<double> &values) {
    double sum = 0;
    for (double each : values) sum += each * each;
    return sum / static_cast<double>(values.size());
}

/* The taps of one image; empty where it is too small for the pooling. */
inline std::vector<Tensor> reference(const Network &network, const unsigned char *image, uint32_t height, uint32_t width) {
    Tensor now{network.channels, height, width, {}, 0};
    size_t plane = static_cast<size_t>(height) * width;
    now.values.resize(plane * network.channels);
    for (size_t i = 0; i < plane; ++i)
        for (uint32_t c = 0; c < network.channels; ++c) {
            double value = image[i * network.channels + c];
            if (network.image_type) {
                float real;
                std::memcpy(&real, image + 4 * (i * network.channels + c), 4);
                value = real;
            }
            now.values[c * plane + i] = value - network.mean[c];
        }
    now.loudness = mean_square(now.values);
    std::vector<Tensor> taps;
    for (const Layer &layer : network.layers) {
        Tensor then{layer.channels, now.height, now.width, {}, now.loudness};
        if (layer.kind == 2) {
            then.height /= 2, then.width /= 2;
            if (!then.height || !then.width) return {};
            for (uint32_t c = 0; c < layer.channels; ++c)
                for (uint32_t y = 0; y < then.height; ++y)
                    for (uint32_t x = 0; x < then.width; ++x) {
                        const double *from = &now.values[(static_cast<size_t>(c) * now.height + 2 * y) * now.width + 2 * x];
                        then.values.push_back(std::fmax(std::fmax(from[0], from[1]), std::fmax(from[now.width], from[now.width + 1])));
                    }
        } else {
            int rows = static_cast<int>(now.height), columns = static_cast<int>(now.width);
            then.values.resize(static_cast<size_t>(layer.channels) * rows * columns);
            for (uint32_t o = 0; o < layer.channels; ++o) {
                double *to = &then.values[static_cast<size_t>(o) * rows * columns];
                for (int i = 0; i < rows * columns; ++i) to[i] = layer.bias[o];
                for (uint32_t c = 0; c < now.channels; ++c)
                    for (int ky = 0; ky < 3; ++ky)
                        for (int kx = 0; kx < 3; ++kx) {
                            double weight = layer.kernel[(static_cast<size_t>(o) * now.channels + c) * 9 + ky * 3 + kx];
                            int low = kx == 0, high = columns - (kx == 2);
                            for (int y = ky == 0; y < rows - (ky == 2); ++y) {
                                const double *from =
                                    &now.values[(static_cast<size_t>(c) * rows + y + ky - 1) * columns] + (kx - 1);
                                for (int x = low; x < high; ++x) to[y * columns + x] += weight * from[x];
                            }
                        }
            }
        }
        if (layer.kind == 1) {
            double gain = 0;
            for (float each : layer.kernel) gain += static_cast<double>(each) * each;
            then.loudness = std::fmax(mean_square(then.values), now.loudness * gain / layer.channels);
        }
        if (layer.flags & 4) taps.push_back(then);
        if (layer.flags & 1)
            for (double &each : then.values) each = each > 0 ? each : 0;
        if (layer.flags & 2) taps.push_back(then);
        now = then;
    }
    return taps;
}

#endif
