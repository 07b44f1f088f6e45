"""Data sets of files sorted into a folder a class: images (Pillow) and sounds (WAV)."""
import os

from ..utils.data import Dataset
from ._files import DamagedFile, needs
from .wav import read_wav

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
_FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")
MAX_IMAGE_PIXELS = 100_000_000  # an image that claims more is refused before its pixels take memory


def pil_loader(path):
    """The image in a file as a PIL image in mode RGB. Needs Pillow (the extra `data`).

    A file that Pillow cannot read, or that claims more than folder.MAX_IMAGE_PIXELS pixels, is a ValueError that
    names it.
    """
    Image = needs("PIL.Image", "data", "reading images")
    if os.path.getsize(path) == 0:
        raise DamagedFile(path, "an image", "an empty file")
    with open(path, "rb") as file:
        try:
            image = Image.open(file, formats=_FORMATS)
            size = image.size
            if size[0] * size[1] <= MAX_IMAGE_PIXELS:
                return image.convert("RGB")
        except MemoryError:
            raise
        except Exception as error:  # Pillow's plugins raise almost anything on damaged files
            raise DamagedFile(path, "an image that Pillow can read", f"{type(error).__name__}: {error}") from error
    raise DamagedFile(path, f"an image of at most {MAX_IMAGE_PIXELS} pixels (fireseed.datasets.folder.MAX_IMAGE_PIXELS)",
                      f"one of {size[0]} x {size[1]}")


def find_classes(directory):
    """(classes, class_to_idx): the sorted names of a folder's subfolders, and their indices."""
    classes = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
    if not classes:
        raise FileNotFoundError(f"Couldn't find any class folder in {os.fspath(directory)}: files are expected in one "
                                "subfolder a class, such as root/cat/1.png")
    return classes, {name: i for i, name in enumerate(classes)}


class DatasetFolder(Dataset):
    """root/<class>/**/<file>: samples are (loader(path), class index), classes and files in sorted order.

    extensions (a tuple, lower case) or is_valid_file(path) says which files count; a class without one is a
    FileNotFoundError unless allow_empty. Files are read when they are asked for.
    """

    def __init__(self, root, loader, extensions=None, transform=None, target_transform=None, is_valid_file=None,
                 allow_empty=False):
        self.root = os.fspath(root)
        self.loader, self.extensions = loader, extensions
        self.transform, self.target_transform = transform, target_transform
        if (extensions is None) == (is_valid_file is None):
            raise ValueError("Both extensions and is_valid_file cannot be None or not None at the same time")
        if is_valid_file is None:
            endings = (extensions,) if isinstance(extensions, str) else tuple(extensions)

            def is_valid_file(path):
                return path.lower().endswith(endings)

        self.classes, self.class_to_idx = self.find_classes(self.root)
        self.samples, empty = [], []
        for name in self.classes:
            before = len(self.samples)
            for folder, folders, files in os.walk(os.path.join(self.root, name), followlinks=True):
                folders.sort()
                paths = (os.path.join(folder, file) for file in sorted(files))
                self.samples += [(path, self.class_to_idx[name]) for path in paths if is_valid_file(path)]
            if len(self.samples) == before:
                empty.append(name)
        if empty and not allow_empty:
            text = f" Supported extensions are: {', '.join(endings)}." if extensions is not None else ""
            raise FileNotFoundError(f"Found no valid file for the classes {', '.join(empty)} in {self.root}.{text} "
                                    "(allow_empty=True accepts this)")
        self.targets = [target for _, target in self.samples]

    def find_classes(self, directory):
        """(classes, class_to_idx) of the root folder; override it for classes of your own."""
        return find_classes(directory)

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        path, target = self.samples[index]
        sample = self.loader(path)
        if self.transform is not None:
            sample = self.transform(sample)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return sample, target


class ImageFolder(DatasetFolder):
    """root/<class>/<image>: samples are (PIL image in RGB, class index), as in torchvision. Needs Pillow."""

    def __init__(self, root, transform=None, target_transform=None, loader=pil_loader, is_valid_file=None,
                 allow_empty=False):
        super().__init__(root, loader, IMG_EXTENSIONS if is_valid_file is None else None, transform, target_transform,
                         is_valid_file, allow_empty)
        self.imgs = self.samples


class AudioFolder(DatasetFolder):
    """root/<class>/<sound>.wav: samples are ((waveform float32 (channels, frames), sample rate), class index)."""

    def __init__(self, root, transform=None, target_transform=None, loader=read_wav, is_valid_file=None,
                 allow_empty=False):
        super().__init__(root, loader, (".wav", ".wave") if is_valid_file is None else None, transform, target_transform,
                         is_valid_file, allow_empty)
