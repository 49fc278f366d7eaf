#include "Private.h"

#include <stdlib.h>
#include <string.h>

#include <jxl/decode.h>
#include <jxl/version.h>

// Older versions take a format that they do not use.
#if JPEGXL_NUMERIC_VERSION < JPEGXL_COMPUTE_NUMERIC_VERSION(0, 9, 0)
#define COLOUR_OF(decoder) (decoder), NULL
#else
#define COLOUR_OF(decoder) (decoder)
#endif

// Every further channel takes as much memory as the picture; real ones have alpha, and maybe depth and a spot colour.
enum { EXTRA_CHANNEL_LIMIT = 4 };

static JxlDecoder *open_decoder(const uint8_t *data, size_t length, int events) {
    JxlDecoder *decoder = JxlDecoderCreate(NULL);
    if (decoder == NULL) return NULL;
    // Samples come as they are stored, so that one function turns the pictures of all formats.
    int is_ready = JxlDecoderSubscribeEvents(decoder, events) == JXL_DEC_SUCCESS &&
                   JxlDecoderSetKeepOrientation(decoder, JXL_TRUE) == JXL_DEC_SUCCESS &&
                   JxlDecoderSetUnpremultiplyAlpha(decoder, JXL_TRUE) == JXL_DEC_SUCCESS &&
                   JxlDecoderSetInput(decoder, data, length) == JXL_DEC_SUCCESS;
    if (is_ready) {
        JxlDecoderCloseInput(decoder);
        return decoder;
    }
    JxlDecoderDestroy(decoder);
    return NULL;
}

static int fail(JxlDecoderStatus state, char *message, size_t room) {
    if (state == JXL_DEC_NEED_MORE_INPUT) {
        return ruyi_picture_fail(RUYI_PICTURE_SHORT, "the file ends early", message, room);
    }
    return ruyi_picture_fail(RUYI_PICTURE_BAD, "its data is damaged", message, room);
}

static int keep_colours(JxlDecoder *decoder, ruyi_picture_facts *facts) {
    JxlColorEncoding known;
    size_t size = 0;
    JxlColorProfileTarget target = JXL_COLOR_PROFILE_TARGET_DATA;
    if (JxlDecoderGetColorAsEncodedProfile(COLOUR_OF(decoder), target, &known) == JXL_DEC_SUCCESS &&
        known.white_point == JXL_WHITE_POINT_D65 && known.transfer_function != JXL_TRANSFER_FUNCTION_GAMMA) {
        int is_grey = known.color_space == JXL_COLOR_SPACE_GRAY;
        if (is_grey || (known.color_space == JXL_COLOR_SPACE_RGB && known.primaries != JXL_PRIMARIES_CUSTOM)) {
            facts->primaries = is_grey ? 1 : known.primaries == JXL_PRIMARIES_P3 ? 12 : (int)known.primaries;
            facts->transfer = (int)known.transfer_function;
            return RUYI_PICTURE_OK;
        }
    }
    if (JxlDecoderGetICCProfileSize(COLOUR_OF(decoder), target, &size) != JXL_DEC_SUCCESS || size == 0) {
        return RUYI_PICTURE_OK;
    }
    uint8_t *profile = malloc(size);
    if (profile == NULL) return RUYI_PICTURE_MEMORY;
    int status = RUYI_PICTURE_OK;
    if (JxlDecoderGetColorAsICCProfile(COLOUR_OF(decoder), target, profile, size) == JXL_DEC_SUCCESS) {
        status = ruyi_picture_keep_profile(facts, profile, size);
    }
    free(profile);
    return status;
}

int ruyi_jxl_facts(const uint8_t *data, size_t length, ruyi_picture_facts *facts, char *message, size_t room) {
    JxlDecoder *decoder = open_decoder(data, length, JXL_DEC_BASIC_INFO | JXL_DEC_COLOR_ENCODING);
    if (decoder == NULL) return ruyi_picture_fail(RUYI_PICTURE_MEMORY, "not enough memory", message, room);
    JxlBasicInfo info;
    int status = RUYI_PICTURE_OK;
    JxlDecoderStatus state = JxlDecoderProcessInput(decoder);
    if (state == JXL_DEC_BASIC_INFO && JxlDecoderGetBasicInfo(decoder, &info) == JXL_DEC_SUCCESS) {
        facts->width = info.xsize;
        facts->height = info.ysize;
        facts->orientation = (int)info.orientation >= 1 && (int)info.orientation <= 8 ? (int)info.orientation : 1;
        facts->channels = info.alpha_bits > 0 ? 4 : 3;
        facts->pictures = info.have_animation ? 0 : 1;
        facts->primaries = facts->transfer = 2;
        state = JxlDecoderProcessInput(decoder);
        if (info.num_extra_channels > EXTRA_CHANNEL_LIMIT) state = JXL_DEC_ERROR;
        status = state == JXL_DEC_COLOR_ENCODING ? keep_colours(decoder, facts) : fail(state, message, room);
    } else {
        status = fail(state, message, room);
    }
    JxlDecoderDestroy(decoder);
    return status;
}

int ruyi_jxl_decode(
    const uint8_t *data, size_t length, const ruyi_picture_facts *facts, uint8_t *samples, char *message, size_t room) {
    size_t bytes = (size_t)facts->width * facts->height * (size_t)facts->channels;
    JxlDecoder *decoder = open_decoder(data, length, JXL_DEC_FULL_IMAGE);
    if (decoder == NULL) return ruyi_picture_fail(RUYI_PICTURE_MEMORY, "not enough memory", message, room);
    JxlPixelFormat format = {(uint32_t)facts->channels, JXL_TYPE_UINT8, JXL_NATIVE_ENDIAN, 0};
    JxlDecoderStatus state = JxlDecoderProcessInput(decoder);
    size_t needed = 0;
    if (state == JXL_DEC_NEED_IMAGE_OUT_BUFFER &&
        (JxlDecoderImageOutBufferSize(decoder, &format, &needed) != JXL_DEC_SUCCESS || needed != bytes ||
         JxlDecoderSetImageOutBuffer(decoder, &format, samples, bytes) != JXL_DEC_SUCCESS)) {
        JxlDecoderDestroy(decoder);
        return ruyi_picture_fail(RUYI_PICTURE_BAD, "the size changed between two readings", message, room);
    }
    if (state == JXL_DEC_NEED_IMAGE_OUT_BUFFER) state = JxlDecoderProcessInput(decoder);
    int status = state == JXL_DEC_FULL_IMAGE ? RUYI_PICTURE_OK : fail(state, message, room);
    JxlDecoderDestroy(decoder);
    return status;
}
