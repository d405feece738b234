/* The same cases on the CUDA driver API. */
#include "words.h"

#include "../groups.c"
