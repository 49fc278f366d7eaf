#include "CKernelIntrinsics.h"
