#include "Private.h"

#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

// Opens a file; its profile and flags are looked at without decoding.
static int open_file(const uint8_t *data, size_t length, WebPDemuxer **file, char *message, size_t room) {
    WebPData bytes = {data, length};
    WebPDemuxState state = WEBP_DEMUX_PARSE_ERROR;
    *file = WebPDemuxPartial(&bytes, &state);
    if (*file != NULL && state == WEBP_DEMUX_DONE) return RUYI_PICTURE_OK;
    WebPDemuxDelete(*file);
    *file = NULL;
    int is_short = state == WEBP_DEMUX_PARSING_HEADER || state == WEBP_DEMUX_PARSED_HEADER;
    return ruyi_picture_fail(
        is_short ? RUYI_PICTURE_SHORT : RUYI_PICTURE_BAD, is_short ? "the file ends early" : "the chunks are damaged",
        message, room);
}

int ruyi_webp_facts(const uint8_t *data, size_t length, ruyi_picture_facts *facts, char *message, size_t room) {
    WebPDemuxer *file = NULL;
    int status = open_file(data, length, &file, message, room);
    if (status != RUYI_PICTURE_OK) return status;
    WebPIterator frame;
    WebPChunkIterator chunk;
    facts->width = WebPDemuxGetI(file, WEBP_FF_CANVAS_WIDTH);
    facts->height = WebPDemuxGetI(file, WEBP_FF_CANVAS_HEIGHT);
    facts->pictures = (int)WebPDemuxGetI(file, WEBP_FF_FRAME_COUNT);
    facts->orientation = 1;
    facts->primaries = facts->transfer = 2;
    facts->channels = 3;
    if (WebPDemuxGetFrame(file, 1, &frame)) {
        int fills = frame.x_offset == 0 && frame.y_offset == 0 && (uint32_t)frame.width == facts->width &&
                    (uint32_t)frame.height == facts->height;
        if (frame.has_alpha || !fills) facts->channels = 4;
        WebPDemuxReleaseIterator(&frame);
    } else {
        status = ruyi_picture_fail(RUYI_PICTURE_BAD, "the file has no picture", message, room);
    }
    if (status == RUYI_PICTURE_OK && WebPDemuxGetChunk(file, "ICCP", 1, &chunk)) {
        status = ruyi_picture_keep_profile(facts, chunk.chunk.bytes, chunk.chunk.size);
        WebPDemuxReleaseChunkIterator(&chunk);
    }
    WebPDemuxDelete(file);
    return status;
}

int ruyi_webp_decode(
    const uint8_t *data, size_t length, const ruyi_picture_facts *facts, uint8_t *samples, char *message, size_t room) {
    WebPDemuxer *file = NULL;
    int status = open_file(data, length, &file, message, room);
    if (status != RUYI_PICTURE_OK) return status;
    WebPIterator frame;
    size_t row = (size_t)facts->width * (size_t)facts->channels;
    // What a first frame leaves free of the canvas is transparent.
    memset(samples, 0, row * facts->height);
    if (!WebPDemuxGetFrame(file, 1, &frame)) {
        WebPDemuxDelete(file);
        return ruyi_picture_fail(RUYI_PICTURE_BAD, "the file has no picture", message, room);
    }
    // The canvas holds every frame of a file that could be opened.
    uint8_t *place = samples + row * (size_t)frame.y_offset + (size_t)frame.x_offset * (size_t)facts->channels;
    size_t room_left = row * facts->height - (size_t)(place - samples);
    uint32_t right = (uint32_t)frame.x_offset + (uint32_t)frame.width;
    uint32_t bottom = (uint32_t)frame.y_offset + (uint32_t)frame.height;
    uint8_t *done = NULL;
    if (right <= facts->width && bottom <= facts->height) {
        done = (facts->channels == 4 ? WebPDecodeRGBAInto : WebPDecodeRGBInto)(
            frame.fragment.bytes, frame.fragment.size, place, room_left, (int)row);
    }
    WebPDemuxReleaseIterator(&frame);
    WebPDemuxDelete(file);
    return done != NULL ? RUYI_PICTURE_OK : ruyi_picture_fail(RUYI_PICTURE_BAD, "its data is damaged", message, room);
}
