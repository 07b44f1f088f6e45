"""Metrics over all samples of an epoch, batch by batch, with scikit-learn's definitions.

A Metric has `name`, `reset()`, `update(output, target)` for each batch and `compute()`, a number. Called with (output,
target) it measures these alone. Sums are float64.
"""
import copy

from .. import _C


def _shapes(output, target):
    return f"output of shape {tuple(output.shape)} with target of shape {tuple(target.shape)}"


def _is_classes(name, output, target):
    """Scores (N, C, *) with classes (N, *)? False for equal shapes; others are an error."""
    if output.shape == target.shape:
        return False
    if output.dim() != target.dim() + 1 or (*output.shape[:1], *output.shape[2:]) != tuple(target.shape):
        raise ValueError(f"{name}: got {_shapes(output, target)}; expected scores (N, C, *) and classes (N, *), or "
                         "equal shapes")
    return True


def _same_shape(name, output, target):
    if output.shape != target.shape:
        raise ValueError(f"{name}: got {_shapes(output, target)}; expected equal shapes (target.unsqueeze(1) makes a "
                         "column)")


class Metric:
    """Base class: subclasses set their sums in `reset`, add to them in `update` and return a number in `compute`."""

    name = "metric"

    def reset(self):
        """Forgets all batches."""
        raise NotImplementedError

    def update(self, output, target):
        """Adds a batch."""
        raise NotImplementedError

    def compute(self):
        """The figure of all batches since `reset`, a float."""
        raise NotImplementedError

    def fresh(self):
        """A copy without batches."""
        other = copy.copy(self)
        other.reset()
        return other

    def state_dict(self):
        """The sums, for a checkpoint in the middle of an epoch."""
        return dict(self.__dict__)

    def load_state_dict(self, state):
        """Takes over the sums of `state_dict`."""
        self.__dict__.update(state)

    def __call__(self, output, target):
        metric = self.fresh()
        metric.update(output, target)
        return metric.compute()

    def __repr__(self):
        return f"{type(self).__name__}()"


class Mean(Metric):
    """The mean over samples of a function (output, target) -> number for a batch."""

    def __init__(self, function, name=None):
        self.function, self.name = function, name or getattr(function, "__name__", "metric")
        self.reset()

    def reset(self):
        self.total, self.count = 0.0, 0

    def update(self, output, target):
        n = target.shape[0] if isinstance(target, _C.Tensor) and target.dim() else 1
        self.total += float(self.function(output, target)) * n
        self.count += n

    def compute(self):
        return self.total / self.count if self.count else float("nan")

    def state_dict(self):
        return {"total": self.total, "count": self.count}


def _limit(output, threshold):
    """The score from which on the answer is yes: 0 for logits, 0.5 for probabilities (all in [0, 1])."""
    if threshold is not None:
        return threshold
    return 0.5 if output.numel() and float(output.min()) >= 0 and float(output.max()) <= 1 else 0.0


class Accuracy(Metric):
    """The fraction of right answers.

    output (N, C, *) of scores and target (N, *) of classes; or both of one shape: scores above `threshold` mean yes (by
    default 0, for logits, unless all lie in [0, 1], when it is 0.5). Targets equal to `ignore_index` are left out.
    """

    name = "accuracy"

    def __init__(self, threshold=None, ignore_index=-100):
        self.threshold, self.ignore_index = threshold, ignore_index
        self.reset()

    def reset(self):
        self.right, self.count = 0, 0

    def update(self, output, target):
        output = output.detach()
        if _is_classes(self.name, output, target):
            self._add(output.argmax(1) == target, target)
        else:
            right = (output > _limit(output, self.threshold)) == (target > 0.5)
            self.right = self.right + right.sum()
            self.count += target.numel()

    def _add(self, right, target):
        valid = target != self.ignore_index
        if self.ignore_index >= 0:
            right = right & valid
        self.right = self.right + right.sum()
        self.count = self.count + valid.sum()

    def compute(self):
        count = int(self.count)
        return int(self.right) / count if count else float("nan")


class TopK(Accuracy):
    """The fraction of samples whose class is among the k highest scores: output (N, C, *), target (N, *)."""

    def __init__(self, k=5, ignore_index=-100):
        super().__init__(None, ignore_index)
        self.k, self.name = k, f"top{k}"

    def update(self, output, target):
        if not _is_classes(self.name, output, target):
            raise ValueError(f"{self.name}: got {_shapes(output, target)}; expected scores (N, C, *) and classes "
                             "(N, *)")
        best = output.detach().topk(min(self.k, output.shape[1]), 1).indices
        self._add((best == target.unsqueeze(1)).any(1), target)


class _Counts(Metric):
    """Right answers, answers and truths of each class, from which precision, recall and F1 follow.

    average: "binary" (of class 1), "macro" (mean over the classes seen), "micro" (of all counts together), "weighted"
    (by the true samples of each class); by default binary for two classes, else macro. Output (N, C, *) of scores with
    classes (N, *); or one shape, then scores above `threshold` mean yes: (N) or (N, 1) is one yes/no question, (N, C)
    has C of them (labels). 0 where nothing is there to divide by.
    """

    def __init__(self, average=None, threshold=None, ignore_index=-100):
        if average not in (None, "binary", "macro", "micro", "weighted"):
            raise ValueError(f"{type(self).__name__}: average must be 'binary', 'macro', 'micro' or 'weighted', got "
                             f"{average!r}")
        self.average, self.threshold, self.ignore_index = average, threshold, ignore_index
        self.name = self.name if average in (None, "binary", "macro") else f"{self.name}_{average}"
        self.reset()

    def reset(self):
        self.right = self.answered = self.true = 0  # each then (classes,) int64
        self.labels = False

    def update(self, output, target):
        output = output.detach()
        if _is_classes(self.name, output, target):
            classes = output.shape[1]
            answer, target = output.argmax(1).flatten(), target.flatten()
            valid = target != self.ignore_index
            answer, target = answer[valid], target[valid]
        else:
            answer, target = (output > _limit(output, self.threshold)).long(), (target > 0.5).long()
            self.labels = output.dim() == 2 and output.shape[1] > 1
            if self.labels:
                self._add((answer * target).sum(0), answer.sum(0), target.sum(0))
                return
            classes, answer, target = 2, answer.flatten(), target.flatten()
        self._add(target[answer == target].bincount(minlength=classes), answer.bincount(minlength=classes),
                  target.bincount(minlength=classes))

    def _add(self, right, answered, true):
        self.right, self.answered, self.true = self.right + right, self.answered + answered, self.true + true

    def compute(self):
        if isinstance(self.true, int):
            return float("nan")
        right, answered, true = (v.tolist() for v in (self.right, self.answered, self.true))
        average = self.average or ("binary" if len(true) == 2 and not self.labels else "macro")
        if average == "binary":
            if len(true) != 2 or self.labels:
                raise ValueError(f"{self.name}: average='binary' is for two classes, there are {len(true)}; choose "
                                 "'macro', 'micro' or 'weighted'")
            return self._score(right[1], answered[1], true[1])
        if average == "micro":
            return self._score(sum(right), sum(answered), sum(true))
        rows = [row for row in zip(right, answered, true) if self.labels or row[1] or row[2]]
        weights = [row[2] for row in rows] if average == "weighted" else [1] * len(rows)
        if not sum(weights):
            return 0.0
        return sum(w * self._score(*row) for w, row in zip(weights, rows)) / sum(weights)


class Precision(_Counts):
    """Of what was answered with a class, the fraction that is of it. """

    name = "precision"

    @staticmethod
    def _score(right, answered, true):
        return right / answered if answered else 0.0


class Recall(_Counts):
    """Of what is of a class, the fraction that was answered with it. """

    name = "recall"

    @staticmethod
    def _score(right, answered, true):
        return right / true if true else 0.0


class F1(_Counts):
    """The harmonic mean of precision and recall. """

    name = "f1"

    @staticmethod
    def _score(right, answered, true):
        return 2 * right / (answered + true) if answered + true else 0.0


for _kind in (Precision, Recall, F1):
    _kind.__doc__ += _Counts.__doc__.split("\n", 1)[1]


def _binary_auroc(scores, yes):
    """The area under the ROC curve, by the ranks of the scores (Mann-Whitney U; ties share their mean rank)."""
    n_yes = int(yes.sum())
    n_no = yes.numel() - n_yes
    if not n_yes or not n_no:
        return float("nan")
    _, group, size = scores.unique(return_inverse=True, return_counts=True)  # groups of equal scores, ascending
    last = size.cumsum(0).double()
    rank = last - (size.double() - 1) / 2
    return float((rank[group[yes]].sum() - n_yes * (n_yes + 1) / 2) / n_yes / n_no)


class AUROC(Metric):
    """The area under the ROC curve; keeps all scores of the epoch.

    Output and target of one shape: scores of one yes/no question, (N) or (N, 1), or of C of them (N, C), whose mean is
    taken. Output (N, C) with classes (N): softmax is applied unless the rows are probabilities; multi_class "ovr"
    compares each class with the rest, "ovo" the pairs of classes (Hand & Till 2001); average: "macro" or, for "ovr",
    "weighted" by the true samples. NaN where a class is missing.
    """

    name = "auroc"

    def __init__(self, multi_class="ovr", average="macro"):
        if multi_class not in ("ovr", "ovo"):
            raise ValueError(f"AUROC: multi_class must be 'ovr' or 'ovo', got {multi_class!r}")
        if average not in ("macro", "weighted") or average == "weighted" and multi_class == "ovo":
            raise ValueError(f"AUROC: average must be 'macro' or, with 'ovr', 'weighted', got {average!r}")
        self.multi_class, self.average = multi_class, average
        self.reset()

    def reset(self):
        self.scores, self.targets = [], []

    def update(self, output, target):
        if output.shape != target.shape and not (output.dim() == 2 and target.dim() == 1
                                                 and output.shape[0] == target.shape[0]):
            raise ValueError(f"auroc: got {_shapes(output, target)}; expected scores (N, C) and classes (N), or equal "
                             "shapes")
        self.scores.append(output.detach().clone())
        self.targets.append(target.detach().clone())

    def compute(self):
        if not self.scores:
            return float("nan")
        scores, target = _C.cat(self.scores), _C.cat(self.targets)
        if scores.shape == target.shape:
            if scores.dim() < 2 or scores.shape[1] == 1:
                return _binary_auroc(scores.flatten(), target.flatten() > 0.5)
            columns = range(scores.shape[1])
            areas = [_binary_auroc(scores[:, c], target[:, c] > 0.5) for c in columns]
            weights = [int((target[:, c] > 0.5).sum()) for c in columns]
            return self._mean(areas, weights)
        scores = scores.double()
        if float(scores.min()) < 0 or float((scores.sum(1) - 1).abs().max()) > 1e-3:
            scores = _C.softmax(scores, 1)
        if scores.shape[1] == 2:
            return _binary_auroc(scores[:, 1], target == 1)
        classes = range(scores.shape[1])
        if self.multi_class == "ovr":
            areas = [_binary_auroc(scores[:, c], target == c) for c in classes]
            return self._mean(areas, [int((target == c).sum()) for c in classes])
        areas = []
        for i in classes:
            for j in range(i + 1, scores.shape[1]):
                pair = (target == i) | (target == j)
                s, t = scores[pair], target[pair]
                areas.append((_binary_auroc(s[:, i], t == i) + _binary_auroc(s[:, j], t == j)) / 2)
        return sum(areas) / len(areas)

    def _mean(self, areas, weights):
        if self.average == "macro":
            return sum(areas) / len(areas)
        return sum(a * w for a, w in zip(areas, weights)) / sum(weights)


class _Errors(Metric):
    """Base of means over all elements of a function of the difference."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.total, self.count = 0.0, 0

    def update(self, output, target):
        _same_shape(self.name, output, target)
        self.total = self.total + self._sum(output.detach().double() - target)
        self.count += target.numel()

    def compute(self):
        return float(self.total) / self.count if self.count else float("nan")


class MAE(_Errors):
    """The mean of |output - target|."""

    name = "mae"

    @staticmethod
    def _sum(difference):
        return difference.abs().sum()


class MSE(_Errors):
    """The mean of (output - target)^2."""

    name = "mse"

    @staticmethod
    def _sum(difference):
        return (difference * difference).sum()


class RMSE(MSE):
    """The root of the mean of (output - target)^2 over all elements."""

    name = "rmse"

    def compute(self):
        return super().compute() ** 0.5


class R2(Metric):
    """The coefficient of determination, 1 - sum of squared errors / sum of squared deviations from the mean.

    Output and target of one shape (N) or (N, D); of several columns the mean ("uniform_average") or the mean weighted
    by their variances ("variance_weighted"). Means and deviations are merged batch by batch (Chan et al. 1979).
    """

    name = "r2"

    def __init__(self, multioutput="uniform_average"):
        if multioutput not in ("uniform_average", "variance_weighted"):
            raise ValueError("R2: multioutput must be 'uniform_average' or 'variance_weighted', got "
                             f"{multioutput!r}")
        self.multioutput = multioutput
        self.reset()

    def reset(self):
        self.count, self.mean, self.deviations, self.errors = 0, 0.0, 0.0, 0.0  # the latter three then (D,)

    def update(self, output, target):
        _same_shape(self.name, output, target)
        n = target.shape[0] if target.dim() else 1
        if not n:
            return
        target = target.detach().double().reshape(n, -1)
        error = output.detach().double().reshape(n, -1) - target
        mean = target.mean(0)
        shift, total = mean - self.mean, self.count + n
        self.deviations = self.deviations + ((target - mean) ** 2).sum(0) + shift * shift * (self.count * n / total)
        self.errors = self.errors + (error * error).sum(0)
        self.mean, self.count = self.mean + shift * (n / total), total

    def compute(self):
        if self.count < 2:
            return float("nan")
        errors, deviations = self.errors.tolist(), self.deviations.tolist()
        scores = [1 - e / d if d else 0.0 if e else 1.0 for e, d in zip(errors, deviations)]
        if self.multioutput == "uniform_average" or not sum(deviations):
            return sum(scores) / len(scores)
        return sum(s * d for s, d in zip(scores, deviations)) / sum(deviations)


NAMED = {"accuracy": Accuracy, "precision": Precision, "recall": Recall, "f1": F1, "auroc": AUROC, "r2": R2,
         "mae": MAE, "mse": MSE, "rmse": RMSE}


def accuracy(output, target):
    """Accuracy of one batch."""
    return Accuracy()(output, target)


def mean_absolute_error(output, target):
    """The mean of |output - target|."""
    return MAE()(output, target)


def mean_squared_error(output, target):
    """The mean of (output - target)^2."""
    return MSE()(output, target)


def _named(name, threshold):
    if name.startswith("top") and name[3:].lstrip("_").isdigit():
        return TopK(int(name[3:].lstrip("_")))
    if name not in NAMED:
        raise ValueError(f"unknown metric {name!r}; there are {', '.join(NAMED)}, top5 (top2, ...), or pass a function "
                         "or a Metric")
    kind = NAMED[name]
    return kind(threshold=threshold) if issubclass(kind, (Accuracy, _Counts)) else kind()


def resolve(metrics, loss_kind=""):
    """Names, Metrics, functions (output, target) -> number, or a dict of these, as a dict of Metrics.

    loss_kind: the class name of the loss, which tells logits from probabilities.
    """
    threshold = {"BCEWithLogitsLoss": 0.0, "BCELoss": 0.5}.get(loss_kind)
    if isinstance(metrics, (str, Metric)) or callable(metrics):
        metrics = (metrics,)
    pairs = metrics.items() if isinstance(metrics, dict) else ((None, metric) for metric in metrics or ())
    out = {}
    for name, metric in pairs:
        if metric == "loss":  # the loss is always there
            continue
        if isinstance(metric, str):
            metric = _named(metric, threshold)
        elif isinstance(metric, type) and issubclass(metric, Metric):
            metric = metric()
        elif not isinstance(metric, Metric):
            if not callable(metric):
                raise TypeError(f"metrics: expected names, Metrics or functions, got a {type(metric).__name__}")
            metric = Mean(metric)
        name = name or metric.name
        if name in out or name in ("loss", "lr"):
            raise ValueError(f"metrics: the name {name!r} is taken; pass a dict of names and metrics to give others")
        out[name] = metric
    return out
