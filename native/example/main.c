/* example MODEL HEIGHT WIDTH [IMAGE]: the taps of an image of raw uint8 pixels (height, width, channel), or of a made-up one. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fmedge_chain.h"

static unsigned char *read_file(const char *name, size_t *size) {
    FILE *file = fopen(name, "rb");
    unsigned char *bytes = NULL;
    if (file && fseek(file, 0, SEEK_END) == 0) {
        long end = ftell(file);
        rewind(file);
        bytes = end > 0 ? malloc((size_t)end) : NULL;
        *size = bytes ? fread(bytes, 1, (size_t)end, file) : 0;
    }
    if (file) fclose(file);
    return bytes;
}

static void require(int status, const char *what) {
    if (status != FMEDGE_CHAIN_OK) {
        fprintf(stderr, "%s: %s\n", what, fmedge_chain_status_text(status));
        exit(1);
    }
}

int main(int argc, char **argv) {
    size_t size = 0, image_size = 0;
    unsigned char *model = argc < 4 ? NULL : read_file(argv[1], &size), *image;
    if (!model) {
        fprintf(stderr, "Usage: %s MODEL HEIGHT WIDTH [IMAGE]\n", argv[0]);
        return 2;
    }
    uint32_t height = (uint32_t)atoi(argv[2]), width = (uint32_t)atoi(argv[3]), channels, type, shape[3];
    fmedge_chain_options options = {.struct_size = sizeof options, .threads = 2};
    fmedge_chain *chain;
    require(fmedge_chain_open(model, size, &options, &chain), argv[1]);
    memcpy(&channels, model + 12, 4); /* what the images are like stands in the model: see its format in the header */
    memcpy(&type, model + 16, 4);
    size_t wanted = (size_t)height * width * channels;
    image = argc > 4 ? read_file(argv[4], &image_size) : malloc(wanted);
    if (type != 0 || !image || (argc > 4 && image_size != wanted)) {
        fprintf(stderr, "The model takes uint8 images; this size takes %zu bytes.\n", wanted);
        return 2;
    }
    for (size_t i = 0; argc == 4 && i < wanted; ++i) image[i] = (unsigned char)(i * i / 7 + i);

    uint32_t count = fmedge_chain_tap_count(chain);
    float **taps = calloc(count, sizeof *taps);
    size_t *sizes = calloc(count, sizeof *sizes);
    for (uint32_t t = 0; t < count; ++t) {
        require(fmedge_chain_tap_shape(chain, t, height, width, shape), "shape");
        sizes[t] = (size_t)shape[0] * shape[1] * shape[2];
        taps[t] = malloc(sizes[t] * sizeof **taps);
    }
    require(fmedge_chain_run(chain, image, 1, height, width, taps, sizes, count), "run");
    for (uint32_t t = 0; t < count; ++t) {
        double sum = 0, greatest = 0;
        uint64_t hash = 14695981039346656037u; /* FNV-1a of the exact bits */
        for (size_t i = 0; i < sizes[t]; ++i) {
            uint32_t bits;
            memcpy(&bits, &taps[t][i], 4);
            for (int shift = 0; shift < 32; shift += 8) hash = (hash ^ (bits >> shift & 255)) * 1099511628211u;
            sum += taps[t][i];
            if (taps[t][i] > greatest) greatest = taps[t][i];
        }
        require(fmedge_chain_tap_shape(chain, t, height, width, shape), "shape");
        printf("tap %" PRIu32 ": %" PRIu32 " x %" PRIu32 " x %" PRIu32 ", mean %.4g, greatest %.4g, %s bits %016" PRIx64 "\n", t, shape[0],
               shape[1], shape[2], sum / (double)sizes[t], greatest, fmedge_chain_kernels_name(fmedge_chain_kernels_of(chain)), hash);
        free(taps[t]);
    }
    fmedge_chain_close(chain);
    free(taps), free(sizes), free(image), free(model);
    return 0;
}
