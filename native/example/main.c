/*
 * example MODEL HEIGHT WIDTH [IMAGE]             prints what the taps of an image are like: raw bytes (height, width, channel), or made up
 * example MODEL HEIGHT WIDTH --check EXPECTED    fails where those of the made-up image are not as a file of such lines says
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fmedge_chain.h"

static void require(int status, const char *what) {
    if (status != FMEDGE_CHAIN_OK) {
        fprintf(stderr, "%s: %s\n", what, fmedge_chain_status_text(status));
        exit(1);
    }
}

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

/* Whether a line says the same but for the digits in which kernels differ: a thousandth, or 1e-5 of the greatest value. */
static int agrees(FILE *lines, uint32_t tap, const uint32_t shape[3], double mean, double greatest) {
    double said[2], found[2] = {mean, greatest};
    uint32_t in[4];
    int fields = fscanf(lines, "tap %" SCNu32 ": %" SCNu32 " x %" SCNu32 " x %" SCNu32 ", mean %lf, greatest %lf,%*[^\n] ", &in[0], &in[1],
                        &in[2], &in[3], &said[0], &said[1]);
    int same = fields == 6 && in[0] == tap && in[1] == shape[0] && in[2] == shape[1] && in[3] == shape[2];
    for (int i = 0; same && i < 2; ++i) {
        double slack = 1e-3 * (said[i] < 0 ? -said[i] : said[i]) + 1e-5 * said[1], off = found[i] - said[i];
        same = off <= slack && -off <= slack; /* no NaN is */
    }
    return same;
}

int main(int argc, char **argv) {
    size_t size = 0, image_size = 0;
    int checks = argc == 6 && strcmp(argv[4], "--check") == 0, made_up = checks || argc == 4;
    unsigned char *model = argc == 5 || made_up ? read_file(argv[1], &size) : NULL;
    FILE *expected = checks ? fopen(argv[5], "r") : NULL;
    if (!model || size < 64 || (checks && !expected)) {
        fprintf(stderr, "Usage: %s MODEL HEIGHT WIDTH [IMAGE | --check EXPECTED]\n", argv[0]);
        return 2;
    }
    fmedge_chain_options options = {.struct_size = sizeof options, .threads = 2};
    fmedge_chain *chain;
    require(fmedge_chain_open(model, size, &options, &chain), argv[1]);

    uint32_t height = (uint32_t)atoi(argv[2]), width = (uint32_t)atoi(argv[3]), channels, type, shape[3];
    memcpy(&channels, model + 12, 4); /* what the images are like stands in the model: see its format in the header */
    memcpy(&type, model + 16, 4);
    size_t wanted = (size_t)height * width * channels;
    unsigned char *image = made_up ? malloc(wanted) : read_file(argv[4], &image_size);
    float *floats = malloc(wanted * sizeof *floats); /* for models that take them */
    if (!image || !floats || (!made_up && image_size != wanted)) {
        fprintf(stderr, "An image of this size takes %zu bytes.\n", wanted);
        return 2;
    }
    for (uint64_t i = 0; made_up && i < wanted; ++i) image[i] = (unsigned char)(i * i / 7 + i);
    for (size_t i = 0; i < wanted; ++i) floats[i] = image[i];

    uint32_t count = fmedge_chain_tap_count(chain), differ = 0;
    float **taps = calloc(count, sizeof *taps);
    size_t *sizes = calloc(count, sizeof *sizes);
    for (uint32_t t = 0; t < count; ++t) {
        require(fmedge_chain_tap_shape(chain, t, height, width, shape), "shape");
        sizes[t] = (size_t)shape[0] * shape[1] * shape[2];
        taps[t] = malloc(sizes[t] * sizeof **taps);
    }
    require(fmedge_chain_run(chain, type ? (void *)floats : image, 1, height, width, taps, sizes, count), "run");
    for (uint32_t t = 0; t < count; ++t) {
        double sum = 0, greatest = 0;
        uint64_t hash = 0; /* of the exact bits: each value's, times its place */
        for (size_t i = 0; i < sizes[t]; ++i) {
            uint32_t bits;
            memcpy(&bits, &taps[t][i], 4);
            hash += (i + (uint64_t)1) * bits;
            sum += taps[t][i];
            if (taps[t][i] > greatest) greatest = taps[t][i];
        }
        require(fmedge_chain_tap_shape(chain, t, height, width, shape), "shape");
        printf("tap %" PRIu32 ": %" PRIu32 " x %" PRIu32 " x %" PRIu32 ", mean %.4g, greatest %.4g, %s bits %016" PRIx64 "\n", t, shape[0],
               shape[1], shape[2], sum / (double)sizes[t], greatest, fmedge_chain_kernels_name(fmedge_chain_kernels_of(chain)), hash);
        differ += checks && !agrees(expected, t, shape, sum / (double)sizes[t], greatest);
        free(taps[t]);
    }
    if (checks) printf("%" PRIu32 " of %" PRIu32 " taps as expected\n", count - differ, count);
    fmedge_chain_close(chain);
    free(taps), free(sizes), free(floats), free(image), free(model);
    if (expected) fclose(expected);
    return differ != 0;
}
