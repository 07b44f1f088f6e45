// Pointwise kernels: arithmetic of two and three inputs (group 5 of ops.def).
#define FS_GROUP 5
#include "kernels/pointwise_kernels.inc"
#undef FS_GROUP
