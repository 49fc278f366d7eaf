#include "Private.h"

#include <stdlib.h>
#include <string.h>

#include <lcms2.h>

struct ruyi_color {
    cmsHTRANSFORM transform;
    int channels;
    int has_inks;
    int is_grey;
};

// Takes over the profile.
static int make(ruyi_color **color, cmsHPROFILE profile, int channels, int has_inks) {
    *color = NULL;
    if (profile == NULL) return RUYI_PICTURE_BAD;
    cmsColorSpaceSignature space = cmsGetColorSpace(profile);
    cmsUInt32Number extra = EXTRA_SH(channels - 3);
    cmsUInt32Number source = COLORSPACE_SH(PT_RGB) | CHANNELS_SH(3) | BYTES_SH(1) | extra;
    cmsUInt32Number target = source;
    int fits = space == cmsSigRgbData && !has_inks;
    if (has_inks) {
        fits = space == cmsSigCmykData;
        source = TYPE_CMYK_8;
        target = TYPE_RGB_8;
    } else if (space == cmsSigGrayData) {
        // The three samples of a grey pixel are the same, and the first is enough.
        fits = 1;
        source = COLORSPACE_SH(PT_GRAY) | CHANNELS_SH(1) | BYTES_SH(1) | EXTRA_SH(channels - 1);
    }
    cmsHPROFILE standard = fits ? cmsCreate_sRGBProfile() : NULL;
    cmsHTRANSFORM transform =
        standard != NULL ? cmsCreateTransform(profile, source, standard, target, INTENT_PERCEPTUAL, 0) : NULL;
    if (standard != NULL) cmsCloseProfile(standard);
    cmsCloseProfile(profile);
    if (transform == NULL) return RUYI_PICTURE_BAD;
    *color = malloc(sizeof(**color));
    if (*color == NULL) {
        cmsDeleteTransform(transform);
        return RUYI_PICTURE_MEMORY;
    }
    **color = (ruyi_color){transform, channels, has_inks, space == cmsSigGrayData};
    return RUYI_PICTURE_OK;
}

int ruyi_color_of_profile(
    ruyi_color **color, const uint8_t *profile, size_t length, int channels, int has_inks, char *name, size_t room) {
    cmsHPROFILE opened = cmsOpenProfileFromMem(profile, (cmsUInt32Number)length);
    name[0] = 0;
    if (opened != NULL) cmsGetProfileInfoASCII(opened, cmsInfoDescription, "en", "US", name, (cmsUInt32Number)room);
    return make(color, opened, channels, has_inks);
}

int ruyi_color_of_primaries(ruyi_color **color, const double chromaticities[8], double gamma, int channels) {
    // The curve of IEC 61966-2-1.
    static const double standard[5] = {2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045};
    cmsCIExyY white = {chromaticities[0], chromaticities[1], 1};
    cmsCIExyYTRIPLE primaries = {
        {chromaticities[2], chromaticities[3], 1},
        {chromaticities[4], chromaticities[5], 1},
        {chromaticities[6], chromaticities[7], 1},
    };
    cmsToneCurve *curve = gamma > 0 ? cmsBuildGamma(NULL, gamma) : cmsBuildParametricToneCurve(NULL, 4, standard);
    if (curve == NULL) return RUYI_PICTURE_MEMORY;
    cmsToneCurve *curves[3] = {curve, curve, curve};
    cmsHPROFILE profile = cmsCreateRGBProfile(&white, &primaries, curves);
    cmsFreeToneCurve(curve);
    return make(color, profile, channels, 0);
}

// The change that a conversion makes to one colour.
static int change_of(const ruyi_color *color, uint8_t red, uint8_t green, uint8_t blue) {
    const uint8_t pixel[4] = {red, green, blue, 255};
    uint8_t changed[4] = {0};
    ruyi_color_convert(color, pixel, changed, 1);
    int largest = 0;
    for (int channel = 0; channel < 3; channel++) {
        int change = abs((int)changed[channel] - (int)pixel[channel]);
        if (change > largest) largest = change;
    }
    return largest;
}

int ruyi_color_largest_change(const ruyi_color *color) {
    if (color->has_inks) return 255;
    int largest = 0;
    for (int red = 0; red < 256; red += color->is_grey ? 1 : 15) {
        for (int green = color->is_grey ? red : 0; green < 256; green += color->is_grey ? 256 : 15) {
            for (int blue = color->is_grey ? red : 0; blue < 256; blue += color->is_grey ? 256 : 15) {
                int change = change_of(color, (uint8_t)red, (uint8_t)green, (uint8_t)blue);
                if (change > largest) largest = change;
            }
        }
    }
    return largest;
}

void ruyi_color_convert(const ruyi_color *color, const uint8_t *samples, uint8_t *target, uint32_t pixels) {
    cmsDoTransform(color->transform, samples, target, pixels);
}

void ruyi_color_free(ruyi_color *color) {
    if (color == NULL) return;
    cmsDeleteTransform(color->transform);
    free(color);
}
