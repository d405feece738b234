/* The same cases on the CUDA driver API. */
#include "words.h"

#include "../random_work.c"
