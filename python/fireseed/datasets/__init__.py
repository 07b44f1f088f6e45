"""Data sets of local files: IDX, CIFAR, CSV, image and sound folders, text; and the transforms of samples."""
from . import transforms
from ._files import DamagedFile
from .folder import AudioFolder, DatasetFolder, ImageFolder
from .idx import read_idx, write_idx
from .table import Table, read_csv
from .text import TextLines, TextWindows, Vocabulary, pad_collate
from .vision import CIFAR10, CIFAR100, KMNIST, MNIST, Digits, FashionMNIST, VisionDataset, read_cifar, read_cifar_pickle
from .wav import read_wav

__all__ = [
    "AudioFolder", "CIFAR10", "CIFAR100", "DamagedFile", "DatasetFolder", "Digits", "FashionMNIST", "ImageFolder", "KMNIST",
    "MNIST", "Table", "TextLines", "TextWindows", "VisionDataset", "Vocabulary", "pad_collate", "read_cifar",
    "read_cifar_pickle", "read_csv", "read_idx", "read_wav", "transforms", "write_idx"]
