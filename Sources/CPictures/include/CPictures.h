// Reading pictures of the formats beside PNG and JPEG, and their colours. Every function returns a status and on failure
// leaves a line of text in `message`. No size is taken from a file without a look at what it leads to.
#ifndef CPICTURES_H
#define CPICTURES_H

#include <stddef.h>
#include <stdint.h>

enum {
    RUYI_PICTURE_OK = 0,
    RUYI_PICTURE_BAD = 1,
    RUYI_PICTURE_MEMORY = 2,
    RUYI_PICTURE_SHORT = 3,        // the bytes end early
    RUYI_PICTURE_UNAVAILABLE = 4,  // the library that reads the format is not installed
};

// What a picture says about itself. Samples have 8 bits, interleaved, rows from the top.
typedef struct {
    uint32_t width, height;  // of the samples that are decoded
    int channels;            // 3: red, green, blue; 4: and alpha, or four inks
    int has_inks;            // cyan, magenta, yellow, black; 255 is full
    int is_premultiplied;    // colours are multiplied by alpha
    int orientation;         // as in EXIF, still to be applied to the samples
    int pictures;            // pictures, pages or frames in the file, of which one is decoded; 0 for several
    // Code points of ITU-T H.273 for primaries and transfer, 2 where nothing is said.
    int primaries, transfer;
    uint8_t *profile;  // the ICC profile, NULL if there is none
    size_t profile_length;
} ruyi_picture_facts;

// Frees what facts hold; they may be all zero.
void ruyi_picture_facts_clear(ruyi_picture_facts *facts);

// Each format has two functions. The first fills `facts`, for ruyi_picture_facts_clear also after a failure, and decodes
// nothing. The second decodes into `samples`, width * height * channels bytes for facts that the first gave.
int ruyi_webp_facts(const uint8_t *data, size_t length, ruyi_picture_facts *facts, char *message, size_t room);
int ruyi_webp_decode(
    const uint8_t *data, size_t length, const ruyi_picture_facts *facts, uint8_t *samples, char *message, size_t room);

int ruyi_avif_facts(const uint8_t *data, size_t length, ruyi_picture_facts *facts, char *message, size_t room);
int ruyi_avif_decode(
    const uint8_t *data, size_t length, const ruyi_picture_facts *facts, uint8_t *samples, char *message, size_t room);

// HEIF with other codecs than AVIF's. The library turns a picture itself unless `is_as_stored`.
int ruyi_heif_facts(
    const uint8_t *data, size_t length, int is_as_stored, ruyi_picture_facts *facts, char *message, size_t room);
int ruyi_heif_decode(
    const uint8_t *data, size_t length, int is_as_stored, const ruyi_picture_facts *facts, uint8_t *samples,
    char *message, size_t room);

int ruyi_tiff_facts(const uint8_t *data, size_t length, ruyi_picture_facts *facts, char *message, size_t room);
int ruyi_tiff_decode(
    const uint8_t *data, size_t length, const ruyi_picture_facts *facts, uint8_t *samples, char *message, size_t room);

int ruyi_jxl_facts(const uint8_t *data, size_t length, ruyi_picture_facts *facts, char *message, size_t room);
int ruyi_jxl_decode(
    const uint8_t *data, size_t length, const ruyi_picture_facts *facts, uint8_t *samples, char *message, size_t room);

// A conversion of samples to sRGB.
typedef struct ruyi_color ruyi_color;

// From an ICC profile, for samples of inks or not; RUYI_PICTURE_BAD where it is damaged or made for other samples. Its own
// name is left in `name`.
int ruyi_color_of_profile(
    ruyi_color **color, const uint8_t *profile, size_t length, int channels, int has_inks, char *name, size_t room);

// From the chromaticities x and y of white, red, green and blue, and a curve: sRGB's where gamma is 0, otherwise the power
// of light that a sample stands for, 1 for linear samples.
int ruyi_color_of_primaries(ruyi_color **color, const double chromaticities[8], double gamma, int channels);

// The largest change of a sample that the conversion makes, looked for at evenly spread colours.
int ruyi_color_largest_change(const ruyi_color *color);

// Converts pixels; `target` has three samples a pixel for inks and as many as `samples` otherwise, and may be the same.
void ruyi_color_convert(const ruyi_color *color, const uint8_t *samples, uint8_t *target, uint32_t pixels);

void ruyi_color_free(ruyi_color *color);

// The versions of the libraries as one line; of those that are opened at first use, of what was compiled against.
void ruyi_picture_versions(char *text, size_t room);

#endif
