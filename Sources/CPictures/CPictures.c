#include "Private.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jxl/decode.h>
#include <lcms2.h>
#include <webp/decode.h>

enum { PROFILE_LIMIT = 16 << 20 };

int ruyi_picture_fail(int status, const char *text, char *message, size_t room) {
    snprintf(message, room, "%s", text);
    return status;
}

int ruyi_picture_keep_profile(ruyi_picture_facts *facts, const void *profile, size_t length) {
    if (length == 0 || length > PROFILE_LIMIT) return RUYI_PICTURE_OK;
    facts->profile = malloc(length);
    if (facts->profile == NULL) return RUYI_PICTURE_MEMORY;
    memcpy(facts->profile, profile, length);
    facts->profile_length = length;
    return RUYI_PICTURE_OK;
}

void ruyi_picture_facts_clear(ruyi_picture_facts *facts) {
    free(facts->profile);
    memset(facts, 0, sizeof(*facts));
}

int ruyi_picture_open(const char *const *files, const char *const *names, void **places, size_t count) {
    void *library = NULL;
    for (; *files != NULL && library == NULL; files++) library = dlopen(*files, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return 0;
    for (size_t index = 0; index < count; index++) {
        places[index] = dlsym(library, names[index]);
        if (places[index] == NULL) return 0;
    }
    return 1;
}

void ruyi_picture_versions(char *text, size_t room) {
    int webp = WebPGetDecoderVersion();
    unsigned jxl = JxlDecoderVersion();
    int cms = cmsGetEncodedCMMversion();
    snprintf(
        text, room, "libwebp %d.%d.%d,libjxl %u.%u.%u,liblcms2 %d.%d", webp >> 16, webp >> 8 & 255, webp & 255,
        jxl / 1000000, jxl / 1000 % 1000, jxl % 1000, cms / 1000, cms / 10 % 100);
}
