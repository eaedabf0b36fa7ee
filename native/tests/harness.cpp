/*
 * What the library promises, tried on made-up networks:
 *
 *     harness MODE [--count N] [--seed S] [--kernels NAME]
 *
 * reference  taps against plain loops in double precision
 * identical  the same bits for every number of threads, one by one or together, packed before or while opening
 * guards     every buffer beside pages that nobody may touch
 * fuzz       random networks and sizes, damaged models and packed weights: statuses, and nothing else
 * slope      COUNT runs: does memory grow?
 * contract   arguments out of their range
 * refusals   every field of a model out of its range, every byte of packed weights damaged; NaN is not lost
 * quick      a little of each
 */
#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <csignal>
#include <memory>
#include <string>

#include "guarded.h"
#include "models.h"

namespace {

const double FLOOR_DB = 100;    /* of all values together */
const double EACH_DB = 100;     /* of a single tap, against its loudness */
const size_t ENOUGH = 64;       /* values that a tap has to have for its own figure to mean something */

char now_doing[256] = "starting";

[[noreturn]] void fail(const std::string &what) {
    std::printf("FAILED: %s (%s)\n", what.c_str(), now_doing);
    std::fflush(stdout);
    std::_Exit(1);
}

void require(bool holds, const char *what) {
    if (!holds) fail(what);
}

void fell(int signal) {
    const char *text = signal == SIGSEGV ? "FAILED: SIGSEGV: " : signal == SIGILL ? "FAILED: SIGILL: " : "FAILED: signal: ";
    if (write(1, text, std::strlen(text)) < 0 || write(1, now_doing, std::strlen(now_doing)) < 0 || write(1, "\n", 1) < 0) _exit(3);
    _exit(3);
}

std::vector<uint32_t> kernel_sets(const std::string &wanted) {
    std::vector<uint32_t> found;
    for (uint32_t kernels = FMEDGE_CHAIN_PLAIN; kernels <= FMEDGE_CHAIN_NEON; ++kernels)
        if (fmedge_chain_can_run(kernels) && (wanted.empty() || wanted == fmedge_chain_kernels_name(kernels)))
            found.push_back(kernels);
    require(!found.empty(), "there are no such kernels here");
    return found;
}

struct Options {
    std::string mode, kernels;
    uint64_t count = 0, seed = 1;
};

struct Close {
    void operator()(fmedge_chain *chain) const { fmedge_chain_close(chain); }
};
using Chain = std::unique_ptr<fmedge_chain, Close>;

fmedge_chain_options options_for(uint32_t kernels, uint32_t threads) {
    fmedge_chain_options options;
    std::memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.kernels = kernels;
    options.threads = threads;
    return options;
}

Chain open_chain(const std::vector<unsigned char> &model, const fmedge_chain_options &options) {
    fmedge_chain *chain = nullptr;
    int status = fmedge_chain_open(model.data(), model.size(), &options, &chain);
    if (status != FMEDGE_CHAIN_OK) fail(std::string("open: ") + fmedge_chain_status_text(status));
    return Chain(chain);
}

/* The sizes of all taps, in float32, of count images; empty where they are too small. */
std::vector<size_t> tap_sizes(fmedge_chain *chain, uint32_t count, uint32_t height, uint32_t width) {
    std::vector<size_t> sizes;
    for (uint32_t tap = 0; tap < fmedge_chain_tap_count(chain); ++tap) {
        uint32_t shape[3];
        int status = fmedge_chain_tap_shape(chain, tap, height, width, shape);
        if (status == FMEDGE_CHAIN_TOO_SMALL) return {};
        require(status == FMEDGE_CHAIN_OK, "the shape of a tap");
        sizes.push_back(static_cast<size_t>(count) * shape[0] * shape[1] * shape[2]);
    }
    return sizes;
}

using Taps = std::vector<std::vector<float>>;

/* A run into buffers full of NaN. */
Taps run(fmedge_chain *chain, const std::vector<unsigned char> &images, uint32_t count, uint32_t height, uint32_t width) {
    std::vector<size_t> sizes = tap_sizes(chain, count, height, width);
    Taps taps;
    std::vector<float *> pointers;
    for (size_t size : sizes) taps.emplace_back(size, std::nanf(""));
    for (auto &tap : taps) pointers.push_back(tap.data());
    int status = fmedge_chain_run(chain, images.data(), count, height, width, pointers.data(), sizes.data(),
                                  static_cast<uint32_t>(sizes.size()));
    if (status != FMEDGE_CHAIN_OK) fail(std::string("run: ") + fmedge_chain_status_text(status));
    return taps;
}

/* Noise and signal of many taps together; each counts as much as it has values. */
struct Agreement {
    double noise = 0, signal = 0, worst = 1e9;

    void add(const float *found, const Tensor &expected) {
        double noise_here = 0;
        for (size_t i = 0; i < expected.values.size(); ++i) {
            double difference = found[i] - expected.values[i];
            noise_here += difference * difference;
        }
        if (!std::isfinite(noise_here)) fail("a value that is no number");
        double values = static_cast<double>(expected.values.size()), power = mean_square(expected.values);
        double db = 10 * std::log10(expected.loudness * values / (noise_here + 1e-30));
        if (db < EACH_DB) fail("a tap is " + std::to_string(db) + " dB from the reference");
        worst = std::min(worst, db);
        if (expected.values.size() >= ENOUGH && power > 1e-2 * expected.loudness) noise += noise_here / power, signal += values;
    }
    double db() const { return noise > 0 ? 10 * std::log10(signal / noise) : 300; }
};

void compare(Agreement &agreement, const Network &network, const std::vector<unsigned char> &images, uint32_t count,
             uint32_t height, uint32_t width, const Taps &taps) {
    size_t image_bytes = images.size() / count;
    for (uint32_t n = 0; n < count; ++n) {
        std::vector<Tensor> expected = reference(network, images.data() + n * image_bytes, height, width);
        require(expected.size() == taps.size(), "the number of taps");
        for (size_t t = 0; t < taps.size(); ++t) {
            size_t size = expected[t].values.size();
            require(taps[t].size() == size * count, "the size of a tap");
            agreement.add(taps[t].data() + n * size, expected[t]);
        }
    }
}

void small_sizes(Random &random, const Network &network, uint32_t most, uint32_t &height, uint32_t &width) {
    if (network.pools() > 2 && random.chance(90)) {  /* something has to be left of it */
        uint32_t least = 1u << network.pools();
        height = random.between(least, least * 6), width = random.between(least, least * 6);
        return;
    }
    height = random.between(1, random.chance(30) ? 8 : most);
    width = random.between(1, random.chance(30) ? 8 : most);
}

void test_reference(const Options &given) {
    for (uint32_t kernels : kernel_sets(given.kernels)) {
        Random random{given.seed};
        Agreement agreement;
        for (uint64_t i = 0; i < given.count; ++i) {
            uint32_t height, width, count = random.between(1, 3);
            Network network = random_network(random, 6, random.chance(10) ? 200 : 48);
            small_sizes(random, network, 40, height, width);
            std::snprintf(now_doing, sizeof now_doing, "reference, %s, network %" PRIu64 ", %u x %u", fmedge_chain_kernels_name(kernels), i,
                          height, width);
            Chain chain = open_chain(network.bytes(), options_for(kernels, random.between(1, 4)));
            require(fmedge_chain_kernels_of(chain.get()) == kernels, "other kernels");
            std::vector<unsigned char> images = random_images(random, network, count, height, width);
            if (tap_sizes(chain.get(), count, height, width).empty()) continue;
            compare(agreement, network, images, count, height, width, run(chain.get(), images, count, height, width));
        }
        std::printf("reference, %s: %.1f dB, the worst tap %.1f dB\n", fmedge_chain_kernels_name(kernels), agreement.db(), agreement.worst);
        require(agreement.db() >= FLOOR_DB, "too far from the reference");
    }
}

void require_same(const Taps &first, const Taps &second, const char *what) {
    require(first.size() == second.size(), what);
    for (size_t t = 0; t < first.size(); ++t)
        require(first[t].size() == second[t].size() &&
                    (first[t].empty() || !std::memcmp(first[t].data(), second[t].data(), 4 * first[t].size())),
                what);
}

void test_identical(const Options &given) {
    for (uint32_t kernels : kernel_sets(given.kernels)) {
        Random random{given.seed};
        for (uint64_t i = 0; i < given.count; ++i) {
            uint32_t height, width, count = random.between(1, 4);
            Network network = random_network(random, 5, 72);
            small_sizes(random, network, 70, height, width);
            std::snprintf(now_doing, sizeof now_doing, "identical, %s, network %" PRIu64 ", %u of %u x %u", fmedge_chain_kernels_name(kernels), i,
                          count, height, width);
            std::vector<unsigned char> model = network.bytes(), images = random_images(random, network, count, height, width);
            Chain alone = open_chain(model, options_for(kernels, 1));
            if (tap_sizes(alone.get(), 1, height, width).empty()) continue;
            Taps expected = run(alone.get(), images, count, height, width);
            for (uint32_t threads : {2u, 3u, 5u}) {
                Chain chain = open_chain(model, options_for(kernels, threads));
                require_same(expected, run(chain.get(), images, count, height, width), "other bits with more threads");
                require_same(expected, run(chain.get(), images, count, height, width), "other bits the second time");
            }
            size_t image_bytes = images.size() / count;
            for (uint32_t n = 0; n < count; ++n) {
                std::vector<unsigned char> one(images.begin() + n * image_bytes, images.begin() + (n + 1) * image_bytes);
                Taps single = run(alone.get(), one, 1, height, width);
                for (size_t t = 0; t < single.size(); ++t)
                    require(!std::memcmp(single[t].data(), &expected[t][n * single[t].size()], 4 * single[t].size()),
                            "other bits one by one");
            }
            size_t size = 0;
            require(fmedge_chain_packed_bytes(model.data(), model.size(), kernels, &size) == FMEDGE_CHAIN_OK, "packed bytes");
            Guarded packed(size, 64, true), again(size, 64, true);
            require(fmedge_chain_pack(model.data(), model.size(), kernels, 1, packed.data(), size) == FMEDGE_CHAIN_OK, "pack");
            require(fmedge_chain_pack(model.data(), model.size(), kernels, 3, again.data(), size) == FMEDGE_CHAIN_OK, "pack by threads");
            require(!std::memcmp(packed.data(), again.data(), size), "packed differently by more threads");
            packed.read_only();
            fmedge_chain_options options = options_for(kernels, 2);
            options.packed = packed.data(), options.packed_bytes = size;
            Chain chain = open_chain(model, options);
            require_same(expected, run(chain.get(), images, count, height, width), "other bits with packed weights");
        }
        std::printf("identical, %s: %" PRIu64 " networks\n", fmedge_chain_kernels_name(kernels), given.count);
    }
}

/* Every buffer of a run ends, or begins, beside a page that nobody may touch; a chain sees several sizes. */
void test_guards(const Options &given) {
    for (uint32_t kernels : kernel_sets(given.kernels)) {
        Random random{given.seed};
        Agreement agreement;
        for (uint64_t i = 0; i < given.count; ++i) {
            bool at_end = i % 2 == 0;
            Network network = random_network(random, 5, 40);
            std::vector<unsigned char> file = network.bytes();
            Guarded model(file.size(), 4, at_end);
            std::memcpy(model.data(), file.data(), file.size());
            model.read_only();
            std::snprintf(now_doing, sizeof now_doing, "guards, %s, network %" PRIu64 ", packing", fmedge_chain_kernels_name(kernels), i);
            size_t size = 0;
            require(fmedge_chain_packed_bytes(model.data(), file.size(), kernels, &size) == FMEDGE_CHAIN_OK, "packed bytes");
            Guarded packed(size, 64, at_end);
            require(fmedge_chain_pack(model.data(), file.size(), kernels, 1, packed.data(), size) == FMEDGE_CHAIN_OK, "pack");
            packed.read_only();
            fmedge_chain_options options = options_for(kernels, random.between(1, 3));
            uint32_t cpus[1] = {0};
            if (random.chance(20)) options.cpus = cpus, options.cpu_count = 1;
            options.packed = packed.data(), options.packed_bytes = size;
            fmedge_chain *opened = nullptr;
            require(fmedge_chain_open(model.data(), file.size(), &options, &opened) == FMEDGE_CHAIN_OK, "open");
            Chain chain(opened);
            for (int repeat = 0; repeat < 3; ++repeat) {
                uint32_t height, width, count = random.between(1, 2);
                small_sizes(random, network, 48, height, width);
                std::snprintf(now_doing, sizeof now_doing, "guards, %s, network %" PRIu64 ", %u of %u x %u, at the %s",
                              fmedge_chain_kernels_name(kernels), i, count, height, width, at_end ? "end" : "beginning");
                std::vector<unsigned char> values = random_images(random, network, count, height, width);
                Guarded images(values.size(), network.image_type ? 4 : 1, at_end);
                std::memcpy(images.data(), values.data(), values.size());
                images.read_only();
                std::vector<size_t> sizes = tap_sizes(opened, count, height, width);
                if (sizes.empty()) continue;
                std::vector<std::unique_ptr<Guarded>> buffers;
                std::vector<float *> taps;
                for (size_t each : sizes) {
                    buffers.push_back(std::make_unique<Guarded>(4 * each, 4, at_end));
                    taps.push_back(random.chance(15) ? nullptr : buffers.back()->floats());
                }
                require(fmedge_chain_run(opened, images.data(), count, height, width, taps.data(), sizes.data(),
                                         static_cast<uint32_t>(taps.size())) == FMEDGE_CHAIN_OK, "run");
                size_t image_bytes = values.size() / count;
                for (uint32_t n = 0; n < count; ++n) {
                    std::vector<Tensor> expected = reference(network, values.data() + n * image_bytes, height, width);
                    for (size_t t = 0; t < taps.size(); ++t)
                        if (taps[t]) agreement.add(taps[t] + n * expected[t].values.size(), expected[t]);
                }
            }
        }
        std::printf("guards, %s: %" PRIu64 " networks, %.1f dB\n", fmedge_chain_kernels_name(kernels), given.count, agreement.db());
    }
}

const uint64_t ODD[] = {0, 1, 2, 3, 4, 7, 64, 0xffff, 0x10000, 0x10001, 0x7fffffff, 0x80000000u, 0xfffffffcu, 0xffffffffu, 0x100000000u,
                        0x7ffffffffffffffcu, 0xfffffffffffffffcu, 0xffffffffffffffffu};

/* Exchange bytes, bits or whole numbers, at the head of the file most of the time, or its length. */
void damage(Random &random, std::vector<unsigned char> &file, size_t head) {
    for (uint32_t times = random.between(1, 3); times-- && !file.empty();) {
        size_t reach = random.chance(80) ? std::min(head, file.size()) : file.size();
        size_t at = random.below(static_cast<uint32_t>(reach));
        uint64_t odd = ODD[random.below(sizeof ODD / sizeof *ODD)];
        switch (random.below(6)) {
        case 0: file[at] = static_cast<unsigned char>(random.below(256)); break;
        case 1: file[at] ^= static_cast<unsigned char>(1u << random.below(8)); break;
        case 2: at &= ~size_t{3}; if (at + 4 <= file.size()) std::memcpy(&file[at], &odd, 4); break;
        case 3: at &= ~size_t{7}; if (at + 8 <= file.size()) std::memcpy(&file[at], &odd, 8); break;
        case 4: file.resize(random.chance(50) ? random.below(static_cast<uint32_t>(file.size()) + 1) : file.size() - random.below(9) % (file.size() + 1)); break;
        default: {
            uint64_t near;
            at &= ~size_t{7};
            if (at + 8 > file.size()) break;
            std::memcpy(&near, &file[at], 8);
            near += random.below(17) - 8;
            std::memcpy(&file[at], &near, 8);
        }
        }
    }
}

void require_status(int status, const char *of) {
    if (status < FMEDGE_CHAIN_OK || status > FMEDGE_CHAIN_TOO_SMALL) fail(std::string(of) + ": no status of ours");
    require(fmedge_chain_status_text(status) && *fmedge_chain_status_text(status), "a status without words");
}

void test_fuzz(const Options &given) {
    std::vector<uint32_t> sets = kernel_sets(given.kernels);
    Random random{given.seed};
    Agreement agreement;
    uint64_t statuses[9] = {0}, runs = 0, compared = 0;
    for (uint64_t i = 0; i < given.count; ++i) {
        std::snprintf(now_doing, sizeof now_doing, "fuzz, case %" PRIu64 " of seed %" PRIu64, i, given.seed);
        Network network = random_network(random, 5, random.chance(5) ? 130 : 20);
        std::vector<unsigned char> file = network.bytes();
        bool damaged = random.chance(60);
        if (damaged) damage(random, file, 64 + 32 * network.layers.size());
        Guarded model(file.size(), 4, true);
        if (!file.empty()) std::memcpy(model.data(), file.data(), file.size());
        model.read_only();
        /* At the end of the pages only whole numbers end at the border; the reader has to refuse others, or to read bytewise. */
        size_t model_bytes = file.size();

        uint32_t kernels = random.chance(5) ? random.below(8) : sets[random.below(static_cast<uint32_t>(sets.size()))];
        fmedge_chain_options options = options_for(kernels, random.between(0, 3));
        uint32_t cpus[3] = {0, random.below(2), random.chance(10) ? 0xffffffffu : 0};
        if (random.chance(20)) options.cpus = cpus, options.cpu_count = random.below(4);
        if (random.chance(10)) options.spin_us = random.below(200);
        if (random.chance(2)) options.struct_size = random.below(100);
        if (random.chance(2)) options.threads = random.chance(50) ? 65 : 0xffffffffu;
        if (random.chance(1)) options.reserved = 1;

        size_t size = 0;
        std::unique_ptr<Guarded> packed;
        if (random.chance(60)) {
            int status = fmedge_chain_packed_bytes(model.data(), model_bytes, kernels, &size);
            require_status(status, "packed bytes");
            if (status == FMEDGE_CHAIN_OK && size < 64u << 20) {
                packed = std::make_unique<Guarded>(size, 64, true);
                std::memset(packed->data(), 0xff, size);
                status = fmedge_chain_pack(model.data(), model_bytes, kernels, random.between(0, 2), packed->data(), size);
                require_status(status, "pack");
                bool spoilt = random.chance(30);
                if (spoilt) {
                    std::vector<unsigned char> other(packed->data(), packed->data() + size);
                    damage(random, other, 256);
                    packed = std::make_unique<Guarded>(other.size(), 64, true);
                    if (!other.empty()) std::memcpy(packed->data(), other.data(), other.size());
                    size = other.size(), damaged = true;
                }
                packed->read_only();
                if (status == FMEDGE_CHAIN_OK) options.packed = packed->data(), options.packed_bytes = size;
            }
        }
        fmedge_chain *opened = nullptr;
        int status = fmedge_chain_open(model.data(), model_bytes, random.chance(2) ? nullptr : &options, &opened);
        require_status(status, "open");
        ++statuses[status];
        require((status == FMEDGE_CHAIN_OK) == (opened != nullptr), "a chain without success, or success without a chain");
        if (!opened) continue;
        Chain chain(opened);
        for (int repeat = 0; repeat < 2; ++repeat) {
            uint32_t height, width, count = random.between(1, 2);
            small_sizes(random, network, 20, height, width);
            for (uint32_t tap = 0; tap < fmedge_chain_tap_count(opened) + 1; ++tap) {
                uint32_t shape[3];
                require_status(fmedge_chain_tap_shape(opened, tap, static_cast<uint32_t>(ODD[random.below(14)]),
                                                      static_cast<uint32_t>(ODD[random.below(14)]), shape), "tap shape");
            }
            size_t bytes = 0;
            require_status(fmedge_chain_run_bytes(opened, static_cast<uint32_t>(ODD[random.below(14)]), static_cast<uint32_t>(ODD[random.below(14)]),
                                                  static_cast<uint32_t>(ODD[random.below(14)]), &bytes), "run bytes");
            if (fmedge_chain_run_bytes(opened, count, height, width, &bytes) == FMEDGE_CHAIN_OK && bytes > 256u << 20) continue;
            std::vector<size_t> sizes = tap_sizes(opened, count, height, width);
            /* The file says how many channels an image has, damaged or not. */
            uint32_t channels, type;
            std::memcpy(&channels, file.data() + 12, 4);
            std::memcpy(&type, file.data() + 16, 4);
            if (sizes.empty() || static_cast<uint64_t>(channels) * height * width > 1u << 22) continue;
            Network claims;
            claims.channels = channels, claims.image_type = type;
            std::vector<unsigned char> values = random_images(random, claims, count, height, width);
            Guarded images(values.size(), type ? 4 : 1, random.chance(50));
            std::memcpy(images.data(), values.data(), values.size());
            std::vector<std::unique_ptr<Guarded>> buffers;
            std::vector<float *> taps;
            for (size_t &each : sizes) {
                if (random.chance(2) && each) --each;
                buffers.push_back(std::make_unique<Guarded>(4 * each, 4, true));
                taps.push_back(buffers.back()->floats());
            }
            uint32_t given_taps = static_cast<uint32_t>(taps.size()) - random.chance(2);
            status = fmedge_chain_run(opened, images.data(), count, height, width, taps.data(), sizes.data(), given_taps);
            require_status(status, "run");
            ++runs;
            if (damaged || status != FMEDGE_CHAIN_OK || i % 8) continue;
            ++compared;
            size_t image_bytes = values.size() / count;
            for (uint32_t n = 0; n < count; ++n) {
                std::vector<Tensor> expected = reference(network, values.data() + n * image_bytes, height, width);
                require(expected.size() == taps.size(), "the number of taps");
                for (size_t t = 0; t < taps.size(); ++t)
                    agreement.add(taps[t] + n * expected[t].values.size(), expected[t]);
            }
        }
    }
    std::printf("fuzz: %" PRIu64 " cases, %" PRIu64 " opened, %" PRIu64 " runs, %" PRIu64 " compared at %.1f dB; statuses of opening:", given.count,
                statuses[0], runs, compared, agreement.db());
    for (uint64_t each : statuses) std::printf(" %" PRIu64, each);
    std::printf("\n");
    require(compared == 0 || agreement.db() >= FLOOR_DB, "too far from the reference");
}

size_t resident_bytes() {
    FILE *file = std::fopen("/proc/self/statm", "r");
    unsigned long pages = 0, resident = 0;
    if (!file || std::fscanf(file, "%lu %lu", &pages, &resident) != 2) fail("/proc/self/statm");
    std::fclose(file);
    return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

void test_slope(const Options &given) {
    Random random{given.seed};
    Network network;
    network.mean = {103.939f, 116.779f, 123.68f};
    network.add_convolution(random, 8, 1);
    network.add_pooling(2);
    network.add_convolution(random, 8, 3);
    std::vector<unsigned char> model = network.bytes(), images = random_images(random, network, 1, 64, 64);
    Chain chain = open_chain(model, options_for(FMEDGE_CHAIN_BEST, 2));
    std::vector<size_t> sizes = tap_sizes(chain.get(), 1, 64, 64);
    std::vector<std::vector<float>> buffers;
    std::vector<float *> taps;
    for (size_t each : sizes) buffers.emplace_back(each);
    for (auto &each : buffers) taps.push_back(each.data());
    size_t start = 0, warm = given.count / 10;
    for (uint64_t i = 0; i < given.count; ++i) {
        if (i == warm) start = resident_bytes();
        std::snprintf(now_doing, sizeof now_doing, "slope, run %" PRIu64, i);
        uint32_t side = i % 3 ? 64 : 63;  /* another size now and then */
        require(fmedge_chain_run(chain.get(), images.data(), 1, side, 64, taps.data(), sizes.data(), 2) == FMEDGE_CHAIN_OK, "run");
        if (i % 1000 == 0) chain = open_chain(model, options_for(FMEDGE_CHAIN_BEST, 2));
    }
    double slope = (static_cast<double>(resident_bytes()) - static_cast<double>(start)) / static_cast<double>(given.count - warm);
    std::printf("slope: %.2f bytes a run over %" PRIu64 " runs\n", slope, given.count);
    require(slope < 1024, "memory grows");
}

void test_contract(const Options &given) {
    std::snprintf(now_doing, sizeof now_doing, "contract");
    Random random{given.seed};
    Network network;
    network.mean = {1, 2, 3};
    network.add_convolution(random, 4, 3);
    std::vector<unsigned char> model = network.bytes();
    fmedge_chain *chain = nullptr;
    size_t bytes = 0;
    require(fmedge_chain_abi() == FMEDGE_CHAIN_ABI, "the ABI");
    require(fmedge_chain_can_run(FMEDGE_CHAIN_PLAIN) == 1, "plain kernels run everywhere");
    require(fmedge_chain_can_run(fmedge_chain_best()) == 1, "the best kernels run");
    require(fmedge_chain_can_run(77) == 0 && fmedge_chain_kernels_name(77) == nullptr, "kernels that there are not");
    require(fmedge_chain_status_text(-1) && fmedge_chain_status_text(99), "words for what is no status");
    require(fmedge_chain_open(nullptr, 0, nullptr, &chain) != FMEDGE_CHAIN_OK && !chain, "no model");
    require(fmedge_chain_open(model.data(), model.size(), nullptr, nullptr) == FMEDGE_CHAIN_BAD_ARGUMENT, "nowhere to put it");
    require(fmedge_chain_packed_bytes(model.data(), model.size(), 0, nullptr) == FMEDGE_CHAIN_BAD_ARGUMENT, "nowhere to put it");
    require(fmedge_chain_packed_bytes(model.data(), model.size(), 77, &bytes) != FMEDGE_CHAIN_OK, "kernels that there are not");
    require(fmedge_chain_tap_count(nullptr) == 0, "the taps of nothing");
    fmedge_chain_close(nullptr);
    for (uint32_t kernels = 0; kernels < 8; ++kernels) {
        fmedge_chain_options options = options_for(kernels, 1);
        int status = fmedge_chain_open(model.data(), model.size(), &options, &chain);
        bool can = kernels == 0 || fmedge_chain_can_run(kernels);
        require(can ? status == FMEDGE_CHAIN_OK : status == FMEDGE_CHAIN_NO_KERNELS || status == FMEDGE_CHAIN_BAD_ARGUMENT, "kernels");
        if (can) fmedge_chain_close(chain);
    }
    Chain opened = open_chain(model, options_for(FMEDGE_CHAIN_BEST, 1));
    uint32_t shape[3];
    require(fmedge_chain_tap_count(opened.get()) == 1, "taps");
    require(fmedge_chain_tap_shape(opened.get(), 0, 5, 7, shape) == FMEDGE_CHAIN_OK && shape[0] == 4 && shape[1] == 5 && shape[2] == 7, "shape");
    require(fmedge_chain_tap_shape(opened.get(), 1, 5, 7, shape) == FMEDGE_CHAIN_BAD_ARGUMENT, "a tap that there is not");
    unsigned char image[3 * 5 * 7] = {0};
    float out[4 * 5 * 7];
    float *taps[1] = {out}, *none[1] = {nullptr};
    size_t right[1] = {4 * 5 * 7}, small[1] = {4 * 5 * 7 - 1};
    auto attempt = [&](const void *images, uint32_t count, uint32_t height, uint32_t width, float **buffers, size_t *sizes, uint32_t given_taps) {
        return fmedge_chain_run(opened.get(), images, count, height, width, buffers, sizes, given_taps);
    };
    require(attempt(image, 1, 5, 7, taps, right, 1) == FMEDGE_CHAIN_OK, "run");
    require(attempt(image, 1, 5, 7, none, right, 1) == FMEDGE_CHAIN_OK, "no tap wanted");
    require(attempt(image, 1, 5, 7, taps, small, 1) == FMEDGE_CHAIN_TOO_SMALL, "a small buffer");
    require(attempt(image, 1, 5, 7, taps, right, 0) == FMEDGE_CHAIN_BAD_ARGUMENT, "too few taps");
    require(attempt(image, 1, 5, 7, taps, right, 2) == FMEDGE_CHAIN_BAD_ARGUMENT, "too many taps");
    require(attempt(nullptr, 1, 5, 7, taps, right, 1) == FMEDGE_CHAIN_BAD_ARGUMENT, "no images");
    require(attempt(image, 1, 0, 7, taps, right, 1) != FMEDGE_CHAIN_OK, "no rows");
    for (uint32_t huge : {0x7fffffffu, 0xffffffffu}) {
        require(attempt(image, huge, huge, huge, taps, right, 1) != FMEDGE_CHAIN_OK, "more than any memory");
        require(attempt(image, 1, huge, huge, taps, right, 1) != FMEDGE_CHAIN_OK, "more than any memory");
    }
    std::vector<unsigned char> shifted(model.size() + 1);
    std::copy(model.begin(), model.end(), shifted.begin() + 1);
    require(fmedge_chain_open(shifted.data() + 1, model.size(), nullptr, &chain) == FMEDGE_CHAIN_BAD_ARGUMENT, "a model between words");
    require(fmedge_chain_packed_bytes(shifted.data() + 1, model.size(), 0, &bytes) == FMEDGE_CHAIN_BAD_ARGUMENT, "a model between words");
    std::printf("contract: held\n");
}

int opening(const std::vector<unsigned char> &file) {
    Guarded model(file.size(), 4, true);
    if (!file.empty()) std::memcpy(model.data(), file.data(), file.size());
    fmedge_chain *chain = nullptr;
    int status = fmedge_chain_open(model.data(), file.size(), nullptr, &chain);
    fmedge_chain_close(chain);
    return status;
}

struct Change {
    size_t at, bytes;
    uint64_t value;
    const char *what;
};

void test_refused_models() {
    Random random{4};
    Network network;
    network.mean = {1, 2, 3};
    network.add_convolution(random, 4, 3);
    network.add_pooling(0);
    network.add_convolution(random, 5, 3);
    const std::vector<unsigned char> file = network.bytes();
    const size_t table = 64 + 32 * 3, first = 64, pooling = 96, last = 128;
    const uint64_t used = file.size(), kernel = used - 4 * (4 * 5 * 9 + 5), bias = used - 4 * 5;
    const Change refused[] = {
        {0, 1, 'f', "the first letters"}, {7, 1, '2', "another version"}, {8, 4, 0, "no layers"}, {8, 4, 1025, "too many layers"},
        {8, 4, 4, "a layer more than there are"}, {12, 4, 0, "no channels"}, {12, 4, 65537, "too many channels"},
        {16, 4, 2, "a third type of images"}, {20, 4, 1, "what is reserved"},
        {40, 1, 1, "zeros that are none"}, {63, 1, 128, "zeros that are none"},
        {24, 8, table - 4, "the mean inside the table"}, {24, 8, table + 1, "the mean between floats"}, {24, 8, table + 2, "the mean between floats"},
        {24, 8, used - 8, "the mean beyond the end"}, {24, 8, ~uint64_t{3}, "the mean far beyond the end"}, {24, 8, 0, "no mean"},
        {32, 8, used + 1, "more bytes than there are"}, {32, 8, used - 4, "fewer bytes than needed"}, {32, 8, table - 4, "fewer bytes than the table's"},
        {32, 8, 0, "no bytes"}, {32, 8, ~uint64_t{0}, "all bytes"},
        {first, 4, 0, "no kind of layer"}, {first, 4, 3, "a third kind of layer"}, {first + 4, 4, 0, "no outputs"}, {first + 4, 4, 65537, "too many outputs"},
        {first + 4, 4, 65536, "outputs without weights"}, {first + 8, 4, 8, "an unknown flag"}, {first + 8, 4, 0x80000000u, "an unknown flag"},
        {first + 8, 4, 4, "before a ReLU that there is not"}, {first + 8, 4, 7, "two taps in one layer"}, {first + 12, 4, 1, "what is reserved"},
        {first + 16, 8, table - 4, "a kernel inside the table"}, {first + 16, 8, table + 1, "a kernel between floats"}, {first + 24, 8, 0, "no bias"},
        {pooling + 4, 4, 3, "pooling of fewer channels"}, {pooling + 8, 4, 1, "pooling with ReLU"}, {pooling + 16, 8, table, "pooling with a kernel"},
        {pooling + 24, 8, table, "pooling with a bias"}, {last + 8, 4, 1, "a last layer that is no tap"},
        {last + 16, 8, kernel + 28, "a kernel beyond the end"}, {last + 24, 8, bias + 4, "a bias beyond the end"}, {last + 24, 8, ~uint64_t{3}, "a bias far beyond the end"},
    };
    require(opening(file) == FMEDGE_CHAIN_OK, "the model itself");
    for (const Change &change : refused) {
        std::vector<unsigned char> other = file;
        std::memcpy(&other[change.at], &change.value, change.bytes);
        std::snprintf(now_doing, sizeof now_doing, "a model: %s", change.what);
        require(opening(other) == FMEDGE_CHAIN_BAD_MODEL, "it is opened");
    }
    for (size_t size = 0; size < file.size(); ++size) {
        std::snprintf(now_doing, sizeof now_doing, "a model: its first %zu bytes", size);
        require(opening({file.begin(), file.begin() + static_cast<long>(size)}) == FMEDGE_CHAIN_BAD_MODEL, "it is opened");
    }
    std::vector<unsigned char> longer = file;
    longer.resize(longer.size() + 9, 77);
    require(opening(longer) == FMEDGE_CHAIN_OK, "a model with more behind it");
}

void test_refused_packed(uint32_t kernels, uint64_t count, uint64_t seed) {
    Random random{seed};
    Network network;
    network.mean = {1, 2, 3};
    network.add_convolution(random, 5, 3);
    network.add_convolution(random, 21, 3);
    std::vector<unsigned char> model = network.bytes();
    size_t size = 0;
    require(fmedge_chain_packed_bytes(model.data(), model.size(), kernels, &size) == FMEDGE_CHAIN_OK, "packed bytes");
    Guarded packed(size, 64, true);
    require(fmedge_chain_pack(model.data(), model.size(), kernels, 1, packed.data(), size) == FMEDGE_CHAIN_OK, "pack");
    fmedge_chain_options options = options_for(kernels, 1);
    options.packed = packed.data(), options.packed_bytes = size;
    auto status_of = [&](const std::vector<unsigned char> &of) {
        fmedge_chain *chain = nullptr;
        int status = fmedge_chain_open(of.data(), of.size(), &options, &chain);
        fmedge_chain_close(chain);
        return status;
    };
    for (uint64_t i = 0; i < count; ++i) {
        size_t at = i < 64 ? i : random.below(static_cast<uint32_t>(size));
        unsigned char bit = static_cast<unsigned char>(1u << random.below(8));
        packed.data()[at] ^= bit;
        std::snprintf(now_doing, sizeof now_doing, "packed weights, %s, byte %zu of %zu", fmedge_chain_kernels_name(kernels), at, size);
        require(status_of(model) == FMEDGE_CHAIN_BAD_PACKED, "damage is not noticed");
        packed.data()[at] ^= bit;
    }
    require(status_of(model) == FMEDGE_CHAIN_OK, "the packed weights themselves");
    for (size_t at : {size_t{8 * 20}, model.size() - 3}) {  /* a weight, a bias */
        std::vector<unsigned char> other = model;
        other[at] ^= 1;
        require(status_of(other) == FMEDGE_CHAIN_BAD_PACKED, "packed weights of another model are taken");
    }
    for (size_t less : {size_t{64}, size}) {
        options.packed_bytes = size - less;
        require(status_of(model) == FMEDGE_CHAIN_BAD_PACKED, "packed weights of another size are taken");
    }
    options.packed_bytes = size, options.packed = packed.data() + 4;
    require(status_of(model) == FMEDGE_CHAIN_BAD_ARGUMENT, "packed weights between lines are taken");
    options.packed = packed.data();
    for (uint32_t others : kernel_sets(""))
        if (others != kernels) {
            options.kernels = others;
            require(status_of(model) == FMEDGE_CHAIN_BAD_PACKED, "packed weights for other kernels are taken");
        }
}

/* A pixel that is no number makes the values around it none, ReLU or not, and leaves those far away as they are. */
void test_nan(uint32_t kernels) {
    for (uint32_t channels : {3u, 20u}) {
        Random random{9};
        Network network;
        network.channels = channels, network.image_type = 1;
        network.mean.assign(channels, 0.0f);
        network.add_convolution(random, 7, 3);
        network.add_convolution(random, 6, 3);
        std::snprintf(now_doing, sizeof now_doing, "NaN, %s, %u channels", fmedge_chain_kernels_name(kernels), channels);
        std::vector<unsigned char> images = random_images(random, network, 1, 33, 35);
        Chain chain = open_chain(network.bytes(), options_for(kernels, 1));
        Taps before = run(chain.get(), images, 1, 33, 35);
        const float nan = std::nanf("");
        std::memcpy(&images[4 * (16 * 35 + 17) * channels], &nan, 4);
        Taps after = run(chain.get(), images, 1, 33, 35);
        for (size_t t = 0; t < 2; ++t)
            for (size_t i = 0; i < before[t].size(); ++i) {
                int row = static_cast<int>(i / 35 % 33), column = static_cast<int>(i % 35);
                if (std::abs(row - 16) <= 1 && std::abs(column - 17) <= 1) require(std::isnan(after[t][i]), "NaN is lost");
                if (std::abs(row - 16) > 12 || std::abs(column - 17) > 12) require(after[t][i] == before[t][i], "NaN is everywhere");
            }
    }
}

void test_refusals(const Options &given) {
    test_refused_models();
    for (uint32_t kernels : kernel_sets(given.kernels)) {
        test_refused_packed(kernels, given.count, given.seed);
        test_nan(kernels);
    }
    std::printf("refusals: models and packed weights\n");
}

struct Mode {
    const char *name;
    void (*test)(const Options &);
    uint64_t count, quick;
};
const Mode MODES[] = {{"contract", test_contract, 1, 1},       {"refusals", test_refusals, 20000, 500}, {"reference", test_reference, 1000, 40}, {"identical", test_identical, 300, 10},
                      {"guards", test_guards, 1000, 40},       {"fuzz", test_fuzz, 100000, 1500},       {"slope", test_slope, 100000, 3000}};

}  // namespace

int main(int argc, char **argv) {
    for (int number : {SIGSEGV, SIGBUS, SIGILL, SIGFPE})
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        std::signal(number, fell);
#else
        (void)number, (void)fell;
#endif
    Options given;
    given.mode = argc > 1 ? argv[1] : "quick";
    for (int i = 2; i + 1 < argc; i += 2) {
        std::string name = argv[i];
        if (name == "--count") given.count = std::strtoull(argv[i + 1], nullptr, 10);
        else if (name == "--seed") given.seed = std::strtoull(argv[i + 1], nullptr, 10);
        else if (name == "--kernels") given.kernels = argv[i + 1];
        else fail("an option that there is not: " + name);
    }
    bool found = false;
    for (const Mode &mode : MODES)
        if (given.mode == mode.name || given.mode == "quick") {
            Options here = given;
            if (!here.count) here.count = given.mode == "quick" ? mode.quick : mode.count;
            mode.test(here);
            std::fflush(stdout);
            found = true;
        }
    if (!found) fail("a mode that there is not: " + given.mode);
    std::printf("passed: %s\n", given.mode.c_str());
    return 0;
}
