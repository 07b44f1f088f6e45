// Pointwise kernels: activation functions (group 4 of ops.def).
#define FS_GROUP 4
#include "kernels/pointwise_kernels.inc"
#undef FS_GROUP
