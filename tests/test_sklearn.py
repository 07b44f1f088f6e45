"""fireseed.sklearn: scikit-learn's own checks, its numbers, and what it lacks."""

import pickle
import warnings

import fireseed as fs
import numpy as np
import pytest
from fireseed import train

pytest.importorskip("sklearn")
import sklearn.neural_network as peer  # noqa: E402
from fireseed import sklearn as ours  # noqa: E402
from scipy import sparse  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.exceptions import ConvergenceWarning, NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.RandomState(0)
X = RNG.randn(300, 8)
TARGETS = {
    "two classes": (X[:, 0] + X[:, 1] > 0).astype(int),
    "classes": np.array(list("abcd"))[X[:, :4].argmax(1)],
    "labels": (X[:, :3] > 0).astype(int),
    "numbers": X[:, 0] * 2 + X[:, 1] ** 2,
    "two numbers": X[:, :2] * 2 + 1,
}
WAYS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.1},
    "sgd without nesterov": {"solver": "sgd", "learning_rate_init": 0.05, "nesterovs_momentum": False},
    "sgd without momentum": {"solver": "sgd", "learning_rate_init": 0.05, "momentum": 0.0},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.3, "max_iter": 80, "tol": 1e-3},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5},
    "early stopping": {"early_stopping": True, "max_iter": 60},
    "tanh, alpha, batches": {"activation": "tanh", "batch_size": 32, "alpha": 0.1},
    "logistic, two layers": {"activation": "logistic", "hidden_layer_sizes": (7, 5)},
    "linear, not shuffled": {"activation": "identity", "hidden_layer_sizes": 6, "shuffle": False, "batch_size": 64},
    "lbfgs": {"solver": "lbfgs", "max_iter": 15},
}


def pair(name):
    return (peer.MLPRegressor, ours.MLPRegressor) if "numbers" in name else (peer.MLPClassifier, ours.MLPClassifier)


@pytest.mark.parametrize("estimator", [ours.MLPClassifier, ours.MLPRegressor])
def test_check_estimator(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(estimator(), on_skip=None)
    assert len(results) > 50
    # skipped: a check behind an environment variable, and one of a method that is not there
    assert all(r["status"] == "passed" or r["status"] == "skipped" and r["check_name"] in (
        "check_array_api_input", "check_classifiers_multilabel_output_format_decision_function") for r in results)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("way", WAYS)
def test_same_numbers(target, way):
    """For one random_state: scikit-learn's weights, losses, iterations and predictions."""
    if (target, way) == ("two numbers", "lbfgs"):
        pytest.skip("scikit-learn's loss is a mean over outputs and its gradient a sum, which misleads its line search")
    y = TARGETS[target]
    if way == "early stopping" and target == "classes":
        y = X[:, :4].argmax(1)  # scikit-learn 1.7 cannot score classes that are strings on the way
    options = {"max_iter": 30, "random_state": 3, "hidden_layer_sizes": (20,), **WAYS[way]}
    if "numbers" in target and options.get("solver") == "sgd":
        options["learning_rate_init"] = 0.01  # larger ones diverge
    a, b = (kind(**options).fit(X, y) for kind in pair(target))
    for p, q in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_):
        np.testing.assert_allclose(q, p, rtol=0, atol=1e-9)
    assert a.n_iter_ == b.n_iter_ and a.loss_ == pytest.approx(b.loss_, abs=1e-10)
    if way != "lbfgs":
        np.testing.assert_allclose(b.loss_curve_, a.loss_curve_, atol=1e-10)
        assert a.t_ == b.t_
    if way == "early stopping":
        np.testing.assert_allclose(b.validation_scores_, a.validation_scores_, atol=1e-12)
        assert a.best_validation_score_ == pytest.approx(b.best_validation_score_)
    for name in ("n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(a, name) == getattr(b, name)
    if "numbers" in target:
        np.testing.assert_allclose(b.predict(X), a.predict(X), atol=1e-9)
    else:
        assert np.array_equal(a.predict(X), b.predict(X))
        np.testing.assert_allclose(b.predict_proba(X), a.predict_proba(X), atol=1e-9)
        np.testing.assert_allclose(b.predict_log_proba(X), a.predict_log_proba(X), atol=1e-6)
        assert np.array_equal(a.classes_, b.classes_) or target == "labels"


def test_same_numbers_in_other_forms():
    """Sample weights, Poisson loss, sparse and float32 input, partial_fit, warm starts."""
    w = RNG.rand(300)
    for name in ("classes", "two classes", "labels", "numbers"):
        a, b = (kind(max_iter=10, random_state=0, batch_size=50).fit(X, TARGETS[name], sample_weight=w) for kind in pair(name))
        np.testing.assert_allclose(b.coefs_[0], a.coefs_[0], atol=1e-9)
        assert a.loss_ == pytest.approx(b.loss_, abs=1e-10)
    counts = RNG.poisson(np.exp(X[:, 0]))
    a, b = (kind(loss="poisson", max_iter=10, random_state=0).fit(X, counts) for kind in pair("numbers"))
    np.testing.assert_allclose(b.predict(X), a.predict(X), rtol=1e-9)
    S = sparse.csr_matrix(np.where(X > 0.5, X, 0))
    a, b = (kind(max_iter=5, random_state=0, batch_size=64).fit(S, TARGETS["classes"]) for kind in pair("classes"))
    np.testing.assert_allclose(b.predict_proba(S.tocsc()), a.predict_proba(S), atol=1e-9)
    a, b = (kind(max_iter=20, random_state=0).fit(X.astype(np.float32), TARGETS["classes"]) for kind in pair("classes"))
    assert b.coefs_[0].dtype == np.float32 and b.predict_proba(X).dtype == np.float32
    np.testing.assert_allclose(b.coefs_[0], a.coefs_[0], atol=1e-3)
    for state in (0, None, "instance"):
        a, b = (kind(batch_size=32) for kind in pair("classes"))
        for e in (a, b):
            e.set_params(random_state=np.random.RandomState(2) if state == "instance" else state)
            np.random.seed(7)
            for i in range(6):
                e.partial_fit(X[i * 50 : i * 50 + 50], TARGETS["classes"][i * 50 : i * 50 + 50], classes=list("abcd"))
        np.testing.assert_allclose(b.coefs_[0], a.coefs_[0], atol=1e-9)
    a, b = (kind(max_iter=4, random_state=0, warm_start=True) for kind in pair("classes"))
    for e in (a, b):
        e.fit(X, TARGETS["classes"]).fit(X, TARGETS["classes"])
    np.testing.assert_allclose(b.coefs_[0], a.coefs_[0], atol=1e-9)
    assert len(b.loss_curve_) == len(a.loss_curve_) == 8


def test_it_learns_and_composes():
    """A grid search over a pipeline on the digits; clone, pickle, cross-validation."""
    digits, labels = load_digits(return_X_y=True)
    pipe = make_pipeline(StandardScaler(), ours.MLPClassifier(max_iter=40, random_state=0))
    search = GridSearchCV(pipe, {"mlpclassifier__dropout": [0.0, 0.3]}, cv=2).fit(digits[:600], labels[:600])
    assert search.score(digits[600:], labels[600:]) > 0.88
    best = search.best_estimator_
    again = pickle.loads(pickle.dumps(best))
    assert np.array_equal(again.predict(digits), best.predict(digits))
    again[-1].partial_fit(digits[:50], labels[:50])  # the optimizer came along
    with pytest.raises(NotFittedError):
        clone(best).predict(digits)
    assert cross_val_score(ours.MLPRegressor(max_iter=300, random_state=0), X, TARGETS["numbers"], cv=3).mean() > 0.7


def test_dropout():
    options = {"hidden_layer_sizes": (50,), "max_iter": 10, "random_state": 0}
    y = TARGETS["classes"]
    fs.manual_seed(1)
    state = fs.get_rng_state()
    plain, a, b = (ours.MLPClassifier(**options, dropout=p).fit(X, y) for p in (0.0, 0.4, 0.4))
    assert np.array_equal(a.coefs_[0], b.coefs_[0]) and not np.array_equal(a.coefs_[0], plain.coefs_[0])
    assert np.array_equal(a.predict_proba(X), a.predict_proba(X))  # none of it when predicting
    assert fs.equal(state, fs.get_rng_state())  # the program's random numbers are left alone
    large = [ours.MLPClassifier((300,), max_iter=150, random_state=0, dropout=p).fit(X[:100], y[:100]) for p in (0.0, 0.5)]
    assert large[1].loss_ > 2 * large[0].loss_
    e = ours.MLPClassifier((50,), random_state=0, dropout=0.5)
    masks = []

    class Look(train.Callback):
        def on_epoch_end(self, trainer, logs):
            masks.append(fs.get_rng_state())

    e.set_params(callbacks=[Look()])
    for _ in range(2):
        e.partial_fit(X[:20], y[:20], classes=list("abcd"))
    assert not fs.equal(*masks)  # new masks in each call
    with pytest.raises(ValueError, match="dropout"):
        ours.MLPClassifier(dropout=1.0).fit(X, y)


def test_class_weight():
    y = (X[:, 0] > 1.3).astype(int)  # one in ten
    recall = {}
    for weight in (None, "balanced", {0: 1.0, 1: 20.0}):
        e = ours.MLPClassifier(max_iter=20, random_state=0, class_weight=weight).fit(X, y)
        recall[str(weight)] = e.predict(X)[y == 1].mean()
    assert recall["balanced"] > recall["None"] and recall["{0: 1.0, 1: 20.0}"] > recall["None"]
    w = np.where(y == 1, 20.0, 1.0)
    a = ours.MLPClassifier(max_iter=5, random_state=0, class_weight={0: 1.0, 1: 20.0}).fit(X, y, sample_weight=np.full(300, 0.5))
    b = ours.MLPClassifier(max_iter=5, random_state=0).fit(X, y, sample_weight=0.5 * w)
    np.testing.assert_allclose(a.coefs_[0], b.coefs_[0], atol=1e-12)
    with pytest.raises(ValueError, match="'balanced' is not supported for partial_fit"):
        ours.MLPClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1])
    c = ours.MLPClassifier(class_weight={0: 1.0, 1: 20.0}, random_state=0).partial_fit(X, y, classes=[0, 1])
    d = ours.MLPClassifier(random_state=0).partial_fit(X, y, sample_weight=w, classes=[0, 1])
    np.testing.assert_allclose(c.coefs_[0], d.coefs_[0], atol=1e-12)


def test_validation_curve():
    """The losses on held-out data after every epoch, given or split off."""
    y = TARGETS["classes"]
    e = ours.MLPClassifier(max_iter=12, random_state=0).fit(X[:200], y[:200], validation=(X[200:], y[200:]))
    assert len(e.validation_loss_curve_) == len(e.validation_scores_) == len(e.loss_curve_) == 12
    assert e.validation_scores_[-1] == e.score(X[200:], y[200:])
    p = e.predict_proba(X[200:])
    expected = -np.log(p[np.arange(100), np.searchsorted(e.classes_, y[200:])]).mean()
    assert e.validation_loss_curve_[-1] == pytest.approx(expected)
    e = ours.MLPRegressor(max_iter=12, random_state=0, early_stopping=True).fit(X, TARGETS["numbers"])
    assert len(e.validation_loss_curve_) == len(e.validation_scores_) == 12
    a = ours.MLPClassifier(max_iter=200, random_state=0, early_stopping=True, n_iter_no_change=3).fit(
        X[:200], y[:200], validation=(X[200:], y[200:]))
    assert a.best_validation_score_ == max(a.validation_scores_) == a.score(X[200:], y[200:])  # the best weights are back
    assert a.n_iter_ < 200
    assert ours.MLPClassifier(max_iter=2).fit(X, y).validation_loss_curve_ is None


def test_callbacks():
    class Record(train.Callback):
        def __init__(self):
            self.losses = []

        def on_epoch_end(self, trainer, logs):
            self.losses.append(logs["loss"])
            if len(self.losses) == 4:
                trainer.stop = "enough"

    record = Record()
    e = ours.MLPClassifier(max_iter=50, random_state=0, callbacks=record).fit(X, TARGETS["classes"])
    assert record.losses == e.loss_curve_ == e.history_["loss"] and e.n_iter_ == 4 and e.history_.stopped == "enough"

    class Interrupt(train.Callback):
        def on_epoch_end(self, trainer, logs):
            if trainer.epoch == 3:
                raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted"):
        e = ours.MLPClassifier(max_iter=50, random_state=0, early_stopping=True, callbacks=[Interrupt()]).fit(X, TARGETS["classes"])
    assert e.n_iter_ == 3 and e.score(X, TARGETS["classes"]) > 0.2


def test_messages(capsys):
    y = TARGETS["two classes"]
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\)"):
        ours.MLPClassifier(max_iter=2, random_state=0, verbose=True).fit(X, y)
    assert "Iteration 2, loss = 0." in capsys.readouterr().out
    with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge after 1"):
        ours.MLPRegressor(solver="lbfgs", max_iter=1).fit(X, TARGETS["numbers"])
    with pytest.warns(UserWarning, match="batch_size"):
        ours.MLPClassifier(batch_size=500, max_iter=2).fit(X, y)
    with pytest.raises(ValueError, match="non-finite"):
        with np.errstate(all="ignore"):
            ours.MLPRegressor(solver="sgd", learning_rate_init=1e6, max_iter=20).fit(X, TARGETS["numbers"])
    assert not hasattr(ours.MLPClassifier(solver="lbfgs"), "partial_fit")
    for options, text in (({"hidden_layer_sizes": (4, 0)}, "must be > 0"), ({"activation": "swish"}, "activation"), ({"alpha": -1}, "alpha")):
        with pytest.raises(ValueError, match=text):
            ours.MLPClassifier(**options).fit(X, y)
    e = ours.MLPClassifier(max_iter=2)
    with pytest.raises(TypeError, match=r"validation must be a pair \(X, y\), got float; .* validation_fraction"):
        e.fit(X, y, validation=0.2)
    with pytest.raises(ValueError, match="classes must be passed"):
        e.partial_fit(X, y)
    e.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="classes not in"):
        e.partial_fit(X, y + 1)
    with pytest.raises(ValueError, match="is not the same as on last call"):
        e.partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="NaN"):
        e.partial_fit(np.where(X > 2, np.nan, X), y)
    with pytest.raises(ValueError, match="features"):
        e.partial_fit(X[:, :3], y)
    with pytest.raises(ValueError, match="early_stopping"):
        ours.MLPClassifier(early_stopping=True).partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="zero"):
        e.fit(X, y, sample_weight=np.zeros(300))
    with pytest.raises(ValueError, match="y >= 0"):
        ours.MLPRegressor(loss="poisson").fit(X, -np.ones(300))
    with pytest.raises(AttributeError, match="before fit"):
        _ = ours.MLPClassifier().coefs_
