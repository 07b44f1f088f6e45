// Pointwise kernels: elementary functions (group 1 of ops.def).
#define FS_GROUP 1
#include "kernels/pointwise_kernels.inc"
#undef FS_GROUP
