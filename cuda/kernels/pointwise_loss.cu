// Pointwise kernels: elementwise losses (group 8 of ops.def) and their gradients with respect to the prediction.
#define FS_GROUP 8
#define FS_MORE_ITEMS                                                                        \
  ItemList<Item<GradXCall, MseLoss>, Item<GradXCall, L1Loss>, Item<GradXCall, SmoothL1Loss>, \
           Item<GradXCall, HuberLoss>, Item<GradXCall, BceLoss>, Item<GradXCall, BceWithLogitsLoss>>
#include "kernels/pointwise_kernels.inc"

namespace fireseed::cuda {

// in = g, prediction, target.
#define FS_LOSS_BACKWARD(name, Functor) \
  void name##_backward(const KernelArgs& args) { float_kernel<FS_FORMULAS, GradXCall, Functor>(args); }
FS_LOSS_BACKWARD(mse_loss, MseLoss)
FS_LOSS_BACKWARD(l1_loss, L1Loss)
FS_LOSS_BACKWARD(smooth_l1_loss, SmoothL1Loss)
FS_LOSS_BACKWARD(huber_loss, HuberLoss)
FS_LOSS_BACKWARD(bce_loss, BceLoss)
FS_LOSS_BACKWARD(bce_with_logits_loss, BceWithLogitsLoss)
#undef FS_LOSS_BACKWARD

}  // namespace fireseed::cuda
#undef FS_GROUP
