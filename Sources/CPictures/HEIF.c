#include "Private.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <libheif/heif.h>

// libheif brings along several codecs, which take time to load, so it is opened at first use.
#define FUNCTIONS(USE)                                                                                               \
    USE(heif_context_alloc)                                                                                          \
    USE(heif_context_free)                                                                                           \
    USE(heif_context_get_number_of_top_level_images)                                                                 \
    USE(heif_context_get_primary_image_handle)                                                                       \
    USE(heif_context_read_from_memory_without_copy)                                                                  \
    USE(heif_context_set_max_decoding_threads)                                                                       \
    USE(heif_context_set_maximum_image_size_limit)                                                                   \
    USE(heif_decode_image)                                                                                           \
    USE(heif_decoding_options_alloc)                                                                                 \
    USE(heif_decoding_options_free)                                                                                  \
    USE(heif_image_get_height)                                                                                       \
    USE(heif_image_get_plane_readonly)                                                                               \
    USE(heif_image_get_width)                                                                                        \
    USE(heif_image_handle_get_color_profile_type)                                                                    \
    USE(heif_image_handle_get_height)                                                                                \
    USE(heif_image_handle_get_ispe_height)                                                                           \
    USE(heif_image_handle_get_ispe_width)                                                                            \
    USE(heif_image_handle_get_nclx_color_profile)                                                                    \
    USE(heif_image_handle_get_raw_color_profile)                                                                     \
    USE(heif_image_handle_get_raw_color_profile_size)                                                                \
    USE(heif_image_handle_get_width)                                                                                 \
    USE(heif_image_handle_has_alpha_channel)                                                                         \
    USE(heif_image_handle_is_premultiplied_alpha)                                                                    \
    USE(heif_image_handle_release)                                                                                   \
    USE(heif_image_release)                                                                                          \
    USE(heif_nclx_color_profile_free)

static struct {
#define PLACE(name) __typeof__(name) *name;
    FUNCTIONS(PLACE)
#undef PLACE
} heif;
static int is_loaded;

static void load(void) {
    static const char *const files[] = {"libheif.so.1", "libheif.1.dylib", NULL};
#define NAME(name) #name,
    static const char *const names[] = {FUNCTIONS(NAME)};
#undef NAME
    is_loaded = ruyi_picture_open(files, names, (void **)&heif, sizeof(names) / sizeof(*names));
}

// A side that libheif takes.
enum { SIDE_LIMIT = 65535 };

static int fail(struct heif_error error, char *message, size_t room) {
    int status = RUYI_PICTURE_BAD;
    if (error.code == heif_error_Memory_allocation_error) status = RUYI_PICTURE_MEMORY;
    if (error.subcode == heif_suberror_End_of_data) status = RUYI_PICTURE_SHORT;
    if (error.code == heif_error_Unsupported_filetype || error.code == heif_error_Unsupported_feature) {
        status = RUYI_PICTURE_UNAVAILABLE;
    }
    return ruyi_picture_fail(status, error.message != NULL ? error.message : "it is damaged", message, room);
}

// Opens the file's own picture.
static int open_file(
    const uint8_t *data, size_t length, struct heif_context **file, struct heif_image_handle **picture, char *message,
    size_t room) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    if (!is_loaded) return ruyi_picture_fail(RUYI_PICTURE_UNAVAILABLE, "libheif is not installed", message, room);
    *picture = NULL;
    *file = heif.heif_context_alloc();
    if (*file == NULL) return ruyi_picture_fail(RUYI_PICTURE_MEMORY, "not enough memory", message, room);
    heif.heif_context_set_maximum_image_size_limit(*file, SIDE_LIMIT);
    heif.heif_context_set_max_decoding_threads(*file, 0);
    struct heif_error error = heif.heif_context_read_from_memory_without_copy(*file, data, length, NULL);
    if (error.code == heif_error_Ok) error = heif.heif_context_get_primary_image_handle(*file, picture);
    if (error.code == heif_error_Ok) return RUYI_PICTURE_OK;
    // The text of the error belongs to the file.
    int status = fail(error, message, room);
    heif.heif_context_free(*file);
    return status;
}

static int keep_colours(const struct heif_image_handle *picture, ruyi_picture_facts *facts) {
    struct heif_color_profile_nclx *points = NULL;
    size_t size = heif.heif_image_handle_get_raw_color_profile_size(picture);
    enum heif_color_profile_type type = heif.heif_image_handle_get_color_profile_type(picture);
    if ((type == heif_color_profile_type_prof || type == heif_color_profile_type_rICC) && size > 0) {
        void *profile = malloc(size);
        if (profile == NULL) return RUYI_PICTURE_MEMORY;
        struct heif_error error = heif.heif_image_handle_get_raw_color_profile(picture, profile);
        int status = error.code == heif_error_Ok ? ruyi_picture_keep_profile(facts, profile, size) : RUYI_PICTURE_OK;
        free(profile);
        return status;
    }
    if (heif.heif_image_handle_get_nclx_color_profile(picture, &points).code == heif_error_Ok && points != NULL) {
        facts->primaries = (int)points->color_primaries;
        facts->transfer = (int)points->transfer_characteristics;
        heif.heif_nclx_color_profile_free(points);
    }
    return RUYI_PICTURE_OK;
}

int ruyi_heif_facts(
    const uint8_t *data, size_t length, int is_as_stored, ruyi_picture_facts *facts, char *message, size_t room) {
    struct heif_context *file = NULL;
    struct heif_image_handle *picture = NULL;
    int status = open_file(data, length, &file, &picture, message, room);
    if (status != RUYI_PICTURE_OK) return status;
    int width = (is_as_stored ? heif.heif_image_handle_get_ispe_width : heif.heif_image_handle_get_width)(picture);
    int height = (is_as_stored ? heif.heif_image_handle_get_ispe_height : heif.heif_image_handle_get_height)(picture);
    facts->width = width > 0 ? (uint32_t)width : 0;
    facts->height = height > 0 ? (uint32_t)height : 0;
    facts->channels = heif.heif_image_handle_has_alpha_channel(picture) ? 4 : 3;
    facts->is_premultiplied = heif.heif_image_handle_is_premultiplied_alpha(picture);
    facts->orientation = 1;
    facts->pictures = heif.heif_context_get_number_of_top_level_images(file);
    facts->primaries = facts->transfer = 2;
    status = keep_colours(picture, facts);
    heif.heif_image_handle_release(picture);
    heif.heif_context_free(file);
    return status == RUYI_PICTURE_OK ? status : ruyi_picture_fail(status, "not enough memory", message, room);
}

static int copy(
    const struct heif_image *image, const ruyi_picture_facts *facts, uint8_t *samples, char *message, size_t room) {
    int stride = 0;
    const uint8_t *plane = heif.heif_image_get_plane_readonly(image, heif_channel_interleaved, &stride);
    size_t row = (size_t)facts->width * (size_t)facts->channels;
    if (plane == NULL || stride < 0 || (size_t)stride < row ||
        heif.heif_image_get_width(image, heif_channel_interleaved) != (int)facts->width ||
        heif.heif_image_get_height(image, heif_channel_interleaved) != (int)facts->height) {
        return ruyi_picture_fail(RUYI_PICTURE_BAD, "its data has another size than its header", message, room);
    }
    for (uint32_t y = 0; y < facts->height; y++) memcpy(samples + row * y, plane + (size_t)stride * y, row);
    return RUYI_PICTURE_OK;
}

int ruyi_heif_decode(
    const uint8_t *data, size_t length, int is_as_stored, const ruyi_picture_facts *facts, uint8_t *samples,
    char *message, size_t room) {
    struct heif_context *file = NULL;
    struct heif_image_handle *picture = NULL;
    int status = open_file(data, length, &file, &picture, message, room);
    if (status != RUYI_PICTURE_OK) return status;
    struct heif_image *image = NULL;
    struct heif_decoding_options *options = heif.heif_decoding_options_alloc();
    if (options == NULL) {
        status = ruyi_picture_fail(RUYI_PICTURE_MEMORY, "not enough memory", message, room);
    } else {
        options->ignore_transformations = (uint8_t)is_as_stored;
        options->convert_hdr_to_8bit = 1;
        options->strict_decoding = 1;
        enum heif_chroma layout = facts->channels == 4 ? heif_chroma_interleaved_RGBA : heif_chroma_interleaved_RGB;
        struct heif_error error = heif.heif_decode_image(picture, &image, heif_colorspace_RGB, layout, options);
        status = error.code == heif_error_Ok && image != NULL ? copy(image, facts, samples, message, room)
                                                              : fail(error, message, room);
        heif.heif_decoding_options_free(options);
    }
    if (image != NULL) heif.heif_image_release(image);
    heif.heif_image_handle_release(picture);
    heif.heif_context_free(file);
    return status;
}
