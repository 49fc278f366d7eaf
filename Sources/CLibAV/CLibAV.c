#include "Private.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <libavutil/mem.h>

static _Thread_local char kept[160];

static void keep_line(void *context, int level, const char *format, va_list arguments) {
    (void)context;
    if (level > AV_LOG_ERROR) return;
    vsnprintf(kept, sizeof(kept), format, arguments);
    for (size_t end = strlen(kept); end > 0 && (kept[end - 1] == '\n' || kept[end - 1] == '\r'); end--) {
        kept[end - 1] = 0;
    }
}

static void install(void) { av_log_set_callback(keep_line); }

void ruyi_av_begin(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
    kept[0] = 0;
    errno = 0;
}

int ruyi_av_fail(int status, const char *what, int error, char *message, size_t room) {
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    if (error != 0) av_strerror(error, text, sizeof(text));
    snprintf(
        message, room, "%s%s%s%s%s%s", what, error != 0 ? ": " : "", text, kept[0] != 0 ? " (" : "", kept,
        kept[0] != 0 ? ")" : "");
    return status;
}

int ruyi_av_status(int error, int otherwise) {
    switch (error) {
    case AVERROR(ENOMEM):
    case AVERROR(EMFILE):
    case AVERROR(ENFILE): return RUYI_AV_MEMORY;
    case AVERROR(ENOSPC):
    case AVERROR(EDQUOT):
    case AVERROR(EFBIG):
    case AVERROR(EIO):
    case AVERROR(EPIPE):
    case AVERROR(ESTALE): return RUYI_AV_IO;
    // The encoders' own libraries have no number for memory or threads that the system refuses.
    default: return errno == ENOMEM ? RUYI_AV_MEMORY : otherwise;
    }
}

char *ruyi_av_address(const char *path) {
    size_t length = strlen(path);
    char *address = av_malloc(length + 6);
    if (address == NULL) return NULL;
    memcpy(address, "file:", 5);
    memcpy(address + 5, path, length + 1);
    return address;
}

// Names of the encoders of a kind of video that this libav has, as " a, b".
static void list_encoders(enum AVCodecID kind, char *text, size_t room) {
    void *state = NULL;
    const AVCodec *codec;
    size_t used = 0;
    text[0] = 0;
    while ((codec = av_codec_iterate(&state)) != NULL) {
        if (!av_codec_is_encoder(codec) || codec->id != kind) continue;
        int more = snprintf(text + used, room - used, "%s%s", used > 0 ? ", " : "", codec->name);
        if (more < 0 || (size_t)more >= room - used) break;
        used += (size_t)more;
    }
    if (used == 0) snprintf(text, room, "none");
}

static enum AVCodecID kind_of(const char *encoder) {
    const struct {
        const char *encoder;
        enum AVCodecID kind;
    } known[] = {
        {"libx264", AV_CODEC_ID_H264}, {"libx265", AV_CODEC_ID_HEVC}, {"libvpx-vp9", AV_CODEC_ID_VP9},
        {"libaom-av1", AV_CODEC_ID_AV1}, {"ffv1", AV_CODEC_ID_FFV1}, {"prores_ks", AV_CODEC_ID_PRORES},
        {"libwebp_anim", AV_CODEC_ID_WEBP},
    };
    for (size_t at = 0; at < sizeof(known) / sizeof(known[0]); at++) {
        if (strcmp(known[at].encoder, encoder) == 0) return known[at].kind;
    }
    return AV_CODEC_ID_NONE;
}

// Whether an encoder takes a pixel format; those that say nothing are asked when they are opened.
static int takes(const AVCodec *codec, enum AVPixelFormat pixels) {
    if (codec->pix_fmts == NULL) return 1;
    for (const enum AVPixelFormat *known = codec->pix_fmts; *known != AV_PIX_FMT_NONE; known++) {
        if (*known == pixels) return 1;
    }
    return 0;
}

int ruyi_av_check(const char *container, const char *encoder, const char *pixel_format, char *message, size_t room) {
    ruyi_av_begin();
    const AVCodec *codec = avcodec_find_encoder_by_name(encoder);
    if (codec == NULL) {
        char others[256];
        list_encoders(kind_of(encoder), others, sizeof(others));
        snprintf(message, room, "this libav has no encoder %s; it has for the same format: %s", encoder, others);
        return RUYI_AV_UNAVAILABLE;
    }
    const AVOutputFormat *format = av_guess_format(container, NULL, NULL);
    if (format == NULL) {
        snprintf(message, room, "this libav cannot write %s files", container);
        return RUYI_AV_UNAVAILABLE;
    }
    if (avformat_query_codec(format, codec->id, FF_COMPLIANCE_NORMAL) == 0) {
        snprintf(message, room, "%s files cannot hold what %s makes", container, encoder);
        return RUYI_AV_UNAVAILABLE;
    }
    if (!takes(codec, av_get_pix_fmt(pixel_format))) {
        snprintf(message, room, "%s as this libav has it does not take the pixel format %s", encoder, pixel_format);
        return RUYI_AV_UNAVAILABLE;
    }
    return RUYI_AV_OK;
}

static void append_version(char *text, size_t room, const char *name, unsigned version) {
    size_t used = strlen(text);
    snprintf(
        text + used, room - used, "%s%s %u.%u.%u", used > 0 ? ", " : "", name, AV_VERSION_MAJOR(version),
        AV_VERSION_MINOR(version), AV_VERSION_MICRO(version));
}

void ruyi_av_versions(char *text, size_t room) {
    text[0] = 0;
    append_version(text, room, "libavformat", avformat_version());
    append_version(text, room, "libavcodec", avcodec_version());
    append_version(text, room, "libswscale", swscale_version());
    append_version(text, room, "libavutil", avutil_version());
}
