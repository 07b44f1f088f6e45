"""What a mean loss divides by, so that the losses and gradients of parts add up to those of the whole.

Note [Parts of a batch]. A mean loss of a batch is S / W: the sum S of its terms over their number, or, with class
weights, the sum of their weights. Of parts with losses l_i = S_i / W_i the whole has the loss
sum(W_i l_i) / sum(W_i), and so have the gradients. The mean of the l_i is the same only where all W_i are equal, which
uneven last batches, padding (ignore_index) and class weights all break. A sum loss adds up as it is.
"""
from functools import partial

from .. import _C
from . import _batches

Tensor = _C.Tensor

_ELEMENTS = ("L1Loss", "MSELoss", "SmoothL1Loss", "HuberLoss", "BCELoss", "BCEWithLogitsLoss", "KLDivLoss",
             "PoissonNLLLoss", "GaussianNLLLoss", "SoftMarginLoss", "HingeEmbeddingLoss")
_CLASSES = ("CrossEntropyLoss", "NLLLoss", "LinearCrossEntropyLoss")
_FUNCTIONS = {"l1_loss": "L1Loss", "mse_loss": "MSELoss", "smooth_l1_loss": "SmoothL1Loss", "huber_loss": "HuberLoss",
              "binary_cross_entropy": "BCELoss", "binary_cross_entropy_with_logits": "BCEWithLogitsLoss",
              "kl_div": "KLDivLoss", "poisson_nll_loss": "PoissonNLLLoss", "gaussian_nll_loss": "GaussianNLLLoss",
              "soft_margin_loss": "SoftMarginLoss", "hinge_embedding_loss": "HingeEmbeddingLoss",
              "cross_entropy": "CrossEntropyLoss", "nll_loss": "NLLLoss"}


def describe(loss):
    """(kind, options): the name of the loss's class ("" if it is none of torch.nn's) and its arguments.

    Losses may be modules, functions of nn.functional, or functools.partial of these.
    """
    options = {}
    while isinstance(loss, partial):
        options = {**loss.keywords, **options}
        loss = loss.func
    from ..nn import functional, modules
    for kind in type(loss).__mro__:
        if kind.__module__ == modules.loss.__name__ and not kind.__name__.startswith("_"):
            names = ("reduction", "weight", "ignore_index", "label_smoothing")
            return kind.__name__, {name: getattr(loss, name) for name in names if hasattr(loss, name)}
    name = getattr(loss, "__name__", "")
    if name in _FUNCTIONS and getattr(functional, name) is loss:
        return _FUNCTIONS[name], options
    return "", {"reduction": getattr(loss, "reduction", "mean")}


class Weigher:
    """Called with (output, target, batch), gives the weight W of a batch's loss; `sums`: the loss is a sum.

    Losses that are not torch.nn's count as means over the samples, unless they have an attribute reduction = "sum".
    """

    def __init__(self, loss):
        kind, options = describe(loss)
        self.sums = options.get("reduction", "mean") == "sum"
        self.class_weight = options.get("weight") if kind in _CLASSES else None
        ignored = options.get("ignore_index")
        self.ignore_index = -100 if ignored is None else ignored
        self.classes = kind in _CLASSES and not self.sums
        self.compares = kind not in _CLASSES  # may compare outputs with targets element by element
        self.elements = kind in _ELEMENTS and not self.sums and options.get("reduction") != "batchmean"

    def __call__(self, output, target, batch):
        if isinstance(output, Tensor) and isinstance(target, Tensor):
            if self.classes:
                if target.is_floating_point():  # probabilities (N, C, *): every sample and position counts 1
                    return output.numel() / output.shape[1 if output.dim() > 1 else 0]
                valid = target != self.ignore_index
                if self.class_weight is None:
                    return valid.sum().item()
                return self.class_weight[target[valid]].sum().item()
            if self.elements:
                return output.numel()
        return _batches.count(batch)


def loss_weight(loss, output, target):
    """What `loss(output, target)` was divided by: None for a sum, else the number (or weight) of its terms.

    In a loop written by hand, `(loss * loss_weight(...)).backward()` for each part, then every gradient divided by the
    sum of the weights, gives the gradient of all parts at once. Trainer does this by itself.
    """
    weigher = Weigher(loss)
    return None if weigher.sums else weigher(output, target, (output, target))
