// Reading and writing PNG pictures through libpng. Every function contains its own setjmp, returns a status, and on
// failure leaves a line of text in `message`.
#ifndef CPNG_H
#define CPNG_H

#include <stddef.h>
#include <stdint.h>

enum { RUYI_PNG_OK = 0, RUYI_PNG_BAD = 1, RUYI_PNG_MEMORY = 2, RUYI_PNG_SHORT = 3 };

// The picture's size from its header; RUYI_PNG_SHORT when the bytes end before that.
int ruyi_png_size(const uint8_t *data, size_t length, uint32_t *width, uint32_t *height, char *message, size_t room);

// Decodes into `samples`, which holds width * height * channels bytes for the size that ruyi_png_size gave: 3 channels are
// red, green and blue, with 4 there is alpha. Of 16-bit samples the high byte is kept. `lacks_end` tells that the file is
// cut off where all samples had been read.
int ruyi_png_decode(
    const uint8_t *data, size_t length, int channels, uint8_t *samples, uint32_t width, uint32_t height, int *lacks_end,
    char *message, size_t room);

// Unpacks a zlib stream, such as the content of a compressed chunk; RUYI_PNG_BAD where it is damaged or larger than
// `capacity`.
int ruyi_png_inflate(const uint8_t *data, size_t length, uint8_t *target, size_t capacity, size_t *written);

// Encodes 8-bit RGB into memory that ruyi_png_free releases. `keys` and `texts` are `tags` pairs of strings.
int ruyi_png_encode(
    const uint8_t *rgb, uint32_t width, uint32_t height, const char *const *keys, const char *const *texts, int tags,
    uint8_t **data, size_t *length, char *message, size_t room);

void ruyi_png_free(uint8_t *data);

// The version of the library that is loaded.
const char *ruyi_png_version(void);

#endif
