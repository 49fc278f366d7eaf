// Reading JPEG pictures through libjpeg. Every function contains its own setjmp, returns a status, and on failure
// leaves a line of text in `message`.
#ifndef CJPEG_H
#define CJPEG_H

#include <stddef.h>
#include <stdint.h>

enum { RUYI_JPEG_OK = 0, RUYI_JPEG_BAD = 1, RUYI_JPEG_MEMORY = 2, RUYI_JPEG_SHORT = 3 };

// The picture's size from its header; RUYI_JPEG_SHORT when the bytes end before that.
int ruyi_jpeg_size(
    const uint8_t *data, size_t length, uint32_t *width, uint32_t *height, int *components, char *message, size_t room);

// Decodes into `samples`, for the size that ruyi_jpeg_size gave: red, green and blue, or of four components cyan, magenta,
// yellow and black, 255 for full ink. `lacks_end` tells that the bytes end without a marker and nothing else is missing.
int ruyi_jpeg_decode(
    const uint8_t *data, size_t length, uint8_t *samples, uint32_t width, uint32_t height, int *lacks_end, char *message,
    size_t room);

// The version of the interface that this was compiled against.
int ruyi_jpeg_version(void);

// The name of the library's file that is loaded, such as libjpeg.so.62.3.0; empty when that is not known.
void ruyi_jpeg_library_file(char *text, size_t room);

#endif
