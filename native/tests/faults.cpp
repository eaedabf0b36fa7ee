/*
 * Every allocation fails once, and so does every thread's start: a status comes back, nothing is lost, and what failed
 * works afterwards. Linked statically, with --wrap for what is replaced beside operator new.
 *
 *     faults [--kernels NAME]
 */
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <new>
#include <pthread.h>
#include <string>

#include "guarded.h"
#include "models.h"

namespace {
std::atomic<long> until_fault{-1};  /* how many calls succeed before one fails; negative: none fails */
std::atomic<long> live{0};          /* blocks and mappings that are not freed */
std::atomic<bool> counting{false}, fault_in_thread{false}, fired{false};

bool fails(bool thread) {
    if (!counting || thread != fault_in_thread) return false;
    if (until_fault.load() < 0 || until_fault.fetch_sub(1) != 0) return false;
    fired = true;
    return true;
}

void *allocate(size_t size, size_t alignment) {
    if (fails(false)) return nullptr;
    void *block = alignment <= 16 ? std::malloc(size ? size : 1)
                                  : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (block) ++live;
    return block;
}
void *allocate_or_throw(size_t size, size_t alignment) {
    void *block = allocate(size, alignment);
    if (!block) throw std::bad_alloc();
    return block;
}
void release(void *block) {
    if (block) --live;
    std::free(block);
}
}  // namespace

void *operator new(size_t size) { return allocate_or_throw(size, 1); }
void *operator new[](size_t size) { return allocate_or_throw(size, 1); }
void *operator new(size_t size, std::align_val_t a) { return allocate_or_throw(size, static_cast<size_t>(a)); }
void *operator new[](size_t size, std::align_val_t a) { return allocate_or_throw(size, static_cast<size_t>(a)); }
void *operator new(size_t size, const std::nothrow_t &) noexcept { return allocate(size, 1); }
void *operator new[](size_t size, const std::nothrow_t &) noexcept { return allocate(size, 1); }
void *operator new(size_t size, std::align_val_t a, const std::nothrow_t &) noexcept { return allocate(size, static_cast<size_t>(a)); }
void *operator new[](size_t size, std::align_val_t a, const std::nothrow_t &) noexcept { return allocate(size, static_cast<size_t>(a)); }
void operator delete(void *block) noexcept { release(block); }
void operator delete[](void *block) noexcept { release(block); }
void operator delete(void *block, size_t) noexcept { release(block); }
void operator delete[](void *block, size_t) noexcept { release(block); }
void operator delete(void *block, std::align_val_t) noexcept { release(block); }
void operator delete[](void *block, std::align_val_t) noexcept { release(block); }
void operator delete(void *block, size_t, std::align_val_t) noexcept { release(block); }
void operator delete[](void *block, size_t, std::align_val_t) noexcept { release(block); }
void operator delete(void *block, const std::nothrow_t &) noexcept { release(block); }
void operator delete[](void *block, const std::nothrow_t &) noexcept { release(block); }

extern "C" {
void *__real_mmap(void *, size_t, int, int, int, off_t);
int __real_munmap(void *, size_t);
int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

void *__wrap_mmap(void *address, size_t length, int protection, int flags, int file, off_t offset) {
    if (fails(false)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    void *block = __real_mmap(address, length, protection, flags, file, offset);
    if (block != MAP_FAILED) ++live;
    return block;
}
int __wrap_munmap(void *block, size_t length) {
    --live;
    return __real_munmap(block, length);
}
int __wrap_posix_memalign(void **block, size_t alignment, size_t size) {
    *block = allocate(size, alignment);
    return *block ? 0 : ENOMEM;
}
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
    return fails(true) ? EAGAIN : __real_pthread_create(thread, attributes, start, argument);
}
}

namespace {

void require(bool holds, const char *what, long fault) {
    if (holds) return;
    std::printf("FAILED: %s (%s %ld fails)\n", what, fault_in_thread ? "start of thread" : "allocation", fault);
    std::exit(1);
}

/* A status is success, or that of the fault, which has then happened. */
bool fits(int status, long fault) {
    if (status == FMEDGE_CHAIN_OK) return true;
    require(fired, "an error without a fault", fault);
    require(status == (fault_in_thread ? FMEDGE_CHAIN_NO_THREADS : FMEDGE_CHAIN_NO_MEMORY), fmedge_chain_status_text(status), fault);
    return false;
}

struct Scene {
    std::vector<unsigned char> model, images;
    std::vector<float> first, second, expected;
    uint32_t kernels, sides[2];
    size_t packed_size = 0;
};

/* Pack, open, run a small and a larger image, close; after an error go on without faults. */
void play(Scene &scene, long fault, bool packed_before) {
    Guarded packed(scene.packed_size, 64, true);
    fmedge_chain_options options;
    std::memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.kernels = scene.kernels;
    options.threads = 3;
    fmedge_chain *chain = nullptr;
    float *taps[2] = {scene.first.data(), scene.second.data()};
    size_t sizes[2] = {scene.first.size(), scene.second.size()};

    long before = live;
    until_fault = fault, fired = false, counting = true;
    if (packed_before) {
        size_t size = 0;
        while (!fits(fmedge_chain_packed_bytes(scene.model.data(), scene.model.size(), scene.kernels, &size), fault)) until_fault = -1;
        require(size == scene.packed_size, "the size of packed weights", fault);
        while (!fits(fmedge_chain_pack(scene.model.data(), scene.model.size(), scene.kernels, 3, packed.data(), size), fault)) until_fault = -1;
        options.packed = packed.data(), options.packed_bytes = size;
    }
    while (!fits(fmedge_chain_open(scene.model.data(), scene.model.size(), &options, &chain), fault)) {
        require(chain == nullptr, "a chain in spite of an error", fault);
        require(live == before, "something is lost when opening fails", fault);
        until_fault = -1;
    }
    for (uint32_t side : scene.sides)
        while (!fits(fmedge_chain_run(chain, scene.images.data(), 1, side, side, taps, sizes, 2), fault)) until_fault = -1;
    fmedge_chain_close(chain);
    counting = false;
    require(live == before, "something is lost", fault);
    if (scene.expected.empty()) scene.expected = scene.second;
    require(scene.expected == scene.second, "other values after an error", fault);
    std::fill(scene.second.begin(), scene.second.end(), 0.0f);
}

/* Small buffers come from operator new, large ones from mmap. */
void meet_all(uint32_t kernels, bool large) {
    Random random{3};
    Network network;
    network.mean = {103.939f, 116.779f, 123.68f};
    uint32_t first = large ? 96 : 20, second = large ? 48 : 33, side = large ? 160 : 40;
    network.add_convolution(random, first, 3);
    network.add_pooling(0);
    network.add_convolution(random, second, 5);
    Scene scene;
    scene.model = network.bytes();
    scene.images = random_images(random, network, 1, side, side);
    scene.first.resize(first * side * side), scene.second.resize(second * (side / 2) * (side / 2));
    scene.kernels = kernels, scene.sides[0] = 16, scene.sides[1] = side;
    require(fmedge_chain_packed_bytes(scene.model.data(), scene.model.size(), kernels, &scene.packed_size) == FMEDGE_CHAIN_OK, "packed bytes", -1);
    for (bool threads : {false, true})
        for (bool packed : {false, true}) {
            fault_in_thread = threads;
            play(scene, -1, packed);
            long fault = 0;
            do {
                play(scene, fault, packed);
                ++fault;
            } while (fired);
            std::printf("faults, %s, %s buffers, weights packed %s: %ld %s, each failed once\n", fmedge_chain_kernels_name(kernels),
                        large ? "large" : "small", packed ? "before" : "while opening", fault - 1,
                        threads ? "starts of threads" : "allocations");
            require(fault > 1, "no fault was met", fault);
        }
}

}  // namespace

int main(int argc, char **argv) {
    std::string wanted = argc > 2 ? argv[2] : "";
    for (uint32_t kernels = FMEDGE_CHAIN_PLAIN; kernels <= FMEDGE_CHAIN_NEON; ++kernels) {
        if (!fmedge_chain_can_run(kernels) || (!wanted.empty() && wanted != fmedge_chain_kernels_name(kernels))) continue;
        for (bool large : {false, true}) meet_all(kernels, large);
    }
    std::printf("passed: faults\n");
    return 0;
}
