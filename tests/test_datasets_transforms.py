"""datasets.transforms: values, torchvision's names and draws, samples that do not depend on who reads them."""
import fireseed as fs
import numpy as np
import pytest
from fireseed import datasets as D
from fireseed.datasets import transforms as T
from fireseed.datasets.transforms import functional as TF
from fireseed.utils.data import DataLoader


def image(h=6, w=5, c=3, seed=0):
    """A uint8 array (H, W, C) and the same as a tensor (C, H, W)."""
    a = np.random.default_rng(seed).integers(0, 256, (h, w, c), dtype=np.uint8)
    return a, fs.tensor(a.transpose(2, 0, 1).copy())


def pil(a):
    return pytest.importorskip("PIL.Image").fromarray(a[:, :, 0] if a.shape[2] == 1 else a)


def array(x):
    """(C, H, W) of a tensor or PIL image."""
    return (x if isinstance(x, fs.Tensor) else TF.pil_to_tensor(x)).numpy()


@pytest.mark.parametrize("channels", [1, 3])
def test_to_tensor_of_images_arrays_and_tensors(channels):
    a, t = image(c=channels)
    expected = a.transpose(2, 0, 1).astype(np.float32) / 255
    for source in (a, t, pil(a)):
        x = T.ToTensor()(source)
        assert x.dtype == fs.float32 and x.is_contiguous()
        np.testing.assert_array_equal(x.numpy(), expected)
    np.testing.assert_array_equal(array(T.PILToTensor()(pil(a))), a.transpose(2, 0, 1))
    back = T.ToPILImage()(T.ToTensor()(a))
    np.testing.assert_array_equal(array(back), a.transpose(2, 0, 1))
    assert T.ToTensor()(a.astype(np.float64)).dtype == fs.float64  # only bytes are scaled
    assert T.ToTensor()(a[:, :, 0]).shape == (1, 6, 5)
    with pytest.raises(TypeError, match="pic should be PIL Image, ndarray or tensor. Got list"):
        T.ToTensor()([1])
    with pytest.raises(ValueError, match="2/3 dimensional. Got 1"):
        T.ToTensor()(np.zeros(3))


def test_to_tensor_of_other_pil_modes():
    Image = pytest.importorskip("PIL.Image")
    assert T.ToTensor()(Image.new("1", (4, 3), 1)).tolist() == [[[1.0] * 4] * 3]
    assert T.ToTensor()(Image.new("I", (4, 3), 70000)).dtype == fs.int32
    assert T.ToTensor()(Image.new("F", (4, 3), 0.25))[0, 0, 0] == 0.25
    assert T.ToTensor()(Image.new("RGBA", (4, 3))).shape == (4, 3, 4)


def test_normalize():
    x = fs.rand(3, 4, 4)
    y = T.Normalize((0.5, 0.4, 0.3), (0.1, 0.2, 0.3))(x)
    mean, std = np.float32([0.5, 0.4, 0.3]), np.float32([0.1, 0.2, 0.3])
    np.testing.assert_allclose(y.numpy(), (x.numpy() - mean[:, None, None]) / std[:, None, None], rtol=1e-6)
    assert T.Normalize((0.5,), (0.5,))(fs.rand(2, 1, 4, 4)).shape == (2, 1, 4, 4)
    z = x.clone()
    assert T.Normalize(0.5, 0.5, inplace=True)(z) is z
    with pytest.raises(TypeError, match="Input tensor should be a float tensor. Got fireseed.uint8; put ToTensor before"):
        T.Normalize(0.5, 0.5)(image()[1])
    with pytest.raises(ValueError, match="std evaluated to zero"):
        T.Normalize([0, 0, 0], [1, 0, 1])(x)
    with pytest.raises(ValueError, match="mean has 2 values, the image 3 channels"):
        T.Normalize([0, 0], [1, 1, 1])(x)
    with pytest.raises(TypeError, match="should be Tensor Image"):
        T.Normalize(0.5, 0.5)(pil(image()[0]))


def both(transform, h=6, w=5, c=3):
    """The result for a tensor, which is also that for the PIL image."""
    a, t = image(h, w, c)
    out = array(transform(t))
    np.testing.assert_array_equal(out, array(transform(pil(a))))
    return a.transpose(2, 0, 1), out


def test_flips_crops_and_borders_for_tensors_and_pil():
    x, y = both(TF.hflip)
    np.testing.assert_array_equal(y, x[:, :, ::-1])
    x, y = both(TF.vflip)
    np.testing.assert_array_equal(y, x[:, ::-1])
    x, y = both(lambda im: TF.crop(im, 1, 2, 3, 2))
    np.testing.assert_array_equal(y, x[:, 1:4, 2:4])
    x, y = both(lambda im: TF.crop(im, -1, 3, 4, 4))  # partly outside: 0
    np.testing.assert_array_equal(y, np.pad(x[:, :3, 3:], [(0, 0), (1, 0), (0, 2)]))
    x, y = both(lambda im: TF.crop(im, 20, 30, 4, 4))
    assert y.shape == (3, 4, 4) and not y.any()
    x, y = both(T.CenterCrop(4))
    np.testing.assert_array_equal(y, x[:, 1:5, 0:4])
    x, y = both(T.CenterCrop((2, 9)))
    np.testing.assert_array_equal(y, np.pad(x[:, 2:4], [(0, 0), (0, 0), (2, 2)]))
    for padding, sides in ((2, (2, 2, 2, 2)), ((1, 2), (1, 2, 1, 2)), ((1, 2, 3, 0), (1, 2, 3, 0))):
        left, top, right, bottom = sides
        width = [(0, 0), (top, bottom), (left, right)]
        x, y = both(T.Pad(padding, fill=7))
        np.testing.assert_array_equal(y, np.pad(x, width, constant_values=7) if y[0, 0, 0] == 7 else None)
        for mode in ("edge", "reflect", "symmetric"):
            x, y = both(T.Pad(padding, padding_mode=mode))
            np.testing.assert_array_equal(y, np.pad(x, width, mode))
    with pytest.raises(ValueError, match="reflect padding .* must be smaller than the image"):
        T.Pad(6, padding_mode="reflect")(image()[1])
    with pytest.raises(ValueError, match="1, 2, or 4 element tuple, not a 3"):
        T.Pad((1, 2, 3))
    with pytest.raises(ValueError, match="constant, edge, reflect or symmetric"):
        T.Pad(1, padding_mode="wrap")(image()[1])
    with pytest.raises(TypeError, match="expected a PIL image or a tensor .*got ndarray; ToTensor first"):
        T.CenterCrop(3)(image()[0])


def test_resize():
    for size, expected in ((3, (3, 3)), ((4, 7), (4, 7)), ([4], (4, 4))):
        assert T.Resize(size)(image(5, 5)[1]).shape[-2:] == expected
    assert T.Resize(10)(image(20, 40)[1]).shape == (3, 10, 20) and T.Resize(10)(image(40, 20)[1]).shape == (3, 20, 10)
    assert T.Resize(10, max_size=15)(image(20, 40)[1]).shape == (3, 7, 15)
    assert T.Resize(10)(pil(image(20, 40)[0])).size == (20, 10)
    for mode in (T.InterpolationMode.BILINEAR, T.InterpolationMode.BICUBIC, T.InterpolationMode.NEAREST):
        for size in ((7, 9), (24, 30)):
            a, t = image(16, 20)
            ours, theirs = T.Resize(size, mode)(t).numpy(), array(T.Resize(size, mode)(pil(a)))
            exact = mode is T.InterpolationMode.NEAREST  # PIL takes the centre of a pixel, PyTorch its corner
            if not exact:
                assert np.abs(ours.astype(int) - theirs).max() <= 1, (mode, size)
            assert ours.dtype == np.uint8
    assert T.Resize((2, 2))(fs.rand(4, 4)).shape == (2, 2)
    assert T.Resize((2, 2))(fs.full((1, 4, 4), 300, dtype=fs.int32))[0, 0, 0] == 300
    with pytest.raises(ValueError, match="unknown interpolation .*LANCZOS.* for tensors"):
        T.Resize(3, T.InterpolationMode.LANCZOS)(image()[1])
    with pytest.raises(ValueError, match="must be strictly greater"):
        T.Resize(10, max_size=10)(image()[1])
    with pytest.raises(ValueError, match="no pixels"):
        T.Resize(3)(fs.zeros(3, 0, 4))


def test_grayscale_one_hot_dtype_lambda_compose():
    a, t = image()
    y = a @ np.array([0.2989, 0.587, 0.114])
    assert np.abs(T.Grayscale()(t).numpy()[0] - y).max() <= 1 and T.Grayscale(3)(pil(a)).mode == "RGB"
    assert T.Grayscale(3)(t).shape == (3, 6, 5)
    assert T.OneHot(4)(2).tolist() == [0, 0, 1, 0] and T.OneHot(3)(fs.tensor([0, 2])).tolist() == [[1, 0, 0], [0, 0, 1]]
    with pytest.raises(ValueError, match="classes must be from 0 to 3, got 4 to 4"):
        T.OneHot(4)(4)
    assert T.ConvertImageDtype(fs.float32)(t).max() <= 1
    assert fs.equal(T.ConvertImageDtype(fs.uint8)(T.ConvertImageDtype(fs.float32)(t)), t)
    assert fs.equal(T.ConvertImageDtype(fs.uint8)(T.ConvertImageDtype(fs.int32)(t)), t)
    c = T.Compose([T.ToTensor(), T.Lambda(lambda x: x + 1), T.Normalize(1.0, 2.0)])
    np.testing.assert_allclose(c(a).numpy(), a.transpose(2, 0, 1) / np.float32(510), rtol=1e-4, atol=1e-6)
    assert repr(c).startswith("Compose(\n    ToTensor()\n    Lambda(") and "Normalize(mean=1.0, std=2.0" in repr(c)
    assert "RandomCrop(size=(3, 3)" in repr(T.RandomCrop(3))
    with pytest.raises(TypeError, match="expected transforms"):
        T.Compose([3])
    with pytest.raises(TypeError, match="expected a list of transforms"):
        T.Compose(T.ToTensor())
    with pytest.raises(TypeError, match="should be callable"):
        T.Lambda(3)


def test_random_transforms_give_what_they_should():
    _, t = image(8, 8)
    seen = {T.RandomHorizontalFlip()(t).numpy().tobytes() for _ in range(30)}
    assert seen == {t.numpy().tobytes(), t.flip(-1).contiguous().numpy().tobytes()}
    assert fs.equal(T.RandomVerticalFlip(1)(t), t.flip(-2)) and T.RandomVerticalFlip(0)(t) is t
    windows = {t[:, i:i + 6, j:j + 6].contiguous().numpy().tobytes() for i in range(3) for j in range(3)}
    assert {T.RandomCrop(6)(t).contiguous().numpy().tobytes() for _ in range(200)} == windows
    assert T.RandomCrop(8, padding=4)(t).shape == (3, 8, 8) and fs.equal(T.RandomCrop(8)(t), t)
    assert T.RandomCrop(12, pad_if_needed=True)(t).shape == (3, 12, 12)
    assert T.RandomResizedCrop(5)(t).shape == (3, 5, 5) and T.RandomResizedCrop((4, 5))(pil(image()[0])).size == (5, 4)
    assert T.RandomResizedCrop(5, scale=(4, 5))(t).shape == (3, 5, 5)  # too large: the window in the middle
    erased = T.RandomErasing(1, value=0)(t + 1)
    share = (erased == 0).float().mean().item()
    assert 0 < share < 0.5
    assert T.RandomErasing(1, value="random")(t.float()).shape == t.shape
    both = {T.RandomChoice([T.Lambda(lambda x: 1), T.Lambda(lambda x: 2)])(t) for _ in range(30)}
    assert both == {1, 2} and T.RandomApply([T.Lambda(lambda x: 3)], p=1)(t) == 3
    with pytest.raises(ValueError, match=r"crop size \(9, 9\) is larger than input image size \(8, 8\)"):
        T.RandomCrop(9)(t)
    with pytest.raises(ValueError, match="p should be a number from 0 to 1, got 2"):
        T.RandomHorizontalFlip(2)
    with pytest.raises(TypeError, match="expected a tensor image, got Image; put ToTensor before it"):
        T.RandomErasing()(pil(image()[0]))


def test_colours_for_tensors_are_pils():
    a, t = image(12, 10)
    p = pil(a)
    for name in ("brightness", "contrast", "saturation"):
        adjust = getattr(TF, f"adjust_{name}")
        for factor in (0, 0.4, 1, 1.7):
            ours, theirs = adjust(t, factor).numpy().astype(int), array(adjust(p, factor)).astype(int)
            assert np.abs(ours - theirs).max() <= 2, (name, factor)  # PIL rounds the luma
            scaled = adjust(t.float() / 255, factor)
            assert np.abs(scaled.numpy() * 255 - ours).max() <= 2 and scaled.dtype == fs.float32
    import colorsys
    for turn in (-0.5, -0.2, 0, 0.3):
        expected = np.empty_like(a, dtype=np.float64)
        for at in np.ndindex(*a.shape[:2]):
            h, s, v = colorsys.rgb_to_hsv(*(a[at] / 255))
            expected[at] = colorsys.hsv_to_rgb((h + turn) % 1, s, v)
        np.testing.assert_allclose(TF.adjust_hue(t.float() / 255, turn).numpy(), expected.transpose(2, 0, 1), atol=1e-5)
        np.testing.assert_array_equal(TF.adjust_hue(t, turn).numpy(), np.rint(expected * 255).transpose(2, 0, 1))
        assert TF.adjust_hue(p, turn).mode == "RGB"  # PIL keeps hues in bytes, so its pixels are a few in 255 off
    grey = image(4, 4, 1)[1]
    assert TF.adjust_hue(grey, 0.3) is grey and TF.adjust_saturation(grey, 0.3) is grey
    with pytest.raises(ValueError, match="is not in"):
        TF.adjust_hue(t, 0.6)
    with pytest.raises(ValueError, match="is not non-negative"):
        TF.adjust_contrast(t, -1)
    with pytest.raises(TypeError, match="expected .*1 or 3, H, W"):
        TF.adjust_brightness(fs.rand(2, 4, 4), 1.0)


def test_rotation():
    a, t = image(9, 7)
    square = t[:, :7]
    assert fs.equal(TF.rotate(square, 90), square.rot90(1, (-2, -1))) and fs.equal(TF.rotate(t, 180), t.rot90(2, (-2, -1)))
    for angle in (30, -77.5):
        for mode in (T.InterpolationMode.NEAREST, T.InterpolationMode.BILINEAR):
            ours, theirs = TF.rotate(t, angle, mode, fill=9).numpy(), array(TF.rotate(pil(a), angle, mode, fill=9))
            same = np.abs(ours.astype(int) - theirs) <= 1
            assert same.mean() > 0.97, (angle, mode)  # a pixel whose place lies on an edge may go either way
    assert TF.rotate(pil(a), 90, expand=True).size == (9, 7)
    with pytest.raises(ValueError, match="expand=True is for PIL images"):
        TF.rotate(t, 5, expand=True)
    with pytest.raises(ValueError, match="NEAREST or BILINEAR"):
        TF.rotate(t, 5, T.InterpolationMode.BICUBIC)
    assert {T.RandomRotation((90, 90))(square).numpy().tobytes()} == {TF.rotate(square, 90).numpy().tobytes()}
    assert T.RandomRotation(30)(t).shape == t.shape


def test_colour_jitter_draws_as_torchvision():
    _, t = image(6, 6)
    assert T.ColorJitter()(t) is t
    fs.manual_seed(3)
    order = fs.randperm(4).tolist()
    b, h = (fs.empty(1).uniform_(*bounds).item() for bounds in ((0.6, 1.4), (-0.1, 0.1)))
    fs.manual_seed(3)
    y = T.ColorJitter(brightness=0.4, hue=0.1)(t)
    steps = {0: lambda x: TF.adjust_brightness(x, b), 3: lambda x: TF.adjust_hue(x, h)}
    expected = t
    for i in order:
        expected = steps[i](expected) if i in steps else expected
    assert fs.equal(y, expected)
    assert T.ColorJitter(contrast=(2, 2))(pil(image()[0])).size == (5, 6)
    for options, message in (({"brightness": -1}, "must be non negative"), ({"hue": 0.6}, "at most 0.5"),
                             ({"contrast": (-1, 2)}, "within"), ({"hue": (-1, 0)}, "within")):
        with pytest.raises(ValueError, match=message):
            T.ColorJitter(**options)


def test_names_of_version_2():
    a, t = image()
    v2 = T.Compose([T.ToImage(), T.ToDtype(fs.float32, scale=True)])
    for source in (a, t, pil(a)):
        assert fs.equal(v2(source), T.ToTensor()(a))
    assert T.ToDtype(fs.float32)(t).max() > 1


AUGMENT = T.Compose([T.RandomCrop(8, padding=2), T.RandomHorizontalFlip(), T.ToTensor(), T.RandomErasing()])


def test_draws_follow_the_seed_and_torchvisions_order():
    _, t = image(8, 8)
    fs.manual_seed(5)
    first = AUGMENT(t)
    fs.manual_seed(5)
    assert fs.equal(AUGMENT(t), first) and not fs.equal(AUGMENT(t), first)
    # RandomCrop: row then column by randint; RandomHorizontalFlip: rand(1) < p.
    fs.manual_seed(7)
    i, j = fs.randint(0, 5, (1,)).item(), fs.randint(0, 5, (1,)).item()
    flip = fs.rand(1).item() < 0.5
    fs.manual_seed(7)
    y = T.Compose([T.RandomCrop(4), T.RandomHorizontalFlip()])(t)
    window = t[:, i:i + 4, j:j + 4]
    assert fs.equal(y, window.flip(-1) if flip else window)
    g = fs.Generator().manual_seed(7)
    before = fs.get_rng_state()
    assert fs.equal(T.RandomCrop(4, generator=g)(t), window) and fs.equal(fs.get_rng_state(), before)


class Images(D.VisionDataset):
    """16 images, the same ones again and again, with random transforms."""

    def __init__(self):
        super().__init__(".", transform=AUGMENT)
        self.data, self.targets = image(16, 8 * 3, 8)[1].reshape(16, 3, 8, 8), list(range(16))

    def _image(self, i):
        return self.data[i]


def test_samples_of_a_loader_depend_on_seed_pass_and_index_alone():
    def passes(workers, **options):
        loader = DataLoader(Images(), batch_size=3, num_workers=workers, generator=fs.Generator().manual_seed(3), **options)
        return [fs.cat([x for x, _ in loader]) for _ in range(2)]

    first, second = passes(0)
    assert not any(fs.equal(a, b) for a, b in zip(first, second))  # other crops in another pass
    for workers in (1, 3):
        x, y = passes(workers)
        assert fs.equal(x, first) and fs.equal(y, second), workers
    # Another order, the same samples.
    loader = DataLoader(Images(), batch_size=3, num_workers=2, sampler=range(15, -1, -1), generator=fs.Generator().manual_seed(3))
    assert fs.equal(fs.cat([x for x, _ in loader]).flip(0), first)
