"""MLPClassifier and MLPRegressor: scikit-learn's estimators with dropout, class weights, validation and callbacks."""
import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier as _PeerClassifier
from sklearn.neural_network import MLPRegressor as _PeerRegressor
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from .. import _C, nn
from ..random import fork_rng, get_rng_state, manual_seed, set_rng_state
from . import _training

_DTYPES = {np.dtype(np.float64): _C.float64, np.dtype(np.float32): _C.float32}

_PARAMETERS = """
    hidden_layer_sizes, activation ("identity", "logistic", "tanh", "relu"), solver ("adam", "sgd", "lbfgs"), alpha,
    batch_size, learning_rate ("constant", "invscaling", "adaptive"), learning_rate_init, power_t, max_iter, shuffle,
    random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction, beta_1,
    beta_2, epsilon, n_iter_no_change, max_fun: as in scikit-learn; for one random_state the network starts from the same
    weights, sees the same batches and ends, but for rounding, with the same weights.

    dropout: the fraction of hidden units dropped in training (solvers adam and sgd). callbacks: fireseed.train
    callbacks for the Trainer. """

_ATTRIBUTES = """

    After fit: coefs_, intercepts_, n_iter_, loss_, loss_curve_, best_loss_, validation_scores_, best_validation_score_,
    out_activation_, n_layers_, n_outputs_, t_ as in scikit-learn; validation_loss_curve_, one loss an epoch, where there
    is validation data; module_, the network, an nn.Sequential; history_, the Trainer's History.
    """


def _stochastic(estimator):
    if estimator.solver == "lbfgs":
        raise AttributeError("partial_fit is only available for stochastic optimizers. lbfgs is not stochastic.")
    return True


class _MLP(BaseEstimator):
    """What both estimators share."""

    def __init__(self, hidden_layer_sizes=(100,), activation="relu", *, solver="adam", alpha=0.0001, batch_size="auto",
                 learning_rate="constant", learning_rate_init=0.001, power_t=0.5, max_iter=200, shuffle=True,
                 random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9, nesterovs_momentum=True,
                 early_stopping=False, validation_fraction=0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-8,
                 n_iter_no_change=10, max_fun=15000, dropout=0.0, callbacks=None):
        self.hidden_layer_sizes, self.activation, self.solver, self.alpha = hidden_layer_sizes, activation, solver, alpha
        self.batch_size, self.learning_rate, self.learning_rate_init = batch_size, learning_rate, learning_rate_init
        self.power_t, self.max_iter, self.shuffle, self.random_state = power_t, max_iter, shuffle, random_state
        self.tol, self.verbose, self.warm_start, self.momentum = tol, verbose, warm_start, momentum
        self.nesterovs_momentum, self.early_stopping = nesterovs_momentum, early_stopping
        self.validation_fraction, self.beta_1, self.beta_2 = validation_fraction, beta_1, beta_2
        self.epsilon, self.n_iter_no_change, self.max_fun = epsilon, n_iter_no_change, max_fun
        self.dropout, self.callbacks = dropout, callbacks

    # ---- fit --------------------------------------------------------------------------------------------------------
    def fit(self, X, y, sample_weight=None, validation=None):
        """Trains from the start (with warm_start: goes on). X (n, features), dense or sparse; y (n) or (n, outputs).

        sample_weight (n): how much each sample counts. validation: a pair (X, y) to measure after every epoch
        (validation_loss_curve_, validation_scores_); with early_stopping it takes the place of a part of X.
        """
        self._validate_params()
        return self._fit(X, y, sample_weight, validation, incremental=False)

    @available_if(_stochastic)
    def partial_fit(self, X, y, sample_weight=None):
        """Trains for one epoch over the given data."""
        if not hasattr(self, "module_"):
            self._validate_params()
        return self._fit(X, y, sample_weight, None, incremental=True)

    def _fit(self, X, y, sample_weight, validation, incremental):
        if validation is not None and not (isinstance(validation, (tuple, list)) and len(validation) == 2):
            raise TypeError(f"{type(self).__name__}.fit: validation must be a pair (X, y), got {type(validation).__name__};"
                            " for a share of X use early_stopping=True, validation_fraction=0.2")
        first = not hasattr(self, "module_") or not self.warm_start and not incremental
        X, y = self._checked(X, y, first)
        target = self._encode(y, first, incremental)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
            if not sample_weight.any():
                raise ValueError("sample_weight is zero for all samples: there is nothing to learn from")
        sample_weight = self._with_class_weight(y, sample_weight, incremental)
        self._made_state = None
        if first:
            self._initialize(X.shape[1], X.dtype)
        if self.solver == "lbfgs":
            tensors = self._tensors(X, target, sample_weight)
            self.n_iter_, self.loss_ = _training.minimize_lbfgs(self, self.module_, self.out_activation_, *tensors)
        elif self.dropout:
            with fork_rng():
                if first or not incremental:
                    manual_seed(int(self._random_state.randint(2**31 - 1)))
                else:  # partial_fit goes on with the masks
                    set_rng_state(self._dropout_state)
                self._fit_stochastic(X, y, target, sample_weight, validation, incremental)
                self._dropout_state = get_rng_state()
        else:
            self._fit_stochastic(X, y, target, sample_weight, validation, incremental)
        if not _training.finite(self.module_):
            raise ValueError("Solver produced non-finite parameter weights. The input data may contain large values and "
                             "need to be preprocessed.")
        return self

    @property
    def _random_state(self):
        """The RandomState of this fit. It is made when first asked for: seeding takes longer than a small step."""
        if self._made_state is None:
            self._made_state = check_random_state(self.random_state)
        return self._made_state

    def _checked(self, X, y, first):
        """X (n, features) of float32 or float64, y as an array. Plain arrays like those before skip the long way."""
        if not first and type(X) is np.ndarray and type(y) is np.ndarray and X.dtype in _DTYPES and X.ndim == 2 \
                and y.ndim == 1 and y.dtype.kind in "iufb" and X.shape == (len(y), self.n_features_in_) and len(y) \
                and not hasattr(self, "feature_names_in_") and np.isfinite(X.sum()) and (
                    y.dtype.kind != "f" or np.isfinite(y.sum())):
            return X, y
        X, y = validate_data(self, X, y, accept_sparse=["csr", "csc"], multi_output=True, dtype=(np.float64, np.float32),
                             y_numeric=self._numeric_target, reset=first)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return (X.tocsr() if hasattr(X, "tocsr") else X), y

    def _initialize(self, features, dtype):
        hidden = self.hidden_layer_sizes
        hidden = list(hidden) if hasattr(hidden, "__iter__") else [hidden]
        if any(n <= 0 for n in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        units = [features, *hidden, self.n_outputs_]
        self.n_layers_, self.n_iter_, self.t_ = len(units), 0, 0
        self.module_ = _training.make_network(units, self.activation, self.dropout, self._random_state, _DTYPES[dtype])
        self._trainer = None
        if self.solver == "lbfgs":
            return
        self.loss_curve_, self._no_improvement_count = [], 0
        self.validation_scores_, self.validation_loss_curve_ = None, None
        self.best_validation_score_ = -np.inf if self.early_stopping else None
        self.best_loss_ = None if self.early_stopping else np.inf

    def _dtype(self):
        return self.module_[0].weight.dtype

    def _tensors(self, X, target, weight):
        """X, the target (n, outputs) or classes (n), and the weights as tensors; a sparse X is made dense."""
        dtype = self._dtype()
        X = self._as_tensor(X.toarray() if hasattr(X, "toarray") else X, dtype)
        return X, self._target_tensor(target, dtype), None if weight is None else self._as_tensor(weight, dtype)

    @staticmethod
    def _as_tensor(array, dtype):
        array = np.ascontiguousarray(array)
        return _C.from_numpy(array if array.flags.writeable else array.copy()).to(dtype)

    def _target_tensor(self, target, dtype):
        if self.out_activation_ == "softmax":
            return _C.from_numpy(np.ascontiguousarray(target, dtype=np.int64))
        return self._as_tensor(target.reshape(len(target), -1), dtype)

    def _fit_stochastic(self, X, y, target, weight, validation, incremental):
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        held_out = None
        if validation is not None:
            X_val, y_val = self._checked(*validation, first=False)
            held_out = (X_val, y_val, self._encode(y_val, False, True), None)
        elif self.early_stopping:
            X, target, weight, held_out = self._split(X, y, target, weight)
        if held_out is not None:
            X_val, y_val, target_val, weight_val = held_out
            held_out = (*self._tensors(X_val, target_val, weight_val), y_val)
            self.validation_scores_, self.validation_loss_curve_ = (
                self.validation_scores_ or [], self.validation_loss_curve_ or [])
        n = X.shape[0]
        size = min(200, n) if self.batch_size == "auto" else int(np.clip(self.batch_size, 1, n))
        if self.batch_size != "auto" and self.batch_size > n:
            warnings.warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
                          stacklevel=3)
        self._samples_seen = n
        sparse = hasattr(X, "toarray")
        dtype = self._dtype()
        tensors = (X if sparse else self._as_tensor(X, dtype), self._target_tensor(target, dtype),
                   None if weight is None else self._as_tensor(weight, dtype))
        # The order within one batch does not matter; where each fit has a new RandomState, nobody misses its numbers.
        shuffled = self.shuffle and (size < n or not incremental or not isinstance(self.random_state, Integral))
        batches = _training.Batches(*tensors, size, (lambda: self._random_state) if shuffled else None, dtype, sparse)
        trainer = self._trainer
        if trainer is None or not incremental:
            trainer = self._trainer = _training.MLPTrainer(
                self.module_, _training.make_optimizer(self, self.module_), self.out_activation_, self.alpha,
                self.n_outputs_)
        rules = _training.StoppingRules(self, held_out, incremental)
        callbacks = self.callbacks if self.callbacks is not None else ()
        callbacks = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
        self.n_iter_ = 0
        self.history_ = trainer.fit(batches, 1 if incremental else self.max_iter, callbacks=[rules, *callbacks])
        if self.history_.stopped == "interrupted":
            warnings.warn("Training interrupted by user.", stacklevel=3)
        elif not incremental and self.n_iter_ == self.max_iter and trainer.stop is None:
            warnings.warn(f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization "
                          "hasn't converged yet.", ConvergenceWarning, stacklevel=3)
        if self.early_stopping and hasattr(self, "_best"):
            with _C.no_grad():
                for p, best in zip(self.module_.parameters(), self._best):
                    p.copy_(best)
            del self._best

    def _split(self, X, y, target, weight):
        """(X, target, weight) to learn from, and (X, y, target, weight) held out for early stopping."""
        stratify = y if self._stratified() else None
        rows = np.arange(X.shape[0])
        # scikit-learn splits the arrays; the random numbers, and so the parts, are the same for their row numbers
        train, held = train_test_split(rows, random_state=self._random_state, test_size=self.validation_fraction,
                                       stratify=stratify)
        if len(held) < 2:
            raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your "
                             "dataset.")
        parts = [(X[i], y[i], target[i], None if weight is None else weight[i]) for i in (train, held)]
        return parts[0][0], parts[0][2], parts[0][3], parts[1]

    # ---- predict ----------------------------------------------------------------------------------------------------
    def _run(self, x):
        """The network's outputs for a tensor, in blocks, without dropout."""
        network = self.module_
        training = network.training
        if training and any(isinstance(m, nn.Dropout) for m in network):
            network.eval()
        with _C.no_grad():
            blocks = [network(block) for block in x.split(16384)]
        if network.training is not training:
            network.train()
        return blocks[0] if len(blocks) == 1 else _C.cat(blocks)

    def _outputs(self, X):
        """The outputs (n, outputs) before the output activation, as a tensor."""
        check_is_fitted(self, "module_")
        X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=(np.float64, np.float32), reset=False)
        dtype = self._dtype()
        if not hasattr(X, "toarray"):
            return self._run(self._as_tensor(X, dtype))
        X = X.tocsr()
        blocks = [self._run(self._as_tensor(X[i:i + 4096].toarray(), dtype)) for i in range(0, X.shape[0], 4096)]
        return blocks[0] if len(blocks) == 1 else _C.cat(blocks)

    @property
    def coefs_(self):
        """The weights of the layers, (fan_in, fan_out) each."""
        return [layer.weight.detach().t().numpy() for layer in self._layers("coefs_")]

    @property
    def intercepts_(self):
        """The biases of the layers."""
        return [layer.bias.detach().numpy() for layer in self._layers("intercepts_")]

    def _layers(self, name):
        if "module_" not in vars(self):
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}' before fit")
        return _training.linear_layers(self.module_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class MLPClassifier(ClassifierMixin, _MLP):
    __doc__ = """A network of linear layers that tells classes apart, trained with the log loss.
    """ + _PARAMETERS + """class_weight: None, "balanced", or a dict {class: weight}; multiplies the sample weights.
    """ + _ATTRIBUTES

    _parameter_constraints = {**_PeerClassifier._parameter_constraints, "dropout": [Interval(Real, 0, 1, closed="left")],
                              "callbacks": "no_validation", "class_weight": "no_validation"}
    _numeric_target = False

    def __init__(self, hidden_layer_sizes=(100,), activation="relu", *, solver="adam", alpha=0.0001, batch_size="auto",
                 learning_rate="constant", learning_rate_init=0.001, power_t=0.5, max_iter=200, shuffle=True,
                 random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9, nesterovs_momentum=True,
                 early_stopping=False, validation_fraction=0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-8,
                 n_iter_no_change=10, max_fun=15000, dropout=0.0, class_weight=None, callbacks=None):
        super().__init__(
            hidden_layer_sizes, activation, solver=solver, alpha=alpha, batch_size=batch_size,
            learning_rate=learning_rate, learning_rate_init=learning_rate_init, power_t=power_t, max_iter=max_iter,
            shuffle=shuffle, random_state=random_state, tol=tol, verbose=verbose, warm_start=warm_start,
            momentum=momentum, nesterovs_momentum=nesterovs_momentum, early_stopping=early_stopping,
            validation_fraction=validation_fraction, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon,
            n_iter_no_change=n_iter_no_change, max_fun=max_fun, dropout=dropout, callbacks=callbacks)
        self.class_weight = class_weight

    @available_if(_stochastic)
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Trains for one epoch over the given data. classes: all classes there will be; needed in the first call."""
        if not hasattr(self, "module_"):
            self._validate_params()
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            self._multilabel = type_of_target(y).startswith("multilabel")
            self.classes_ = np.arange(np.shape(y)[1]) if self._multilabel else unique_labels(classes)
            self._set_outputs()
        elif classes is not None and not np.array_equal(self.classes_, unique_labels(classes)) and not self._multilabel:
            raise ValueError(f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                             f"{self.classes_!r}")
        return self._fit(X, y, sample_weight, None, incremental=True)

    def _set_outputs(self):
        """n_outputs_ and out_activation_: one output for two classes, one each for more, one a label."""
        several = not self._multilabel and len(self.classes_) > 2
        self.n_outputs_ = len(self.classes_) if several or self._multilabel else 1
        self.out_activation_ = "softmax" if several else "logistic"

    def _encode(self, y, first, incremental):
        """The targets: class numbers (n) for softmax, else 0 and 1 (n, outputs)."""
        if first and not incremental:
            check_classification_targets(y)
            kind = type_of_target(y)
            if kind == "multiclass-multioutput":
                raise ValueError("Multioutput target data is not supported with label binarization")
            self._multilabel = kind.startswith("multilabel")
            self.classes_ = np.arange(y.shape[1]) if self._multilabel else np.unique(y)
            self._set_outputs()
        if self._multilabel:
            if y.ndim != 2 or y.shape[1] != len(self.classes_):
                raise ValueError(f"expected y with {len(self.classes_)} labels, got shape {y.shape}")
            return y.toarray() if hasattr(y, "toarray") else y
        number = np.minimum(np.searchsorted(self.classes_, y), len(self.classes_) - 1)
        if not np.array_equal(self.classes_[number], y):
            check_classification_targets(y)
            raise ValueError(f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has "
                             f"{unique_labels(y)}.")
        if self.warm_start and not incremental and not first and len(np.unique(number)) != len(self.classes_):
            raise ValueError("warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                             f"Previously got {self.classes_}, `y` has {unique_labels(y)}")
        return number

    def _with_class_weight(self, y, sample_weight, incremental):
        if self.class_weight is None:
            return sample_weight
        if incremental and isinstance(self.class_weight, str):
            raise ValueError("class_weight 'balanced' is not supported for partial_fit, which does not see all samples. "
                             "Give a dict: compute_class_weight('balanced', classes=classes, y=y) of all labels")
        weight = compute_sample_weight(self.class_weight, y)
        return weight if sample_weight is None else weight * sample_weight

    def _stratified(self):
        return not self._multilabel and self.n_outputs_ == 1

    def _classes_of(self, outputs):
        """The predicted classes (n), or labels (n, labels), of outputs."""
        if self.out_activation_ == "softmax":
            return self.classes_[outputs.argmax(1).numpy()]
        yes = (outputs > 0).numpy()
        if self._multilabel:
            return yes.astype(int)
        return self.classes_[np.minimum(yes[:, 0].astype(int), len(self.classes_) - 1)]

    def _score_outputs(self, outputs, y, weight):
        return accuracy_score(y, self._classes_of(outputs), sample_weight=weight)

    def predict(self, X):
        """The classes (n), or labels (n, labels), of X."""
        return self._classes_of(self._outputs(X))

    def predict_proba(self, X):
        """The probabilities of the classes, (n, classes); of labels each on its own."""
        outputs = self._outputs(X)
        if self.out_activation_ == "softmax":
            return _C.softmax(outputs, 1).numpy()
        p = outputs.sigmoid().numpy()
        if self._multilabel:
            return p
        return np.hstack([1 - p, p]) if len(self.classes_) > 1 else np.ones_like(p)

    def predict_log_proba(self, X):
        """The logarithms of predict_proba."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(RegressorMixin, _MLP):
    __doc__ = """A network of linear layers for numbers, trained with the squared error or the Poisson deviance.

    loss: "squared_error" or "poisson" (for counts, y >= 0; the network gives the logarithm of the mean).
    """ + _PARAMETERS + _ATTRIBUTES

    _parameter_constraints = {**_PeerRegressor._parameter_constraints, "dropout": [Interval(Real, 0, 1, closed="left")],
                              "callbacks": "no_validation"}
    _numeric_target = True

    def __init__(self, loss="squared_error", hidden_layer_sizes=(100,), activation="relu", *, solver="adam", alpha=0.0001,
                 batch_size="auto", learning_rate="constant", learning_rate_init=0.001, power_t=0.5, max_iter=200,
                 shuffle=True, random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9,
                 nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1, beta_1=0.9, beta_2=0.999,
                 epsilon=1e-8, n_iter_no_change=10, max_fun=15000, dropout=0.0, callbacks=None):
        super().__init__(
            hidden_layer_sizes, activation, solver=solver, alpha=alpha, batch_size=batch_size,
            learning_rate=learning_rate, learning_rate_init=learning_rate_init, power_t=power_t, max_iter=max_iter,
            shuffle=shuffle, random_state=random_state, tol=tol, verbose=verbose, warm_start=warm_start,
            momentum=momentum, nesterovs_momentum=nesterovs_momentum, early_stopping=early_stopping,
            validation_fraction=validation_fraction, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon,
            n_iter_no_change=n_iter_no_change, max_fun=max_fun, dropout=dropout, callbacks=callbacks)
        self.loss = loss

    def _encode(self, y, first, incremental):
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError("loss='poisson' needs y >= 0")
        outputs = 1 if y.ndim == 1 else y.shape[1]
        if first:
            self.n_outputs_ = outputs
            self.out_activation_ = "exp" if self.loss == "poisson" else "identity"
        elif outputs != self.n_outputs_:
            raise ValueError(f"expected y with {self.n_outputs_} output(s), as before, got {outputs}")
        return y

    def _with_class_weight(self, y, sample_weight, incremental):
        return sample_weight

    def _stratified(self):
        return False

    def _numbers(self, outputs):
        outputs = (outputs.exp() if self.out_activation_ == "exp" else outputs).numpy()
        return outputs[:, 0] if self.n_outputs_ == 1 else outputs

    def _score_outputs(self, outputs, y, weight):
        predicted = self._numbers(outputs)
        return r2_score(y, predicted, sample_weight=weight) if np.isfinite(predicted).all() else np.nan

    def predict(self, X):
        """The predicted numbers, (n) or (n, outputs)."""
        return self._numbers(self._outputs(X))
