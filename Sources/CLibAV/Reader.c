#include "Private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <libavutil/common.h>
#include <libavutil/mem.h>

struct ruyi_av_reader {
    AVFormatContext *format;
    AVCodecContext *decoder;
    struct SwsContext *scaler;
    AVFrame *frame;
    AVFrame *target;
    AVPacket *packet;
    int stream;
    int width, height;
    int scaler_format, scaler_space, scaler_range;
    int drained;
    int failed;
};

// What the program itself writes. Other decoders are let alone: libav has hundreds, and some of them end the process on
// damaged files.
static const char decoders[] = "h264,hevc,vp9,libvpx-vp9,av1,libdav1d,libaom-av1,prores,ffv1,gif";

static int is_known(enum AVCodecID codec) {
    return codec == AV_CODEC_ID_H264 || codec == AV_CODEC_ID_HEVC || codec == AV_CODEC_ID_VP9 ||
           codec == AV_CODEC_ID_AV1 || codec == AV_CODEC_ID_PRORES || codec == AV_CODEC_ID_FFV1 ||
           codec == AV_CODEC_ID_GIF;
}

// Opens a file's container, probing little and following no references to other files.
static int open_container(AVFormatContext **format, const char *path) {
    char *address = ruyi_av_address(path);
    if (address == NULL) return AVERROR(ENOMEM);
    AVDictionary *options = NULL;
    int error = av_dict_set(&options, "protocol_whitelist", "file", 0);
    if (error >= 0) error = av_dict_set(&options, "format_whitelist", "mov,matroska,gif", 0);
    if (error >= 0) error = av_dict_set(&options, "codec_whitelist", decoders, 0);
    if (error >= 0) error = avformat_open_input(format, address, NULL, &options);
    av_dict_free(&options);
    av_free(address);
    return error;
}

// What an error of reading means. libav calls files that are cut short input errors, so the disk is asked itself.
static int read_status(int error, const char *path) {
    int status = ruyi_av_status(error, RUYI_AV_BAD);
    if (status != RUYI_AV_IO) return status;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return RUYI_AV_IO;
    char block[4096];
    ssize_t count;
    do {
        count = read(descriptor, block, sizeof(block));
    } while (count > 0 || (count < 0 && errno == EINTR));
    close(descriptor);
    return count < 0 ? RUYI_AV_IO : RUYI_AV_BAD;
}

static int open_failure(int error, const char *path, char *message, size_t room) {
    int status = read_status(error, path);
    if (error == AVERROR(ENOENT) || error == AVERROR(EACCES) || error == AVERROR(EISDIR) || error == AVERROR(ENOTDIR)) {
        status = RUYI_AV_OPEN;
    }
    return ruyi_av_fail(status, status == RUYI_AV_OPEN ? "cannot open" : "is not a video", error, message, room);
}

static void copy_name(char *target, size_t room, const char *name) {
    snprintf(target, room, "%s", name != NULL ? name : "unknown");
}

static void fill_facts(ruyi_av_reader *reader, AVStream *stream, ruyi_av_facts *facts) {
    AVCodecContext *decoder = reader->decoder;
    AVRational rate = stream->avg_frame_rate.num > 0 ? stream->avg_frame_rate : stream->r_frame_rate;
    facts->width = decoder->width;
    facts->height = decoder->height;
    facts->rate_num = rate.num;
    facts->rate_den = rate.den;
    facts->duration_us = reader->format->duration;
    if (stream->duration > 0) {
        facts->duration_us = av_rescale_q(stream->duration, stream->time_base, AV_TIME_BASE_Q);
    }
    copy_name(facts->codec, sizeof(facts->codec), avcodec_get_name(decoder->codec_id));
    copy_name(facts->pixel_format, sizeof(facts->pixel_format), av_get_pix_fmt_name(decoder->pix_fmt));
    copy_name(facts->container, sizeof(facts->container), reader->format->iformat->name);
    copy_name(facts->primaries, sizeof(facts->primaries), av_color_primaries_name(decoder->color_primaries));
    copy_name(facts->transfer, sizeof(facts->transfer), av_color_transfer_name(decoder->color_trc));
    copy_name(facts->matrix, sizeof(facts->matrix), av_color_space_name(decoder->colorspace));
    copy_name(facts->range, sizeof(facts->range), av_color_range_name(decoder->color_range));
}

// Looks into the streams, which decodes frames of them: the limit on their size holds here too.
static int probe(AVFormatContext *format, int64_t max_pixels) {
    unsigned count = format->nb_streams;
    AVDictionary **options = av_calloc(count + 1, sizeof(*options));
    int error = options == NULL ? AVERROR(ENOMEM) : 0;
    for (unsigned index = 0; error >= 0 && index < count; index++) {
        error = av_dict_set_int(&options[index], "max_pixels", max_pixels, 0);
    }
    if (error >= 0) error = avformat_find_stream_info(format, options);
    for (unsigned index = 0; options != NULL && index < count; index++) av_dict_free(&options[index]);
    av_free(options);
    return error;
}

static int open_decoder(ruyi_av_reader *reader, int64_t max_pixels) {
    const AVCodec *codec = NULL;
    int error = probe(reader->format, max_pixels);
    if (error < 0) return error;
    reader->stream = error = av_find_best_stream(reader->format, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);
    if (error < 0) return error;
    if (!is_known(reader->format->streams[error]->codecpar->codec_id)) return AVERROR_DECODER_NOT_FOUND;
    reader->decoder = avcodec_alloc_context3(codec);
    reader->frame = av_frame_alloc();
    reader->packet = av_packet_alloc();
    if (reader->decoder == NULL || reader->frame == NULL || reader->packet == NULL) return AVERROR(ENOMEM);
    error = avcodec_parameters_to_context(reader->decoder, reader->format->streams[reader->stream]->codecpar);
    if (error < 0) return error;
    reader->decoder->max_pixels = max_pixels;
    reader->decoder->thread_count = 2;
    reader->decoder->err_recognition = AV_EF_EXPLODE | AV_EF_CRCCHECK;
    return avcodec_open2(reader->decoder, codec, NULL);
}

int ruyi_av_reader_open(
    ruyi_av_reader **result, const char *path, int64_t max_pixels, ruyi_av_facts *facts, char *message, size_t room) {
    ruyi_av_begin();
    *result = NULL;
    memset(facts, 0, sizeof(*facts));
    ruyi_av_reader *reader = av_mallocz(sizeof(*reader));
    if (reader == NULL) return ruyi_av_fail(RUYI_AV_MEMORY, "not enough memory", 0, message, room);
    reader->stream = -1;
    int error = open_container(&reader->format, path);
    if (error >= 0) error = open_decoder(reader, max_pixels);
    if (error == AVERROR_DECODER_NOT_FOUND && reader->stream >= 0) {
        snprintf(
            message, room, "is %s, and only h264, hevc, vp9, av1, prores, ffv1 and gif are read",
            avcodec_get_name(reader->format->streams[reader->stream]->codecpar->codec_id));
        ruyi_av_reader_free(reader);
        return RUYI_AV_BAD;
    }
    if (error < 0) {
        int status = open_failure(error, path, message, room);
        ruyi_av_reader_free(reader);
        return status;
    }
    AVCodecContext *decoder = reader->decoder;
    int64_t pixels = (int64_t)decoder->width * decoder->height;
    if (decoder->width <= 0 || decoder->height <= 0 || pixels > max_pixels) {
        snprintf(message, room, "is a video of %dx%d pixels", decoder->width, decoder->height);
        ruyi_av_reader_free(reader);
        return RUYI_AV_BAD;
    }
    reader->width = decoder->width;
    reader->height = decoder->height;
    fill_facts(reader, reader->format->streams[reader->stream], facts);
    *result = reader;
    return RUYI_AV_OK;
}

// A scaler for frames like this one; it is kept until they change.
static int prepare_scaler(ruyi_av_reader *reader) {
    AVFrame *frame = reader->frame;
    if (reader->scaler != NULL && reader->scaler_format == frame->format &&
        reader->scaler_space == (int)frame->colorspace && reader->scaler_range == (int)frame->color_range) {
        return 0;
    }
    sws_freeContext(reader->scaler);
    reader->scaler = sws_getContext(
        frame->width, frame->height, frame->format, frame->width, frame->height, AV_PIX_FMT_RGB24, RUYI_AV_SCALING,
        NULL, NULL, NULL);
    if (reader->scaler == NULL) return AVERROR(ENOMEM);
    int space = SWS_CS_ITU709;
    if (frame->colorspace == AVCOL_SPC_BT470BG || frame->colorspace == AVCOL_SPC_SMPTE170M) space = SWS_CS_ITU601;
    if (frame->colorspace == AVCOL_SPC_BT2020_NCL) space = SWS_CS_BT2020;
    const int *matrix = sws_getCoefficients(space);
    // RGB sources take no details and need none.
    sws_setColorspaceDetails(
        reader->scaler, matrix, frame->color_range == AVCOL_RANGE_JPEG, matrix, 1, 0, 1 << 16, 1 << 16);
    reader->scaler_format = frame->format;
    reader->scaler_space = (int)frame->colorspace;
    reader->scaler_range = (int)frame->color_range;
    if (reader->target != NULL) return 0;
    reader->target = av_frame_alloc();
    if (reader->target == NULL) return AVERROR(ENOMEM);
    reader->target->format = AV_PIX_FMT_RGB24;
    reader->target->width = frame->width;
    reader->target->height = frame->height;
    return av_frame_get_buffer(reader->target, 0);
}

static int deliver(ruyi_av_reader *reader, uint8_t *rgb) {
    AVFrame *frame = reader->frame;
    if (frame->width != reader->width || frame->height != reader->height) return AVERROR_INVALIDDATA;
    int error = prepare_scaler(reader);
    if (error < 0) return error;
    error = sws_scale(
        reader->scaler, (const uint8_t *const *)frame->data, frame->linesize, 0, frame->height, reader->target->data,
        reader->target->linesize);
    if (error < 0) return error;
    size_t row = (size_t)reader->width * 3;
    for (int y = 0; y < reader->height; y++) {
        memcpy(rgb + row * (size_t)y, reader->target->data[0] + (ptrdiff_t)y * reader->target->linesize[0], row);
    }
    return 0;
}

// Gives the decoder the next packet of the stream, or its end.
static int feed(ruyi_av_reader *reader) {
    for (;;) {
        int error = av_read_frame(reader->format, reader->packet);
        if (error == AVERROR_EOF) {
            reader->drained = 1;
            return avcodec_send_packet(reader->decoder, NULL);
        }
        if (error < 0) return error;
        if (reader->packet->stream_index == reader->stream) error = avcodec_send_packet(reader->decoder, reader->packet);
        int wanted = reader->packet->stream_index == reader->stream;
        av_packet_unref(reader->packet);
        if (error < 0 || wanted) return error;
    }
}

int ruyi_av_reader_next(ruyi_av_reader *reader, uint8_t *rgb, char *message, size_t room) {
    ruyi_av_begin();
    if (reader->failed) return ruyi_av_fail(RUYI_AV_BAD, "the video is damaged", 0, message, room);
    for (;;) {
        int error = avcodec_receive_frame(reader->decoder, reader->frame);
        if (error == AVERROR_EOF) return RUYI_AV_END;
        if (error >= 0) {
            error = deliver(reader, rgb);
            av_frame_unref(reader->frame);
            if (error >= 0) return RUYI_AV_OK;
        } else if (error == AVERROR(EAGAIN) && !reader->drained) {
            error = feed(reader);
        }
        if (error < 0) {
            reader->failed = 1;
            // The address begins with "file:".
            int status = read_status(error, reader->format->url + 5);
            return ruyi_av_fail(status, "the video is damaged", error, message, room);
        }
    }
}

int ruyi_av_reader_tag(ruyi_av_reader *reader, int index, const char **key, const char **value) {
    AVDictionaryEntry *entry = NULL;
    do {
        entry = av_dict_get(reader->format->metadata, "", entry, AV_DICT_IGNORE_SUFFIX);
    } while (entry != NULL && index-- > 0);
    if (entry == NULL) return 0;
    *key = entry->key;
    *value = entry->value;
    return 1;
}

void ruyi_av_reader_free(ruyi_av_reader *reader) {
    if (reader == NULL) return;
    ruyi_av_begin();
    avcodec_free_context(&reader->decoder);
    avformat_close_input(&reader->format);
    sws_freeContext(reader->scaler);
    av_frame_free(&reader->frame);
    av_frame_free(&reader->target);
    av_packet_free(&reader->packet);
    av_free(reader);
}

int ruyi_av_count(
    const char *path, int rate_num, int rate_den, int64_t *packets, int64_t *duration, char *message, size_t room) {
    ruyi_av_begin();
    AVFormatContext *format = NULL;
    int error = open_container(&format, path);
    if (error < 0) return open_failure(error, path, message, room);
    int stream = error = av_find_best_stream(format, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    AVPacket *packet = av_packet_alloc();
    if (packet == NULL) error = AVERROR(ENOMEM);
    int64_t first = INT64_MAX;
    int64_t last = INT64_MIN;
    *packets = 0;
    while (error >= 0 && (error = av_read_frame(format, packet)) >= 0) {
        if (packet->stream_index == stream && packet->pts != AV_NOPTS_VALUE) {
            *packets += 1;
            if (packet->pts < first) first = packet->pts;
            if (packet->pts > last) last = packet->pts;
        }
        av_packet_unref(packet);
    }
    if (error == AVERROR_EOF) error = 0;
    if (error >= 0) {
        // The last frame is shown for one interval. Times in a file may be any numbers.
        AVRational interval = {rate_den, rate_num};
        int64_t span = *packets == 0 ? 0 : av_sat_sub64(last, first);
        *duration = *packets == 0 ? 0 : av_sat_add64(av_rescale_q(span, format->streams[stream]->time_base, interval), 1);
    }
    av_packet_free(&packet);
    avformat_close_input(&format);
    return error < 0 ? ruyi_av_fail(read_status(error, path), "cannot be read back", error, message, room) : RUYI_AV_OK;
}
