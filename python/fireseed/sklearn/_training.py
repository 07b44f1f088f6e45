"""The estimators' Trainer: weighted losses, scikit-learn's shuffling, stopping and learning-rate rules."""
import math
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .. import _C, nn, optim
from ..train import Callback, Trainer

F = nn.functional
ACTIVATIONS = {"identity": nn.Identity, "logistic": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}


def make_network(units, activation, dropout, random_state, dtype):
    """Linear layers of the given sizes with activations and dropout between, initialised with scikit-learn's numbers.

    Weights and biases are uniform in +-sqrt(6 / (fan_in + fan_out)) (2 for logistic; Glorot & Bengio 2010).
    """
    layers = []
    for i, (fan_in, fan_out) in enumerate(zip(units, units[1:])):
        bound = np.sqrt((2.0 if activation == "logistic" else 6.0) / (fan_in + fan_out))
        weight = random_state.uniform(-bound, bound, (fan_in, fan_out))
        bias = random_state.uniform(-bound, bound, fan_out)
        layer = nn.utils.skip_init(nn.Linear, fan_in, fan_out, dtype=dtype) if hasattr(nn.utils, "skip_init") else \
            nn.Linear(fan_in, fan_out, dtype=dtype)
        with _C.no_grad():
            layer.weight.copy_(_C.from_numpy(np.ascontiguousarray(weight.T)))
            layer.bias.copy_(_C.from_numpy(bias))
        layers.append(layer)
        if i < len(units) - 2:
            layers.append(ACTIVATIONS[activation]())
            if dropout:
                layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


def linear_layers(network):
    """Its Linear layers in order."""
    return [layer for layer in network if isinstance(layer, nn.Linear)]


def make_optimizer(estimator, network):
    """Adam or SGD with the weights, which decay, in the first group and the biases in the second."""
    layers = linear_layers(network)
    groups = [{"params": [layer.weight for layer in layers]}, {"params": [layer.bias for layer in layers]}]
    if estimator.solver == "adam":
        return optim.Adam(groups, lr=estimator.learning_rate_init, betas=(estimator.beta_1, estimator.beta_2),
                          eps=estimator.epsilon)
    return optim.SGD(groups, lr=estimator.learning_rate_init, momentum=estimator.momentum,
                     nesterov=estimator.nesterovs_momentum and estimator.momentum > 0)


def sample_losses(kind, output, target):
    """The loss of each sample (N), which the outputs' losses are added up to.

    Of squared errors and Poisson deviances it is the half, as in scikit-learn.
    """
    if kind == "softmax":
        return F.cross_entropy(output, target, reduction="none")
    if kind == "logistic":
        return F.binary_cross_entropy_with_logits(output, target, reduction="none").sum(1)
    if kind == "exp":
        return (output.exp() - target + _C.xlogy(target, target) - target * output).sum(1)
    return ((output - target) ** 2).sum(1) / 2


def mean_loss(kind, output, target, weight):
    """The mean over samples, weighted by `weight` if there is one."""
    if weight is None:
        if kind == "softmax":
            return F.cross_entropy(output, target)
        if kind == "logistic" and output.shape[1] == 1:
            return F.binary_cross_entropy_with_logits(output, target)
        return sample_losses(kind, output, target).mean()
    return (sample_losses(kind, output, target) * weight).sum() / weight.sum()


class Batches:
    """The batches (X, target, weight or None) of an epoch, shuffled anew each time by the estimator's random state.

    X may be a scipy sparse matrix, whose rows are made dense batch by batch. random_state: a function that gives it, or
    None: not shuffled.
    """

    def __init__(self, X, target, weight, size, random_state, dtype, sparse):
        self.X, self.target, self.weight, self.size = X, target, weight, size
        self.random_state, self.dtype, self.sparse = random_state, dtype, sparse
        self.order = np.arange(target.shape[0]) if random_state is not None else None

    def __len__(self):
        return -(-self.target.shape[0] // self.size)

    def __iter__(self):
        n = self.target.shape[0]
        if self.order is not None:  # sklearn.utils.shuffle's numbers, drawn even for one batch
            again = np.arange(n)
            self.random_state().shuffle(again)
            self.order = self.order[again]
        if self.size >= n:
            yield self._rows(slice(None), None)
            return
        for start in range(0, n, self.size):
            if self.order is None:
                yield self._rows(slice(start, start + self.size), None)
            else:
                index = self.order[start:start + self.size]
                yield self._rows(index, _C.from_numpy(index))

    def _rows(self, rows, index):
        def take(t):
            return None if t is None else t[rows] if index is None else t.index_select(0, index)

        x = take(self.X) if not self.sparse else _C.from_numpy(self.X[rows].toarray()).to(self.dtype)
        return x, take(self.target), take(self.weight)


class MLPTrainer(Trainer):
    """A Trainer whose batches carry weights, and whose penalty is scikit-learn's alpha / 2 * |W|^2 / sum of weights."""

    def __init__(self, network, optimizer, kind, alpha, outputs, **options):
        super().__init__(network, optimizer, progress=False, lint=False, **options)
        self.kind, self.alpha = kind, alpha
        self.share = 1 / outputs if kind == "identity" else 1.0  # scikit-learn reports a mean over outputs
        self.weights = [layer.weight for layer in linear_layers(network)]
        self.decay, self.updates = None, 0
        self.adam = isinstance(optimizer, optim.Adam)
        if self.adam:
            self.epsilon, self.beta_2 = optimizer.param_groups[0]["eps"], optimizer.param_groups[0]["betas"][1]

    def forward(self, batch):
        x, target, weight = batch
        n = x.shape[0]
        total = n if weight is None else float(weight.sum())
        decay = self.alpha / total if total else 0.0
        if decay != self.decay:
            self.decay = self.optimizer.param_groups[0]["weight_decay"] = decay
        if self.adam:  # scikit-learn adds epsilon before the bias correction of the second moment, PyTorch after it
            self.updates += 1
            eps = self.epsilon / math.sqrt(1 - self.beta_2 ** self.updates)
            for group in self.optimizer.param_groups:
                group["eps"] = eps
        output = self.model(x)
        if not total:  # no sample of this batch counts
            return output.sum() * 0, output, target, n
        return mean_loss(self.kind, output, target, weight), output, target, n

    def _backward_part(self, batch, figures, parts=None):
        penalty = 0.0
        if self.alpha and figures is not None:
            with _C.no_grad():
                for w in self.weights:
                    w = w.flatten()
                    penalty += w.dot(w).item()
        loss, output, target, weight = self.forward(batch)
        loss.backward()
        loss = loss.item() * self.share + 0.5 * self.decay * penalty
        if figures is not None:
            figures.add(loss, weight, output, target)
        return loss


class StoppingRules(Callback):
    """After each epoch: the loss curve, validation, scikit-learn's rules of stopping and of the learning rate."""

    def __init__(self, estimator, validation, incremental):
        self.estimator, self.validation, self.incremental = estimator, validation, incremental

    def on_epoch_end(self, trainer, logs):
        e = self.estimator
        e.n_iter_ += 1
        e.t_ += e._samples_seen
        e.loss_ = logs["loss"]
        e.loss_curve_.append(e.loss_)
        if e.verbose:
            print(f"Iteration {e.n_iter_}, loss = {e.loss_:.8f}")
        if self.validation is not None:
            self._validate(trainer)
        self._count()
        if e.solver == "sgd" and e.learning_rate == "invscaling":
            self._set_lr(trainer, e.learning_rate_init / (e.t_ + 1) ** e.power_t)
        if e._no_improvement_count > e.n_iter_no_change:
            what = "Validation score" if e.early_stopping else "Training loss"
            message = f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} consecutive epochs."
            self._stop(trainer, message)

    def _validate(self, trainer):
        e = self.estimator
        x, target, weight, y = self.validation
        with _C.no_grad():
            output = e._run(x)
            loss = mean_loss(trainer.kind, output, target, weight).item() * trainer.share
        e.validation_loss_curve_.append(loss)
        score = e._score_outputs(output, y, None if weight is None else weight.numpy())
        e.validation_scores_.append(score)
        if e.verbose:
            print(f"Validation score: {score:f}")

    def _count(self):
        e = self.estimator
        if e.early_stopping:
            last = e.validation_scores_[-1]
            e._no_improvement_count = 0 if last >= e.best_validation_score_ + e.tol else e._no_improvement_count + 1
            if last > e.best_validation_score_:
                e._best = [p.detach().clone() for p in e.module_.parameters()]
                e.best_validation_score_ = last
        else:
            worse = e.loss_ > e.best_loss_ - e.tol
            e._no_improvement_count = e._no_improvement_count + 1 if worse else 0
            e.best_loss_ = min(e.best_loss_, e.loss_)

    def _stop(self, trainer, message):
        e = self.estimator
        rate = trainer.optimizer.param_groups[0]["lr"]
        if e.solver == "sgd" and e.learning_rate == "adaptive" and rate > 1e-6:
            self._set_lr(trainer, rate / 5)
            e._no_improvement_count = 0
            if e.verbose:
                print(f"{message} Setting learning rate to {rate / 5:f}")
            return
        trainer.stop = message
        if e.verbose:
            print(f"{message} Stopping.")

    @staticmethod
    def _set_lr(trainer, rate):
        """scikit-learn's velocity contains the rate, PyTorch's does not: it is scaled to stay the same movement."""
        for group in trainer.optimizer.param_groups:
            for p in group["params"]:
                velocity = trainer.optimizer.state[p].get("momentum_buffer")
                if velocity is not None:
                    velocity.mul_(group["lr"] / rate)
            group["lr"] = rate


def minimize_lbfgs(estimator, network, kind, X, target, weight):
    """scipy's L-BFGS-B on the whole data; returns (iterations, loss)."""
    import scipy.optimize

    params = [p for layer in linear_layers(network) for p in (layer.weight, layer.bias)]
    weights = params[::2]
    total = X.shape[0] if weight is None else float(weight.sum())
    sizes = [p.numel() for p in params]

    def unpack(vector):
        with _C.no_grad():
            for p, part in zip(params, _C.from_numpy(np.array(vector)).split(sizes)):
                p.copy_(part.reshape(p.shape))

    def evaluate(vector):
        unpack(vector)
        loss = mean_loss(kind, network(X), target, weight)
        loss = loss + (0.5 * estimator.alpha / total) * sum((w * w).sum() for w in weights)
        for p in params:
            p.grad = None
        loss.backward()
        return loss.item(), _C.cat([p.grad.flatten() for p in params]).double().numpy()

    start = _C.cat([p.detach().flatten() for p in params]).double().numpy()
    result = scipy.optimize.minimize(
        evaluate, start, method="L-BFGS-B", jac=True,
        options={"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol})
    unpack(result.x)
    for p in params:
        p.grad = None
    if result.status != 0:
        warnings.warn(f"lbfgs failed to converge after {result.nit} iteration(s) ({result.message}). Increase max_iter or "
                      "scale the data.", ConvergenceWarning, stacklevel=4)
    share = 1 / estimator.n_outputs_ if kind == "identity" else 1.0
    return min(result.nit, estimator.max_iter), float(result.fun) * share


def finite(network):
    """Are all parameters finite?"""
    return all(math.isfinite(p.detach().sum().item()) for p in network.parameters())
