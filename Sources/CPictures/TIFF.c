#include "Private.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tiffio.h>

// libtiff brings along several codecs, which take time to load, so it is opened at first use.
#define FUNCTIONS(USE)                                                                                               \
    USE(TIFFClientOpenExt)                                                                                           \
    USE(TIFFClose)                                                                                                   \
    USE(TIFFGetField)                                                                                                \
    USE(TIFFGetFieldDefaulted)                                                                                       \
    USE(TIFFNumberOfDirectories)                                                                                     \
    USE(TIFFOpenOptionsAlloc)                                                                                        \
    USE(TIFFOpenOptionsFree)                                                                                         \
    USE(TIFFOpenOptionsSetErrorHandlerExtR)                                                                          \
    USE(TIFFOpenOptionsSetMaxSingleMemAlloc)                                                                         \
    USE(TIFFOpenOptionsSetWarningHandlerExtR)                                                                        \
    USE(TIFFReadRGBAImageOriented)                                                                                   \
    USE(TIFFRGBAImageOK)                                                                                             \
    USE(TIFFSetDirectory)                                                                                            \
    USE(TIFFSetField)

static struct {
#define PLACE(name) __typeof__(name) *name;
    FUNCTIONS(PLACE)
#undef PLACE
} tiff;
static int is_loaded;

static void load(void) {
    static const char *const files[] = {"libtiff.so.6", "libtiff.6.dylib", NULL};
#define NAME(name) #name,
    static const char *const names[] = {FUNCTIONS(NAME)};
#undef NAME
    is_loaded = ruyi_picture_open(files, names, (void **)&tiff, sizeof(names) / sizeof(*names));
}

// The bytes of a file, and the first thing that libtiff says of them.
struct file {
    const uint8_t *data;
    size_t length;
    uint64_t position;
    int is_short;
    char problem[160];
};

static tmsize_t read_bytes(thandle_t handle, void *target, tmsize_t count) {
    struct file *file = handle;
    uint64_t left = file->position < file->length ? file->length - file->position : 0;
    uint64_t got = (uint64_t)count < left ? (uint64_t)count : left;
    if (got < (uint64_t)count) file->is_short = 1;
    memcpy(target, file->data + (got > 0 ? file->position : 0), got);
    file->position += got;
    return (tmsize_t)got;
}

static tmsize_t write_bytes(thandle_t handle, void *source, tmsize_t count) {
    (void)handle;
    (void)source;
    (void)count;
    return 0;
}

static toff_t seek(thandle_t handle, toff_t offset, int whence) {
    struct file *file = handle;
    file->position = whence == SEEK_SET ? offset : (whence == SEEK_END ? file->length : file->position) + offset;
    return file->position;
}

static int close_file(thandle_t handle) {
    (void)handle;
    return 0;
}

static toff_t size(thandle_t handle) { return ((struct file *)handle)->length; }

static int keep_error(TIFF *image, void *user, const char *module, const char *format, va_list arguments) {
    struct file *file = user;
    (void)image;
    (void)module;
    if (file->problem[0] == 0) vsnprintf(file->problem, sizeof(file->problem), format, arguments);
    return 1;
}

static int ignore_warning(TIFF *image, void *user, const char *module, const char *format, va_list arguments) {
    (void)image;
    (void)user;
    (void)module;
    (void)format;
    (void)arguments;
    return 1;
}

static int fail(const struct file *file, const char *otherwise, char *message, size_t room) {
    return ruyi_picture_fail(
        file->is_short ? RUYI_PICTURE_SHORT : RUYI_PICTURE_BAD, file->problem[0] != 0 ? file->problem : otherwise,
        message, room);
}

// Opens the bytes; nothing that is read may take more than `memory` bytes in one piece.
static int open_file(struct file *file, TIFF **image, uint64_t memory, char *message, size_t room) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    if (!is_loaded) return ruyi_picture_fail(RUYI_PICTURE_UNAVAILABLE, "libtiff is not installed", message, room);
    TIFFOpenOptions *options = tiff.TIFFOpenOptionsAlloc();
    if (options == NULL) return ruyi_picture_fail(RUYI_PICTURE_MEMORY, "not enough memory", message, room);
    tiff.TIFFOpenOptionsSetMaxSingleMemAlloc(options, (tmsize_t)memory);
    tiff.TIFFOpenOptionsSetErrorHandlerExtR(options, keep_error, file);
    tiff.TIFFOpenOptionsSetWarningHandlerExtR(options, ignore_warning, NULL);
    // Not mapped: what is read past the end is told.
    *image = tiff.TIFFClientOpenExt(
        "picture", "rm", file, read_bytes, write_bytes, seek, close_file, size, NULL, NULL, options);
    tiff.TIFFOpenOptionsFree(options);
    return *image != NULL ? RUYI_PICTURE_OK : fail(file, "the header is damaged", message, room);
}

// What of the first page decides about its samples.
struct layout {
    uint16_t photometric, samples, bits, extra_count;
    uint16_t first_extra;
};

static struct layout layout_of(TIFF *image) {
    struct layout layout = {PHOTOMETRIC_MINISBLACK, 1, 1, 0, EXTRASAMPLE_UNSPECIFIED};
    uint16_t *extras = NULL;
    tiff.TIFFGetField(image, TIFFTAG_PHOTOMETRIC, &layout.photometric);
    tiff.TIFFGetFieldDefaulted(image, TIFFTAG_SAMPLESPERPIXEL, &layout.samples);
    tiff.TIFFGetFieldDefaulted(image, TIFFTAG_BITSPERSAMPLE, &layout.bits);
    tiff.TIFFGetFieldDefaulted(image, TIFFTAG_EXTRASAMPLES, &layout.extra_count, &extras);
    if (layout.extra_count > 0 && extras != NULL) layout.first_extra = extras[0];
    return layout;
}

// Whether one of the samples of a pixel is its alpha.
static int has_alpha(struct layout layout) {
    return layout.photometric != PHOTOMETRIC_SEPARATED && layout.extra_count > 0 &&
           (layout.first_extra == EXTRASAMPLE_ASSOCALPHA || layout.first_extra == EXTRASAMPLE_UNASSALPHA);
}

int ruyi_tiff_facts(const uint8_t *data, size_t length, ruyi_picture_facts *facts, char *message, size_t room) {
    struct file file = {.data = data, .length = length};
    TIFF *image = NULL;
    int status = open_file(&file, &image, length + (1 << 20), message, room);
    if (status != RUYI_PICTURE_OK) return status;
    struct layout layout = layout_of(image);
    uint16_t orientation = 1;
    uint32_t profile_length = 0;
    void *profile = NULL;
    tiff.TIFFGetField(image, TIFFTAG_IMAGEWIDTH, &facts->width);
    tiff.TIFFGetField(image, TIFFTAG_IMAGELENGTH, &facts->height);
    tiff.TIFFGetField(image, TIFFTAG_ORIENTATION, &orientation);
    facts->orientation = orientation >= 1 && orientation <= 8 ? orientation : 1;
    facts->has_inks = layout.photometric == PHOTOMETRIC_SEPARATED;
    facts->channels = facts->has_inks || has_alpha(layout) ? 4 : 3;
    facts->is_premultiplied = has_alpha(layout) && layout.first_extra == EXTRASAMPLE_ASSOCALPHA;
    facts->primaries = facts->transfer = 2;
    if (tiff.TIFFGetField(image, TIFFTAG_ICCPROFILE, &profile_length, &profile) && profile != NULL) {
        status = ruyi_picture_keep_profile(facts, profile, profile_length);
    }
    facts->pictures = (int)tiff.TIFFNumberOfDirectories(image);
    tiff.TIFFClose(image);
    return status == RUYI_PICTURE_OK ? status : ruyi_picture_fail(status, "not enough memory", message, room);
}

// Lets libtiff hand over samples as they are stored: its interface for whole pictures multiplies colours by alpha, turns
// inks into colours without their profile, and mirrors a picture that is to be turned.
static int read_samples(
    TIFF *image, const ruyi_picture_facts *facts, uint32_t *pixels, struct file *file, char *message, size_t room) {
    struct layout layout = layout_of(image);
    char problem[1024] = "";
    uint16_t associated = EXTRASAMPLE_ASSOCALPHA;
    if (facts->has_inks) {
        if (layout.samples != 4 || (layout.bits != 8 && layout.bits != 16)) {
            return ruyi_picture_fail(RUYI_PICTURE_BAD, "only four inks of 8 or 16 bits are read", message, room);
        }
        tiff.TIFFSetField(image, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_RGB);
        tiff.TIFFSetField(image, TIFFTAG_EXTRASAMPLES, 1, &associated);
    } else if (has_alpha(layout) && layout.extra_count == 1) {
        tiff.TIFFSetField(image, TIFFTAG_EXTRASAMPLES, 1, &associated);
    }
    tiff.TIFFSetField(image, TIFFTAG_ORIENTATION, ORIENTATION_TOPLEFT);
    if (!tiff.TIFFRGBAImageOK(image, problem)) return ruyi_picture_fail(RUYI_PICTURE_BAD, problem, message, room);
    int is_read = tiff.TIFFReadRGBAImageOriented(image, facts->width, facts->height, pixels, ORIENTATION_TOPLEFT, 1);
    if (!is_read || file->problem[0] != 0) return fail(file, "its data is damaged", message, room);
    return RUYI_PICTURE_OK;
}

int ruyi_tiff_decode(
    const uint8_t *data, size_t length, const ruyi_picture_facts *facts, uint8_t *samples, char *message, size_t room) {
    struct file file = {.data = data, .length = length};
    TIFF *image = NULL;
    size_t count = (size_t)facts->width * facts->height;
    // A strip of a page holds no more than all of its samples, of 16 bits at most, and tiles go past its edges.
    int status = open_file(&file, &image, length + 16 * count + (64 << 20), message, room);
    if (status != RUYI_PICTURE_OK) return status;
    uint32_t *pixels = malloc(count * 4);
    status = pixels != NULL ? read_samples(image, facts, pixels, &file, message, room)
                            : ruyi_picture_fail(RUYI_PICTURE_MEMORY, "not enough memory", message, room);
    for (size_t index = 0; status == RUYI_PICTURE_OK && index < count; index++) {
        uint8_t *target = samples + index * (size_t)facts->channels;
        target[0] = (uint8_t)TIFFGetR(pixels[index]);
        target[1] = (uint8_t)TIFFGetG(pixels[index]);
        target[2] = (uint8_t)TIFFGetB(pixels[index]);
        if (facts->channels == 4) target[3] = (uint8_t)TIFFGetA(pixels[index]);
    }
    free(pixels);
    tiff.TIFFClose(image);
    return status;
}
