#include "Private.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include <libavutil/mem.h>

// Bytes in memory as libav reads a file.
struct bytes {
    const uint8_t *data;
    size_t length, position;
};

static int read_bytes(void *opaque, uint8_t *target, int count) {
    struct bytes *bytes = opaque;
    size_t left = bytes->length - bytes->position;
    size_t got = (size_t)count < left ? (size_t)count : left;
    if (got == 0) return AVERROR_EOF;
    memcpy(target, bytes->data + bytes->position, got);
    bytes->position += got;
    return (int)got;
}

// The first frame of a GIF as a packet.
static int read_first_frame(struct bytes *bytes, AVPacket *packet) {
    enum { BUFFER = 1 << 15 };
    unsigned char *buffer = av_malloc(BUFFER);
    AVIOContext *stream = buffer == NULL ? NULL : avio_alloc_context(buffer, BUFFER, 0, bytes, read_bytes, NULL, NULL);
    AVFormatContext *format = stream == NULL ? NULL : avformat_alloc_context();
    int error = AVERROR(ENOMEM);
    if (format != NULL) {
        format->pb = stream;
        error = avformat_open_input(&format, NULL, av_find_input_format("gif"), NULL);
        if (error >= 0) error = av_read_frame(format, packet);
        avformat_close_input(&format);
    }
    if (stream != NULL) buffer = stream->buffer;
    avio_context_free(&stream);
    av_free(buffer);
    return error;
}

// Decodes a packet that holds a whole picture.
static int decode(enum AVCodecID kind, AVPacket *packet, int64_t pixels, AVFrame *frame) {
    AVCodecContext *decoder = avcodec_alloc_context3(avcodec_find_decoder(kind));
    if (decoder == NULL) return AVERROR(ENOMEM);
    decoder->max_pixels = pixels;
    decoder->thread_count = 1;
    decoder->err_recognition = AV_EF_EXPLODE;
    int error = avcodec_open2(decoder, NULL, NULL);
    if (error >= 0) error = avcodec_send_packet(decoder, packet);
    if (error >= 0) error = avcodec_send_packet(decoder, NULL);
    if (error >= 0) error = avcodec_receive_frame(decoder, frame);
    avcodec_free_context(&decoder);
    return error;
}

// Hands over a frame's samples with alpha, whatever their form.
static int deliver(const AVFrame *frame, int width, int height, uint8_t *rgba) {
    if (frame->width != width || frame->height != height) return AVERROR_INVALIDDATA;
    struct SwsContext *scaler = sws_getContext(
        width, height, frame->format, width, height, AV_PIX_FMT_RGBA, RUYI_AV_SCALING, NULL, NULL, NULL);
    AVFrame *target = av_frame_alloc();
    int error = scaler == NULL || target == NULL ? AVERROR(ENOMEM) : 0;
    if (error >= 0) {
        target->format = AV_PIX_FMT_RGBA;
        target->width = width;
        target->height = height;
        error = av_frame_get_buffer(target, 0);
    }
    if (error >= 0) {
        error = sws_scale(
            scaler, (const uint8_t *const *)frame->data, frame->linesize, 0, height, target->data, target->linesize);
    }
    for (int y = 0; error >= 0 && y < height; y++) {
        size_t row = (size_t)width * 4;
        memcpy(rgba + row * (size_t)y, target->data[0] + (ptrdiff_t)y * target->linesize[0], row);
    }
    av_frame_free(&target);
    sws_freeContext(scaler);
    return error;
}

int ruyi_av_still(
    const uint8_t *data, size_t length, int is_gif, int width, int height, uint8_t *rgba, char *message, size_t room) {
    ruyi_av_begin();
    struct bytes bytes = {data, length, 0};
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    int error = packet == NULL || frame == NULL ? AVERROR(ENOMEM) : 0;
    if (error >= 0 && is_gif) {
        error = read_first_frame(&bytes, packet);
    } else if (error >= 0 && length <= INT_MAX - AV_INPUT_BUFFER_PADDING_SIZE) {
        error = av_new_packet(packet, (int)length);
        if (error >= 0) memcpy(packet->data, data, length);
    } else if (error >= 0) {
        error = AVERROR_INVALIDDATA;
    }
    if (error >= 0) {
        // Buffers have a border.
        int64_t pixels = ((int64_t)width + 128) * ((int64_t)height + 128);
        error = decode(is_gif ? AV_CODEC_ID_GIF : AV_CODEC_ID_BMP, packet, pixels, frame);
    }
    if (error >= 0) error = deliver(frame, width, height, rgba);
    av_frame_free(&frame);
    av_packet_free(&packet);
    if (error >= 0) return RUYI_AV_OK;
    return ruyi_av_fail(ruyi_av_status(error, RUYI_AV_BAD), "its data is damaged", error, message, room);
}
