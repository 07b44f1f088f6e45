// Pointwise kernels: comparisons and logic (group 7 of ops.def).
#define FS_GROUP 7
#include "kernels/pointwise_kernels.inc"
#undef FS_GROUP
