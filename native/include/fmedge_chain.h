/*
 * fmedge_chain: chains of 3 x 3 convolutions on CPUs, by Winograd's method.
 *
 * A chain is convolutions (3 x 3, stride 1, zeros beyond the border, bias, ReLU or none) and 2 x 2 max pooling,
 * one after the other. The library holds no global state and writes nothing but the buffers it is given. It
 * throws nothing: every function returns a status, and fmedge_chain_status_text says it in words.
 *
 * One chain computes one call of fmedge_chain_run at a time; different chains are independent.
 */
#ifndef FMEDGE_CHAIN_H
#define FMEDGE_CHAIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef _WIN32
#define FMEDGE_CHAIN_API __declspec(dllexport)
#else
#define FMEDGE_CHAIN_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** Changes whenever a program that was compiled against an earlier header would no longer work. */
#define FMEDGE_CHAIN_ABI 1

/** Results of all functions. */
enum fmedge_chain_status {
    FMEDGE_CHAIN_OK = 0,
    FMEDGE_CHAIN_BAD_ARGUMENT = 1, /**< An argument is null or out of its range. */
    FMEDGE_CHAIN_BAD_MODEL = 2,    /**< The model is not one, or is damaged. */
    FMEDGE_CHAIN_BAD_PACKED = 3,   /**< The packed weights are not those of this model and these kernels. */
    FMEDGE_CHAIN_NO_MEMORY = 4,    /**< Memory ran out. */
    FMEDGE_CHAIN_NO_THREADS = 5,   /**< The system allows no more threads. */
    FMEDGE_CHAIN_NO_KERNELS = 6,   /**< This processor, or this build, lacks the kernels. */
    FMEDGE_CHAIN_TOO_LARGE = 7,    /**< The numbers of elements do not fit the address space. */
    FMEDGE_CHAIN_TOO_SMALL = 8     /**< The image is too small for the pooling, or a buffer for a tap. */
};

/** Kernels, by the instructions they need. */
enum fmedge_chain_kernels {
    FMEDGE_CHAIN_BEST = 0, /**< The fastest that the processor can run. */
    FMEDGE_CHAIN_PLAIN = 1,
    FMEDGE_CHAIN_AVX2 = 2, /**< AVX2 and FMA. */
    FMEDGE_CHAIN_AVX512 = 3,
    FMEDGE_CHAIN_NEON = 4
};

typedef struct fmedge_chain fmedge_chain;

/** How a chain computes. Set all to zero, then struct_size, then what should not be the default. */
typedef struct fmedge_chain_options {
    uint32_t struct_size;   /**< sizeof(fmedge_chain_options). */
    uint32_t threads;       /**< Threads that compute, the caller's among them: 1 to 64; 0 means 1. */
    uint32_t kernels;       /**< One of fmedge_chain_kernels. */
    uint32_t spin_us;       /**< Microseconds that threads without work spin before they sleep; at most 1,000,000. */
    const uint32_t *cpus;   /**< Numbers of the cores that the chain's own threads are bound to; null for any. */
    uint32_t cpu_count;     /**< How many there are; at most 4096. */
    uint32_t reserved;      /**< 0. */
    const void *packed;     /**< Weights as fmedge_chain_pack wrote them, aligned to 64 bytes, which have to stay
                                 until the chain is closed; null to pack them while opening. */
    size_t packed_bytes;    /**< Size of packed. */
} fmedge_chain_options;

/** The value of FMEDGE_CHAIN_ABI that the library was built with. */
FMEDGE_CHAIN_API uint32_t fmedge_chain_abi(void);

/** A status in words, in English. */
FMEDGE_CHAIN_API const char *fmedge_chain_status_text(int status);

/** The name of kernels ("avx2"), or null where the number is none. */
FMEDGE_CHAIN_API const char *fmedge_chain_kernels_name(uint32_t kernels);

/** Whether this processor can run kernels of this build: 1 or 0. */
FMEDGE_CHAIN_API int fmedge_chain_can_run(uint32_t kernels);

/** The kernels that FMEDGE_CHAIN_BEST stands for on this processor. */
FMEDGE_CHAIN_API uint32_t fmedge_chain_best(void);

/**
 * How many bytes the packed weights of a model take.
 *
 * model:  The model's file in memory, aligned to 4 bytes; see the format below.
 * size:   Its size in bytes.
 */
FMEDGE_CHAIN_API int fmedge_chain_packed_bytes(const void *model, size_t size, uint32_t kernels, size_t *bytes);

/** Write the packed weights of a model into a buffer, aligned to 64 bytes, of exactly that size. */
FMEDGE_CHAIN_API int fmedge_chain_pack(const void *model, size_t size, uint32_t kernels, uint32_t threads, void *packed,
                                       size_t bytes);

/**
 * Open a chain.
 *
 * model:    The model's file in memory, aligned to 4 bytes. It is not used after the function returns.
 * size:     Its size in bytes.
 * options:  How to compute; null for the defaults.
 * chain:    Gets the chain; null where the status is not FMEDGE_CHAIN_OK.
 */
FMEDGE_CHAIN_API int fmedge_chain_open(const void *model, size_t size, const fmedge_chain_options *options,
                                       fmedge_chain **chain);

/** How many taps the chain has: the outputs of the layers that the model marks, in the order of the layers. */
FMEDGE_CHAIN_API uint32_t fmedge_chain_tap_count(const fmedge_chain *chain);

/** The shape of a tap for images of a size: channels, height, width. */
FMEDGE_CHAIN_API int fmedge_chain_tap_shape(const fmedge_chain *chain, uint32_t tap, uint32_t height, uint32_t width,
                                            uint32_t shape[3]);

/** The kernels that the chain computes with. */
FMEDGE_CHAIN_API uint32_t fmedge_chain_kernels_of(const fmedge_chain *chain);

/** How many bytes a run of images of a size needs beside weights and taps. */
FMEDGE_CHAIN_API int fmedge_chain_run_bytes(const fmedge_chain *chain, uint32_t count, uint32_t height, uint32_t width,
                                            size_t *bytes);

/**
 * Compute the taps of images. Memory is allocated in the first run, and when images are larger than all before.
 *
 * images:      (count, height, width, channels), uint8 or float32 as the model says, contiguous.
 * taps:        One buffer per tap, each for (count, channels, height, width) float32, contiguous; a null buffer
 *              stands for a tap that is not wanted. Buffers do not overlap.
 * tap_floats:  The size of each buffer in float32.
 */
FMEDGE_CHAIN_API int fmedge_chain_run(fmedge_chain *chain, const void *images, uint32_t count, uint32_t height,
                                      uint32_t width, float *const *taps, const size_t *tap_floats, uint32_t tap_count);

/** End the chain's threads and free its memory; null is allowed. */
FMEDGE_CHAIN_API void fmedge_chain_close(fmedge_chain *chain);

/*
 * The format of a model (little-endian; offsets from the start of the file, multiples of 4):
 *
 *    0  char[8]  "FMCHAIN1"
 *    8  uint32   layers, 1 to 1024
 *   12  uint32   channels of the images, 1 to 65536
 *   16  uint32   type of the images: 0 uint8, 1 float32
 *   20  uint32   0
 *   24  uint64   offset of the mean: float32, one per channel; subtracted from images before anything else
 *   32  uint64   size of what this table refers to; whatever follows is for others
 *   40  24 bytes of 0
 *   64  the layers, 32 bytes each:
 *         uint32   1 convolution, 2 pooling (2 x 2 maxima, stride 2, an odd last row or column is left out)
 *         uint32   channels of the output, 1 to 65536; for pooling those of its input
 *         uint32   flags: 1 ReLU (convolutions only), 2 tap (its output), 4 tap before ReLU (with 1, not with 2)
 *         uint32   0
 *         uint64   offset of the kernel, float32 (output channel, input channel, row, column); 0 for pooling
 *         uint64   offset of the bias, float32 (output channel); 0 for pooling
 *
 * At least one layer is a tap, and the last one is.
 */

#ifdef __cplusplus
}
#endif

#endif
