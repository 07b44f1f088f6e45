"""Layers on CUDA train as on the CPU: images through convolutions, in both memory formats. Runs where fireseed.cuda.is_available()."""
import copy

import numpy as np
import pytest
from under_test import F, lib, nn, to_numpy

needs_cuda = pytest.mark.skipif(not lib.cuda.is_available(), reason="no CUDA device and no emulated plugin")


@pytest.fixture
def exact():
    """Float32 convolutions in full float32."""
    before = lib.backends.cudnn.allow_tf32
    lib.backends.cudnn.allow_tf32 = False
    yield
    lib.backends.cudnn.allow_tf32 = before


def losses(model, x, target, steps=4):
    optimizer = lib.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    result = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        result.append(loss.item())
    return result


def small_cnn():
    lib.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Conv2d(8, 16, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2, dilation=1, padding=1), nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 2, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


@needs_cuda
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_small_cnn_trains_as_on_the_cpu(exact, channels_last):
    model = small_cnn().cpu()
    x, target = lib.randn(4, 3, 12, 12, device="cpu"), lib.tensor([0, 3, 1, 4], device="cpu")
    on_device = copy.deepcopy(model).cuda()
    want = losses(model, x, target)
    images = x.cuda()
    if channels_last:
        on_device, images = on_device.to(memory_format=lib.channels_last), images.to(memory_format=lib.channels_last)
    got = losses(on_device, images, target.cuda())
    np.testing.assert_allclose(got, want, rtol=2e-4)
    for a, b in zip(on_device.parameters(), model.parameters()):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-2, atol=2e-4)
    assert want[-1] < want[0]


@needs_cuda
def test_sequences_and_volumes(exact):
    lib.manual_seed(0)
    for layer, x in ((nn.Conv1d(4, 6, 5, padding=2), lib.randn(2, 4, 20, device="cpu")),
                     (nn.Conv3d(2, 6, 3, padding=1), lib.randn(1, 2, 4, 5, 6, device="cpu"))):
        layer = layer.cpu()
        y = layer(x)
        np.testing.assert_allclose(to_numpy(copy.deepcopy(layer).cuda()(x.cuda())), to_numpy(y), rtol=1e-5, atol=1e-5)


@needs_cuda
def test_results_keep_the_memory_format():
    conv = nn.Conv2d(8, 16, 3, padding=1).cuda()
    x = lib.randn(2, 8, 6, 6, device="cuda").to(memory_format=lib.channels_last).requires_grad_()
    y = conv(x)
    assert y.is_contiguous(memory_format=lib.channels_last) and not y.is_contiguous()
    (gx,) = lib.autograd.grad(y.relu().sum(), x)
    assert gx.is_contiguous(memory_format=lib.channels_last)
    assert conv(x.detach().contiguous()).is_contiguous()


@needs_cuda
def test_float32_convolutions_round_to_tf32_only_where_allowed(exact):
    conv = nn.Conv2d(16, 16, 3, bias=False).cuda()
    x = lib.full((1, 16, 5, 5), 1 + 2.0 ** -13, device="cuda")
    with lib.no_grad():
        conv.weight.fill_(0)
        for i in range(16):
            conv.weight[i, i, 1, 1] = 1
        assert lib.equal(conv(x), x[:, :, 1:-1, 1:-1])
        with lib.backends.cudnn.flags(allow_tf32=True):
            assert lib.equal(conv(x), lib.ones_like(x)[:, :, 1:-1, 1:-1])
        assert not lib.backends.cudnn.allow_tf32
