"""torchvision.utils: grids of images, and images to files."""
import math

from .. import _C

__all__ = ["make_grid", "save_image"]


def _scaled(image, low, high):
    return (image.clamp(low, high) - low) / max(high - low, 1e-5)


def make_grid(tensor, nrow=8, padding=2, normalize=False, value_range=None, scale_each=False, pad_value=0.0):
    """Images (N, C, H, W), or a list of (C, H, W), as one (3 or C, rows, columns) image; nrow images a row.

    A single image or channel becomes three channels. normalize: to [0, 1] from value_range, else from the smallest and
    largest value, of all images or (scale_each) of each.
    """
    if isinstance(tensor, (list, tuple)):
        tensor = _C.stack(list(tensor))
    if not isinstance(tensor, _C.Tensor):
        raise TypeError(f"tensor or list of tensors expected, got a {type(tensor)}")
    while tensor.dim() < 4:
        tensor = tensor.unsqueeze(0)
    if tensor.shape[1] == 1:
        tensor = _C.cat((tensor, tensor, tensor), 1)
    if normalize:
        if value_range is not None and not isinstance(value_range, tuple):
            raise TypeError("value_range has to be a tuple (min, max) if specified. min and max are numbers")

        def scaled(part):
            low, high = value_range or (float(part.min()), float(part.max()))
            return _scaled(part, low, high)

        tensor = _C.stack([scaled(image) for image in tensor]) if scale_each else scaled(tensor)
    count = tensor.shape[0]
    if count == 1:
        return tensor.squeeze(0)
    columns = min(nrow, count)
    rows = math.ceil(count / columns)
    height, width = tensor.shape[2] + padding, tensor.shape[3] + padding
    grid = tensor.new_full((tensor.shape[1], height * rows + padding, width * columns + padding), pad_value)
    for k in range(count):
        y, x = divmod(k, columns)
        grid[:, y * height + padding:(y + 1) * height, x * width + padding:(x + 1) * width] = tensor[k]
    return grid


def save_image(tensor, fp, format=None, **kwargs):
    """Writes make_grid(tensor, **kwargs), values in [0, 1], to a path or file with Pillow."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("torchvision.utils.save_image needs Pillow: pip install 'fireseed[data]'") from error
    with _C.no_grad():
        grid = make_grid(tensor, **kwargs)
        pixels = (grid * 255 + 0.5).clamp(0, 255).permute(1, 2, 0).to("cpu", _C.uint8)
    Image.fromarray(pixels.contiguous().numpy()).save(fp, format=format)
