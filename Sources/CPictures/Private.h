// What the files of CPictures share.
#ifndef CPICTURES_PRIVATE_H
#define CPICTURES_PRIVATE_H

#include "include/CPictures.h"

// Leaves a line in `message` and returns the status.
int ruyi_picture_fail(int status, const char *text, char *message, size_t room);

// Copies a profile into the facts; one that is larger than any that is used is left out.
int ruyi_picture_keep_profile(ruyi_picture_facts *facts, const void *profile, size_t length);

// Opens a library and finds its functions by name, the names in the order of the places.
// Returns whether all are there.
int ruyi_picture_open(const char *const *files, const char *const *names, void **places, size_t count);

#endif
