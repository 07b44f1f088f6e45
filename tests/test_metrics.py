"""Metrics, streamed batch by batch, beside scikit-learn's on all samples at once."""

import warnings

import fireseed as fs
import numpy as np
import pytest
from fireseed import nn, train

sk = pytest.importorskip("sklearn.metrics")


def stream(metric, output, target, size=7):
    """The metric after batches of `size`, as an epoch gives them."""
    metric = metric.fresh()
    for i in range(0, len(target), size):
        metric.update(fs.tensor(output[i : i + size]), fs.tensor(target[i : i + size]))
    return metric.compute()


def scores(n=103, classes=4, seed=0, absent=()):
    rng = np.random.RandomState(seed)
    target = rng.choice([c for c in range(classes) if c not in absent], n)
    output = rng.randn(n, classes).astype(np.float32)
    output[np.arange(n), target] += 0.7
    return output, target


def softmax(x):
    e = np.exp(x.astype(np.float64))
    return e / e.sum(1, keepdims=True)


CASES = [scores(), scores(50, 2, 1), scores(31, 6, 2, absent=(0, 3)), scores(3, 5, 3)]


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_classes(case, size):
    output, target = CASES[case]
    answer = output.argmax(1)
    assert stream(train.Accuracy(), output, target, size) == pytest.approx(sk.accuracy_score(target, answer), abs=1e-12)
    k = min(3, output.shape[1] - 1)
    expected = sk.top_k_accuracy_score(target, output if output.shape[1] > 2 else softmax(output)[:, 1], k=k, labels=range(output.shape[1]))
    assert stream(train.TopK(k), output, target, size) == pytest.approx(expected, abs=1e-12)
    averages = ["macro", "micro", "weighted"] + (["binary"] if output.shape[1] == 2 else [])
    for kind, reference in ((train.Precision, sk.precision_score), (train.Recall, sk.recall_score), (train.F1, sk.f1_score)):
        for average in averages:
            expected = reference(target, answer, average=average, zero_division=0)
            assert stream(kind(average), output, target, size) == pytest.approx(expected, abs=1e-12), (kind, average)


@pytest.mark.parametrize("logits", [True, False])
def test_yes_no(logits):
    rng = np.random.RandomState(0)
    target = rng.randint(0, 2, 90).astype(np.float32)
    output = (rng.randn(90) + target).astype(np.float32)
    if not logits:
        output = 1 / (1 + np.exp(-output))
    answer = output > (0 if logits else 0.5)
    for out, t in ((output, target), (output[:, None], target[:, None])):
        assert stream(train.Accuracy(), out, t) == pytest.approx(sk.accuracy_score(target, answer))
        assert stream(train.F1(), out, t) == pytest.approx(sk.f1_score(target, answer))
        assert stream(train.Precision("macro"), out, t) == pytest.approx(sk.precision_score(target, answer, average="macro"))
        assert stream(train.AUROC(), out, t) == pytest.approx(sk.roc_auc_score(target, output), abs=1e-12)


def test_the_loss_tells_logits_from_probabilities():
    """A batch of logits that all happen to lie in [0, 1] is still one of logits if the loss says so."""
    data = [(fs.tensor([[0.2], [0.4]]), fs.tensor([[1.0], [1.0]]))]
    for loss, right in ((nn.BCEWithLogitsLoss(), 1.0), (nn.BCELoss(), 0.0)):
        t = train.Trainer(nn.Identity(), loss=loss, metrics=["accuracy", "recall"])
        figures = t.validate(data)
        assert figures["accuracy"] == right and figures["recall"] == right


def test_labels():
    """Several yes/no questions a sample."""
    rng = np.random.RandomState(0)
    target = (rng.rand(60, 3) < [0.2, 0.5, 0.8]).astype(np.float32)
    output = (rng.randn(60, 3) + target).astype(np.float32)
    answer = output > 0
    for average in ("macro", "micro", "weighted"):
        for kind, reference in ((train.Precision, sk.precision_score), (train.Recall, sk.recall_score), (train.F1, sk.f1_score)):
            assert stream(kind(average), output, target) == pytest.approx(reference(target, answer, average=average), abs=1e-12)
    for average in ("macro", "weighted"):
        expected = sk.roc_auc_score(target, output, average=average)
        assert stream(train.AUROC(average=average), output, target) == pytest.approx(expected, abs=1e-12)
    assert stream(train.Accuracy(), output, target) == pytest.approx((answer == target).mean())
    with pytest.raises(ValueError, match="average='binary' is for two classes, there are 3"):
        stream(train.F1("binary"), output, target)


def test_auroc_of_classes():
    output, target = CASES[0]
    p = softmax(output)
    for out in (output, p):
        for multi_class, average in (("ovr", "macro"), ("ovr", "weighted"), ("ovo", "macro")):
            expected = sk.roc_auc_score(target, p, multi_class=multi_class, average=average)
            assert stream(train.AUROC(multi_class, average), out, target) == pytest.approx(expected, abs=1e-12)
    output, target = CASES[1]
    assert stream(train.AUROC(), output, target) == pytest.approx(sk.roc_auc_score(target, softmax(output)[:, 1]), abs=1e-9)


def test_auroc_with_ties():
    rng = np.random.RandomState(1)
    output, target = rng.randint(0, 4, 200).astype(np.float32), rng.randint(0, 2, 200)
    assert stream(train.AUROC(), output, target) == pytest.approx(sk.roc_auc_score(target, output), abs=1e-12)
    assert np.isnan(stream(train.AUROC(), output, np.ones_like(target)))  # there is no curve
    assert stream(train.AUROC(), np.zeros(4, np.float32), np.array([0, 1, 0, 1])) == 0.5


@pytest.mark.parametrize("shape", [(101,), (101, 1), (101, 3)])
@pytest.mark.parametrize("size", [1, 8, 1000])
def test_numbers(shape, size):
    rng = np.random.RandomState(0)
    target = (rng.randn(*shape) * 3 + 1000).astype(np.float32)  # a large mean: sums of squares would lose digits
    output = (target + rng.randn(*shape)).astype(np.float32)
    exact = target.astype(np.float64), output.astype(np.float64)  # scikit-learn would sum in float32
    assert stream(train.MAE(), output, target, size) == pytest.approx(sk.mean_absolute_error(*exact), rel=1e-12)
    assert stream(train.MSE(), output, target, size) == pytest.approx(sk.mean_squared_error(*exact), rel=1e-12)
    assert stream(train.RMSE(), output, target, size) == pytest.approx(sk.mean_squared_error(*exact) ** 0.5, rel=1e-12)
    for multioutput in ("uniform_average", "variance_weighted"):
        expected = sk.r2_score(*exact, multioutput=multioutput)
        assert stream(train.R2(multioutput), output, target, size) == pytest.approx(expected, rel=1e-9)


def test_r2_without_variance():
    for output, target in (([1.0, 2.0], [3.0, 3.0]), ([3.0, 3.0], [3.0, 3.0])):
        assert stream(train.R2(), np.float32(output), np.float32(target)) == sk.r2_score(target, output)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isnan(sk.r2_score([1.0], [2.0])) and np.isnan(stream(train.R2(), np.float32([2]), np.float32([1])))


def test_positions_and_ignored_targets():
    """Output (N, C, L) with target (N, L), some positions ignored."""
    rng = np.random.RandomState(0)
    output, target = rng.randn(20, 5, 6).astype(np.float32), rng.randint(0, 5, (20, 6))
    target[rng.rand(20, 6) < 0.3] = -100
    valid = target != -100
    answer = output.argmax(1)[valid]
    assert stream(train.Accuracy(), output, target) == pytest.approx(sk.accuracy_score(target[valid], answer))
    assert stream(train.F1(), output, target) == pytest.approx(sk.f1_score(target[valid], answer, average="macro"))
    assert stream(train.TopK(5), output, target) == 1.0
    zero = target != 0
    both = valid & zero
    got = stream(train.Accuracy(ignore_index=0), output, np.where(valid, target, 0))
    assert got == pytest.approx(sk.accuracy_score(target[both], output.argmax(1)[both]))


def test_in_the_trainer():
    """An epoch's figures are those of all its samples, in training (before each step) and in validation."""
    output, target = CASES[0]
    names = ["accuracy", "top2", "precision", "recall", "f1", "auroc", train.F1("weighted"), lambda o, t: 3.0]
    net = nn.Identity()
    t = train.Trainer(net, loss=nn.CrossEntropyLoss(), metrics=names, progress=False)
    data = [(fs.tensor(output[i : i + 9]), fs.tensor(target[i : i + 9])) for i in range(0, len(target), 9)]
    figures = t.validate(data)
    answer = output.argmax(1)
    assert figures["f1"] == pytest.approx(sk.f1_score(target, answer, average="macro"))
    assert figures["f1_weighted"] == pytest.approx(sk.f1_score(target, answer, average="weighted"))
    assert figures["auroc"] == pytest.approx(sk.roc_auc_score(target, softmax(output), multi_class="ovr"))
    assert figures["top2"] == pytest.approx(sk.top_k_accuracy_score(target, output, k=2))
    assert figures["<lambda>"] == 3.0 and set(figures) == {"loss", "accuracy", "top2", "precision", "recall", "f1", "auroc", "f1_weighted", "<lambda>"}
    assert t.validate(data) == figures  # nothing stays behind
    t = train.Trainer(net, loss=nn.MSELoss(), metrics={"error": "mae", "fit": train.R2}, progress=False)
    assert set(t.validate([(fs.ones(4, 1), fs.zeros(4, 1))])) == {"loss", "error", "fit"}


def test_mistakes():
    with pytest.raises(ValueError, match="unknown metric 'acuracy'; there are accuracy"):
        train.Trainer(nn.ReLU(), metrics=["acuracy"])
    with pytest.raises(TypeError, match="expected names, Metrics or functions, got a int"):
        train.Trainer(nn.ReLU(), metrics=[3])
    with pytest.raises(ValueError, match=r"r2: got output of shape \(4, 1\) with target of shape \(4,\)"):
        train.R2()(fs.zeros(4, 1), fs.zeros(4))
    with pytest.raises(ValueError, match="auroc: got output"):
        train.AUROC()(fs.zeros(4, 3), fs.zeros(5))
    with pytest.raises(ValueError, match="f1: got output"):
        train.F1()(fs.zeros(4, 3), fs.zeros(5))
    with pytest.raises(ValueError, match="top3: got output"):
        train.TopK(3)(fs.zeros(4), fs.zeros(4))
    for bad in (lambda: train.F1("median"), lambda: train.AUROC("ova"), lambda: train.AUROC("ovo", "weighted"), lambda: train.R2("x")):
        with pytest.raises(ValueError, match="must be"):
            bad()
    for metric in (train.Accuracy(), train.F1(), train.AUROC(), train.R2(), train.MAE(), train.TopK()):
        assert np.isnan(metric.compute())  # no batches
