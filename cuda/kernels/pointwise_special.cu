// Pointwise kernels: special functions, rounding, replacing values (group 3 of ops.def).
#define FS_GROUP 3
#include "kernels/pointwise_kernels.inc"
#undef FS_GROUP
