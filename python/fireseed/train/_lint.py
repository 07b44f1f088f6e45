"""The training linter: frequent mistakes that raise no error, found in one batch, each with its fix."""
import contextlib
import os
import sys
import warnings
from typing import NamedTuple

from .. import _C
from ._weights import describe

Tensor = _C.Tensor
_VIEWS = ("View", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Alias", "Clone", "ToCopy", "Select", "Slice")


class LintWarning(UserWarning):
    """What the Trainer warns with when the linter finds something."""


class Finding(NamedTuple):
    """A mistake: `rule` is its short name, `message` says what is, `fix` what to do."""

    rule: str
    message: str
    fix: str

    def __str__(self):
        return f"{self.message} {self.fix} [{self.rule}]"


def _names(names):
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _made_by(output):
    """The op that made a tensor, e.g. "Softmax", looking through views."""
    node = output.grad_fn
    for _ in range(8):
        if node is None:
            return ""
        name = node.name().rstrip("0123456789").removesuffix("Backward")
        if not name.startswith(_VIEWS) or not node.next_functions:
            return name
        node = node.next_functions[0][0]
    return ""


def _finite(t):
    return not t.is_floating_point() or bool(_C.isfinite(t).all())


# ---- the model and the optimizer ------------------------------------------------------------------------------------
def _check_model(model, optimizer, loss):
    named = dict(model.named_parameters())
    trainable = {name: p for name, p in named.items() if p.requires_grad}
    if not model.training:
        yield Finding("eval_mode", "The model is in evaluation mode: dropout does nothing and batch norms do not learn "
                      "their statistics.", "Call model.train() before training.")
    yield from _check_registration(model, named)
    if not trainable:
        yield Finding("frozen", "No parameter of the model is trainable (requires_grad is False everywhere).",
                      "Set requires_grad_(True) on those to train.")
    if optimizer is None:
        return
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    owned = {id(p) for p in named.values()}
    if isinstance(loss, _module()):
        owned.update(id(p) for p in loss.parameters())
    missing = [name for name, p in trainable.items() if id(p) not in held]
    if owned and not held & owned:
        yield Finding("foreign_parameters", "The optimizer holds none of the model's parameters: it was made for "
                      "another model, or before this one was replaced (a copy, a new instance).",
                      "Make the optimizer after the model, from model.parameters().")
    elif missing:
        yield Finding("missing_parameters", f"The optimizer does not have {len(missing)} trainable parameter(s) of the "
                      f"model: {_names(missing)}. They stay as they are.",
                      "Give it model.parameters(), add them with add_param_group, or freeze them with "
                      "requires_grad_(False).")
    rates = [float(group.get("lr", 1.0)) for group in optimizer.param_groups]
    kind = type(optimizer).__name__
    if not any(rates):
        yield Finding("zero_lr", "The learning rate is 0: nothing will be learned.", "Set lr.")
    elif kind in ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Lion") and max(rates) >= 0.5:
        yield Finding("large_lr", f"{kind} moves every weight by about lr a step, and lr is {max(rates):g}.",
                      "Start with 1e-3, or look for a rate with Trainer.lr_find.")


def _module():
    from ..nn import Module
    return Module


def _check_registration(model, named):
    """Layers and parameters that the model has but does not know of."""
    from ..nn import Module, Parameter
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if name.startswith("_"):
                continue
            full = f"{path}.{name}" if path else name
            if isinstance(value, (list, tuple, dict)):
                items = value.values() if isinstance(value, dict) else value
                kinds = {Module: "ModuleDict" if isinstance(value, dict) else "ModuleList",
                         Parameter: "ParameterDict" if isinstance(value, dict) else "ParameterList"}
                for kind, container in kinds.items():
                    found = [item for item in items if isinstance(item, kind)]
                    params = [p for item in found for p in (item.parameters() if kind is Module else (item,))]
                    if any(not any(p is q for q in named.values()) for p in params):
                        yield Finding("unregistered", f"`{full}` is a {type(value).__name__} of "
                                      f"{kind.__name__.lower()}s, which the model does not see: they are not in "
                                      "parameters(), state_dict() or to().", f"Use nn.{container}(...).")
            elif isinstance(value, Tensor) and value.requires_grad and value.is_leaf and not any(
                    value is p for p in named.values()):
                yield Finding("unregistered", f"`{full}` is a plain tensor that requires a gradient: it is not in "
                              "parameters().", "Wrap it: nn.Parameter(...).")


# ---- inputs, outputs, targets ---------------------------------------------------------------------------------------
def _check_inputs(model, inputs):
    for i, x in enumerate(inputs):
        if not isinstance(x, Tensor) or not x.is_floating_point() or not x.numel():
            continue
        which = f"Input {i}" if len(inputs) > 1 else "The input"
        if not _finite(x):
            yield Finding("input_not_finite", f"{which} contains NaN or infinity.", "Clean the data.")
            continue
        size = float(x.detach().float().square().mean()) ** 0.5
        first = next((m for m in model.modules() if not list(m.children())), None)
        if size > 30 and "Norm" not in type(first).__name__:
            yield Finding("unscaled_input", f"{which} is large: values from {float(x.min()):.4g} to "
                          f"{float(x.max()):.4g}. Layers are initialised for inputs of about unit size.",
                          "Scale it: images / 255, tables (x - mean) / std.")


def _check_targets(kind, options, output, target):
    if kind in ("CrossEntropyLoss", "NLLLoss"):
        classes = output.shape[1] if output.dim() > 1 else output.shape[0]
        if classes == 1:
            yield Finding("one_class", f"{kind} with one score per sample is always 0 or cannot tell classes apart.",
                          "Use two outputs, or one with BCEWithLogitsLoss.")
        if target.is_floating_point():
            if target.shape == output.shape and output.dim() > 1:
                sums = target.detach().float().sum(1)
                if float(target.min()) < 0 or float((sums - 1).abs().max()) > 0.01:
                    yield Finding("target_no_distribution", f"The targets of {kind} are floats of the output's shape, "
                                  "so they are taken for probabilities of classes, but their rows do not sum to 1.",
                                  "Give classes as integers, or a regression loss (MSELoss) for numbers.")
            return
        valid = target[target != options.get("ignore_index", -100)]
        if valid.numel():
            low, high = int(valid.min()), int(valid.max())
            if low < 0 or high >= classes:
                fix = ("Classes count from 0: subtract 1 from the labels."
                       if low == 1 and high == classes else f"Expected 0 to {classes - 1}: correct the labels, or give "
                       f"the last layer {high + 1} outputs." if low >= 0 else f"Expected 0 to {classes - 1}.")
                yield Finding("labels_out_of_range", f"The labels of this batch go from {low} to {high}, but the model "
                              f"has {classes} outputs.", fix)
    elif kind in ("BCELoss", "BCEWithLogitsLoss") and target.numel():
        low, high = float(target.min()), float(target.max())
        if low < 0 or high > 1:
            yield Finding("labels_out_of_range", f"The targets of {kind} go from {low:g} to {high:g}; they are "
                          "probabilities.", "Use 0 and 1 (labels of -1 and 1: (y + 1) / 2).")


def _check_outputs(kind, output, target):
    if not output.numel():
        return
    if not _finite(output):
        yield Finding("output_not_finite", "The model's output contains NaN or infinity in the first batch.",
                      "Look at the inputs' scale and the initialisation.")
        return
    made, values = _made_by(output), output.detach().float()
    low, high = float(values.min()), float(values.max())
    if kind == "CrossEntropyLoss":
        sums = values.sum(1) if values.dim() > 1 else values.sum()
        if made == "Softmax" or low >= 0 and float((sums - 1).abs().max()) < 1e-3:
            yield Finding("softmax_before_cross_entropy", "The model's outputs are probabilities (softmax), and "
                          "CrossEntropyLoss applies log_softmax itself: twice, and learning is slow and poor.",
                          "Remove the softmax from the model; apply it to the outputs when you predict.")
        elif made == "Sigmoid":
            yield Finding("sigmoid_before_cross_entropy", "The model ends in a sigmoid, and CrossEntropyLoss expects "
                          "unbounded scores.", "Remove the sigmoid (or, for independent yes/no labels, use BCELoss).")
    elif kind == "BCEWithLogitsLoss" and made == "Sigmoid":
        yield Finding("sigmoid_before_logits_loss", "The model ends in a sigmoid, and BCEWithLogitsLoss applies "
                      "another.", "Remove the sigmoid from the model.")
    elif kind == "BCELoss" and (low < 0 or high > 1):
        yield Finding("no_sigmoid", f"BCELoss expects probabilities, and the outputs go from {low:.3g} to "
                      f"{high:.3g}.", "Use BCEWithLogitsLoss, or end the model in a sigmoid.")
    elif kind in ("NLLLoss", "KLDivLoss") and high > 1e-4:
        yield Finding("no_log_softmax", f"{kind} expects log-probabilities (never above 0), and the outputs go up to "
                      f"{high:.3g}.", "End the model in log_softmax" + (
                          ", or use CrossEntropyLoss with plain scores." if kind == "NLLLoss" else "."))
    if made == "Relu" and (kind in ("CrossEntropyLoss", "BCEWithLogitsLoss") or isinstance(target, Tensor)
                           and target.is_floating_point() and target.numel() and float(target.min()) < 0):
        yield Finding("relu_at_the_end", "The model ends in a ReLU, so no output can be negative, but negative "
                      "outputs are needed here.", "Remove the last ReLU.")


def _check_loss(model, loss, output):
    trainable = any(p.requires_grad for p in model.parameters())
    if not isinstance(loss, Tensor):
        yield Finding("loss_no_tensor", f"The loss is a {type(loss).__name__}, not a tensor: nothing to "
                      "differentiate.", "Compute it with tensor operations, without item(), numpy or float().")
    elif loss.numel() != 1:
        yield Finding("loss_not_scalar", f"The loss has shape {tuple(loss.shape)}.",
                      "Reduce it to one number: reduction='mean', or loss.mean().")
    elif trainable and not loss.requires_grad:
        cut = "output" if isinstance(output, Tensor) and not output.requires_grad else "loss"
        yield Finding("graph_cut", f"The {cut} does not depend on the parameters: the graph is cut by detach(), data, "
                      "no_grad, numpy, or argmax and comparisons.", "Keep it in tensors from the input to the loss.")


def _check_shapes(kind, output, target):
    """Unequal shapes that an element-wise loss would broadcast."""
    fits = all(a == b or 1 in (a, b) for a, b in zip(reversed(output.shape), reversed(target.shape)))
    if kind in ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss") and output.shape != target.shape and fits:
        yield Finding("loss_broadcast", f"The loss compares every output {tuple(output.shape)} with every target "
                      f"{tuple(target.shape)}.", "Make the shapes equal: target.unsqueeze(1) makes a column, "
                      "output.squeeze(1) a row.")


# ---- after the backward pass ----------------------------------------------------------------------------------------
def _check_gradients(model, loss):
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    unused = [name for name, p in named if p.grad is None]
    grads = [p.grad for _, p in named if p.grad is not None]
    if grads and unused:
        yield Finding("unused_parameters", f"{len(unused)} parameter(s) got no gradient: {_names(unused)}. The "
                      "forward pass does not use them.", "Use them, remove them, or freeze them.")
    bad = [name for name, p in named if p.grad is not None and not _finite(p.grad)]
    if bad:
        yield Finding("gradient_not_finite", f"The first gradients contain NaN or infinity: {_names(bad)}.",
                      "Try a smaller learning rate or look for log(0), sqrt(0) and divisions by 0 in the loss.")
    elif grads and loss != 0 and not any(bool(g.any()) for g in grads):
        yield Finding("zero_gradients", "All gradients are exactly 0: nothing will be learned.",
                      "Look for dead ReLUs, saturated outputs, or a loss that does not depend on the outputs.")


def _check_data(data, target):
    sampler = type(getattr(data, "sampler", None)).__name__
    if sampler == "SequentialSampler" and isinstance(target, Tensor) and target.dim() == 1 and target.numel() >= 8 \
            and not target.is_floating_point() and int(target.min()) == int(target.max()):
        yield Finding("sorted_data", f"All {target.numel()} samples of the first batch are of class {int(target[0])}, "
                      "and the DataLoader does not shuffle: batches of one class teach little.",
                      "Use DataLoader(..., shuffle=True) for training.")


# ---- the Trainer's first batch --------------------------------------------------------------------------------------
class _Watch:
    """Collects findings while the Trainer works on its first batch."""

    def __init__(self, trainer):
        self.trainer, self.findings, self.original = trainer, [], trainer.forward
        self.kind, self.options = describe(trainer.loss)
        self.loss = None

    def add(self, findings):
        self.findings.extend(findings)

    def forward(self, batch):
        """Trainer.forward with the outputs looked at, also when it fails."""
        trainer = self.trainer
        try:
            result = self.original(batch)
        except Exception:
            if type(trainer).forward.__qualname__ == "Trainer.forward" and isinstance(batch, (list, tuple)):
                with contextlib.suppress(Exception):  # what is raised is the first error
                    self.outputs(trainer.model(*batch[:-1]), batch[-1])
            raise
        if not isinstance(result, (tuple, list)) or len(result) not in (3, 4):
            raise TypeError("Trainer: forward(batch) must return (loss, output, target) or (loss, output, target, weight)"
                            f", got a {type(result).__name__}")
        loss, output, target = result[:3]
        self.loss = float(loss.detach()) if isinstance(loss, Tensor) and loss.numel() == 1 else None
        self.outputs(output, target)
        findings = list(_check_loss(trainer.model, loss, output))
        self.add(findings)
        for finding in findings:
            if finding.rule in ("loss_no_tensor", "loss_not_scalar"):
                raise (TypeError if finding.rule == "loss_no_tensor" else ValueError)(f"Trainer: {finding}")
        return result

    def outputs(self, output, target):
        if isinstance(output, Tensor) and isinstance(target, Tensor):
            self.add(_check_targets(self.kind, self.options, output, target))
            self.add(_check_outputs(self.kind, output, target))


@contextlib.contextmanager
def watching(trainer, batch):
    """The checks of a Trainer's first batch; warns on leaving, also after an error."""
    watch = _Watch(trainer)
    watch.add(_check_model(trainer.model, trainer.optimizer, trainer.loss))
    if isinstance(batch, (list, tuple)) and len(batch) > 1:
        watch.add(_check_inputs(trainer.model, batch[:-1]))
        watch.add(_check_data(trainer._data, batch[-1]))
    try:
        yield watch
        found = _check_gradients(trainer.model, watch.loss)
        # A GradScaler begins too high and skips steps until its scale fits.
        watch.add(f for f in found if trainer.scaler is None or f.rule != "gradient_not_finite")
    finally:
        package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        frame, level = sys._getframe(), 1
        while frame.f_back is not None and (frame.f_code.co_filename.startswith(package)
                                            or frame.f_code.co_filename == contextlib.__file__):
            frame, level = frame.f_back, level + 1
        for finding in dict.fromkeys(watch.findings):
            warnings.warn(str(finding), LintWarning, stacklevel=level)


# ---- on its own -----------------------------------------------------------------------------------------------------
def lint(model, optimizer=None, loss=None, batch=None, *, step=None, data=None):
    """Looks for frequent training mistakes; returns a list of Findings (empty: nothing found), changing nothing.

    model alone: its mode and how its layers are registered. optimizer: what it holds. loss, with a batch (input, ...,
    target): one forward and backward pass. step: your own training step, a function of a batch, which is run twice and
    undone: does it clear the gradients, does it move the parameters? data: the training DataLoader.
    """
    from ._snapshot import Snapshot
    findings = list(_check_model(model, optimizer, loss))
    if batch is None:
        if step is not None or loss is not None:
            raise ValueError("lint: to look at the loss or a step it needs a batch: batch=next(iter(loader))")
        return findings
    with Snapshot(model, optimizer):
        if loss is not None:
            findings += _lint_pass(model, loss, batch, data)
        if step is not None:
            findings += _lint_step(model, optimizer, step, batch)
    return list(dict.fromkeys(findings))


def _lint_pass(model, loss, batch, data):
    if not isinstance(batch, (list, tuple)) or len(batch) < 2:
        raise TypeError(f"lint: expected a batch (input, ..., target), got a {type(batch).__name__}")
    *inputs, target = batch
    kind, options = describe(loss)
    findings = [*_check_inputs(model, inputs), *_check_data(data, target)]
    for p in model.parameters():
        p.grad = None
    output, dead = _forward_with_relus(model, inputs)
    findings += dead
    if isinstance(output, Tensor) and isinstance(target, Tensor):
        findings += [*_check_shapes(kind, output, target), *_check_targets(kind, options, output, target),
                     *_check_outputs(kind, output, target)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = loss(output, target)
        except Exception as error:
            return findings or [Finding("loss_fails", f"The loss raises {type(error).__name__}: {error}.",
                                        "Correct what it is given.")]
    findings += _check_loss(model, value, output)
    if isinstance(value, Tensor) and value.numel() == 1 and value.requires_grad:
        value.backward()
        findings += _check_gradients(model, value.item())
    return findings


def _forward_with_relus(model, inputs):
    """The output of the model, and findings on ReLU layers that give nothing but zeros."""
    from ..nn import ReLU
    dead, handles = [], []
    for name, module in model.named_modules():
        if isinstance(module, ReLU):
            def hook(module, args, output, name=name):
                if output.numel() and not bool(output.any()):
                    dead.append(name)
            handles.append((module, module._hooked, module.register_forward_hook(hook)))
    try:
        output = model(*inputs)
    finally:
        for module, hooked, handle in handles:
            handle.remove()
            module._hooked = hooked
    findings = [Finding("dead_relu", f"The ReLU(s) {_names(dead)} give only zeros for this batch.",
                        "Try a smaller learning rate, another initialisation, or LeakyReLU.")] if dead else []
    return output, findings


def _lint_step(model, optimizer, step, batch):
    """Runs a training step twice: are gradients cleared in between, and do the parameters move?"""
    params = [p for p in model.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in params]
    fresh, stale, steps = {}, [], 0

    def record(i):
        def hook(g):
            fresh[i] = g.detach().clone() if i not in fresh else fresh[i] + g.detach()
        return hook

    def look(*_):
        nonlocal steps
        steps += 1
        for i, p in enumerate(params):
            if i in fresh and p.grad is not None and steps > 1:
                # Clipped or scaled gradients point the same way; stale ones are a sum with another direction.
                a, b = p.grad.flatten().double(), fresh[i].flatten().double()
                away = a - b * (a.dot(b) / b.dot(b)) if bool(b.any()) else a
                if float(away.norm()) > 1e-3 * float(a.norm()):
                    stale.append(i)
        fresh.clear()

    for p in params:
        p.grad = None
    handles = [p.register_hook(record(i)) for i, p in enumerate(params)]
    if optimizer is not None:
        handles.append(optimizer.register_step_pre_hook(look))
    try:
        step(batch)
        moved = any(not _C.equal(p, b) for p, b in zip(params, before))
        for p in params:  # a second step at another point, so that its gradient is another one
            with _C.no_grad():
                p.mul_(1.5)
        step(batch)
    finally:
        for handle in handles:
            handle.remove()
    if stale:
        yield Finding("no_zero_grad", "The gradients of the step before are still there and are added to the new "
                      "ones.", "Call optimizer.zero_grad() in every step.")
    if optimizer is not None and not steps:
        yield Finding("no_step", "The training step never calls optimizer.step().", "Call it after loss.backward().")
    elif not moved:
        yield Finding("nothing_moves", "The training step leaves all parameters as they are.",
                      "Call loss.backward() before optimizer.step(), and look at the learning rate.")
