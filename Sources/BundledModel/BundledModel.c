#include "BundledModel.h"
