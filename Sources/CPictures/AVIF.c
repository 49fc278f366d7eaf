#include "Private.h"

#include <pthread.h>
#include <stddef.h>

#include <avif/avif.h>

// libavif brings along several codecs, which take time to load, so it is opened at first use.
#define FUNCTIONS(USE)                                                                                               \
    USE(avifDecoderCreate)                                                                                           \
    USE(avifDecoderDestroy)                                                                                          \
    USE(avifDecoderNextImage)                                                                                        \
    USE(avifDecoderParse)                                                                                            \
    USE(avifDecoderSetIOMemory)                                                                                      \
    USE(avifImageYUVToRGB)                                                                                           \
    USE(avifResultToString)                                                                                          \
    USE(avifRGBImageSetDefaults)

static struct {
#define PLACE(name) __typeof__(name) *name;
    FUNCTIONS(PLACE)
#undef PLACE
} avif;
static int is_loaded;

static void load(void) {
    // The layout of its structures goes with the number in the file's name.
#if AVIF_VERSION_MAJOR >= 1
    static const char *const files[] = {"libavif.so.16", "libavif.16.dylib", NULL};
#else
    static const char *const files[] = {"libavif.so.15", "libavif.15.dylib", NULL};
#endif
#define NAME(name) #name,
    static const char *const names[] = {FUNCTIONS(NAME)};
#undef NAME
    is_loaded = ruyi_picture_open(files, names, (void **)&avif, sizeof(names) / sizeof(*names));
}

static int fail(avifResult result, char *message, size_t room) {
    int status = RUYI_PICTURE_BAD;
    if (result == AVIF_RESULT_TRUNCATED_DATA) status = RUYI_PICTURE_SHORT;
    if (result == AVIF_RESULT_OUT_OF_MEMORY) status = RUYI_PICTURE_MEMORY;
    if (result == AVIF_RESULT_NO_CODEC_AVAILABLE) status = RUYI_PICTURE_UNAVAILABLE;
    return ruyi_picture_fail(status, avif.avifResultToString(result), message, room);
}

// Opens a file and reads its boxes.
static int open_file(const uint8_t *data, size_t length, avifDecoder **decoder, char *message, size_t room) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    if (!is_loaded) return ruyi_picture_fail(RUYI_PICTURE_UNAVAILABLE, "libavif is not installed", message, room);
    *decoder = avif.avifDecoderCreate();
    if (*decoder == NULL) return ruyi_picture_fail(RUYI_PICTURE_MEMORY, "not enough memory", message, room);
    (*decoder)->maxThreads = 1;
    (*decoder)->ignoreExif = (*decoder)->ignoreXMP = AVIF_TRUE;
    // Encoders in wide use leave out one property and write another one wrong.
    (*decoder)->strictFlags = AVIF_STRICT_ENABLED & ~(avifStrictFlags)(AVIF_STRICT_CLAP_VALID | AVIF_STRICT_PIXI_REQUIRED);
    avifResult result = avif.avifDecoderSetIOMemory(*decoder, data, length);
    if (result == AVIF_RESULT_OK) result = avif.avifDecoderParse(*decoder);
    if (result == AVIF_RESULT_OK) return RUYI_PICTURE_OK;
    avif.avifDecoderDestroy(*decoder);
    return fail(result, message, room);
}

// The orientation of EXIF that turning to the left and then mirroring come to.
static int orientation_of(const avifImage *image) {
    // By quarter turns, as they are, top and bottom exchanged, left and right exchanged.
    static const int orientations[3][4] = {{1, 8, 3, 6}, {4, 5, 2, 7}, {2, 7, 4, 5}};
    int turns = (image->transformFlags & AVIF_TRANSFORM_IROT) != 0 ? image->irot.angle & 3 : 0;
    int mirror = 0;
#if AVIF_VERSION_MAJOR >= 1
    if ((image->transformFlags & AVIF_TRANSFORM_IMIR) != 0) mirror = 1 + (image->imir.axis & 1);
#else
    if ((image->transformFlags & AVIF_TRANSFORM_IMIR) != 0) mirror = 1 + (image->imir.mode & 1);
#endif
    return orientations[mirror][turns];
}

int ruyi_avif_facts(const uint8_t *data, size_t length, ruyi_picture_facts *facts, char *message, size_t room) {
    avifDecoder *decoder = NULL;
    int status = open_file(data, length, &decoder, message, room);
    if (status != RUYI_PICTURE_OK) return status;
    const avifImage *image = decoder->image;
    facts->width = image->width;
    facts->height = image->height;
    facts->channels = decoder->alphaPresent ? 4 : 3;
    facts->orientation = orientation_of(image);
    facts->pictures = decoder->imageCount;
    facts->primaries = (int)image->colorPrimaries;
    facts->transfer = (int)image->transferCharacteristics;
    status = ruyi_picture_keep_profile(facts, image->icc.data, image->icc.size);
    avif.avifDecoderDestroy(decoder);
    return status == RUYI_PICTURE_OK ? status : ruyi_picture_fail(status, "not enough memory", message, room);
}

int ruyi_avif_decode(
    const uint8_t *data, size_t length, const ruyi_picture_facts *facts, uint8_t *samples, char *message, size_t room) {
    avifDecoder *decoder = NULL;
    int status = open_file(data, length, &decoder, message, room);
    if (status != RUYI_PICTURE_OK) return status;
    avifResult result = avif.avifDecoderNextImage(decoder);
    if (result == AVIF_RESULT_OK &&
        (decoder->image->width != facts->width || decoder->image->height != facts->height)) {
        result = AVIF_RESULT_DECODE_COLOR_FAILED;
    }
    if (result == AVIF_RESULT_OK) {
        avifRGBImage target;
        avif.avifRGBImageSetDefaults(&target, decoder->image);
        target.format = facts->channels == 4 ? AVIF_RGB_FORMAT_RGBA : AVIF_RGB_FORMAT_RGB;
        target.depth = 8;
        target.pixels = samples;
        target.rowBytes = facts->width * (uint32_t)facts->channels;
        result = avif.avifImageYUVToRGB(decoder->image, &target);
    }
    avif.avifDecoderDestroy(decoder);
    return result == AVIF_RESULT_OK ? RUYI_PICTURE_OK : fail(result, message, room);
}
