"""MNIST, FashionMNIST, KMNIST, CIFAR10, CIFAR100: local files under torchvision's class names; and the bundled digits."""
import os

from .. import _C
from ..utils.data import Dataset, TensorDataset
from ._files import DamagedFile, Reader, find, needs, read_text, read_whole
from ._plain_pickle import load_plain
from .idx import read_idx


class VisionDataset(Dataset):
    """Images in memory with one class each: (image, target) samples, the image a uint8 tensor (C, H, W).

    transform(image) and target_transform(target), where given, are applied to each sample. torchvision's classes hand
    PIL images to the transforms; here they are tensors, which need no Pillow (transforms.ToPILImage makes images).
    """

    classes = ()

    def __init__(self, root, transform=None, target_transform=None):
        self.root = os.fspath(root)
        self.transform, self.target_transform = transform, target_transform

    def _image(self, index):
        raise NotImplementedError

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"{type(self).__name__}: index {index} is out of range, there are {n} samples")
        image, target = self._image(index), int(self.targets[index])
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    @property
    def class_to_idx(self):
        """The index of each class by its name."""
        return {name: i for i, name in enumerate(self.classes)}

    def tensors(self):
        """A TensorDataset of all images (N, C, H, W), float32 in [0, 1], and targets (N), int64: the fastest to read.

        transform and target_transform are not applied.
        """
        raise NotImplementedError

    def __repr__(self):
        return f"Dataset {type(self).__name__}\n    Number of datapoints: {len(self)}\n    Root location: {self.root}"


class MNIST(VisionDataset):
    """Handwritten digits: 60,000 (train) or 10,000 images of 28 x 28; `data` uint8 (N, 28, 28), `targets` int64 (N).

    Reads train-images-idx3-ubyte[.gz] and train-labels-idx1-ubyte[.gz] (or t10k-…) from root, root/MNIST or
    root/MNIST/raw, where torchvision puts them. The number of images is the file's.
    """

    classes = ["0 - zero", "1 - one", "2 - two", "3 - three", "4 - four", "5 - five", "6 - six", "7 - seven",
               "8 - eight", "9 - nine"]
    _source = ("put there the files train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and "
               "t10k-labels-idx1-ubyte.gz of MNIST (http://yann.lecun.com/exdb/mnist and its mirrors), unpacked or not")

    def __init__(self, root, train=True, transform=None, target_transform=None, download=False):
        super().__init__(root, transform, target_transform)
        kind = type(self).__name__
        self.train = train
        folders = [os.path.join(self.root, kind, "raw"), os.path.join(self.root, kind), self.root]
        stem = "train" if train else "t10k"

        def path_of(what):
            return find(folders, [f"{stem}-{what}-ubyte", f"{stem}-{what}-ubyte.gz", f"{stem}-{what.replace('-', '.')}-ubyte"],
                        kind, self._source, download)

        images, labels = path_of("images-idx3"), path_of("labels-idx1")
        self.data = read_idx(images, ndim=3, dtype=_C.uint8)
        self.targets = read_idx(labels, ndim=1, dtype=_C.uint8).to(_C.int64)
        if len(self.data) != len(self.targets):
            raise DamagedFile(labels, f"{len(self.data)} labels, as {images} has images", f"{len(self.targets)}")
        if len(self.targets) and int(self.targets.max()) >= len(self.classes):
            raise DamagedFile(labels, f"labels from 0 to {len(self.classes) - 1}", f"{int(self.targets.max())}")

    def _image(self, index):
        return self.data[index].unsqueeze(0)

    def tensors(self):
        return TensorDataset(self.data.unsqueeze(1).to(_C.float32) / 255, self.targets)


class FashionMNIST(MNIST):
    """Zalando's articles of clothing, in MNIST's format and under MNIST's file names, in root/FashionMNIST[/raw]."""

    classes = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
    _source = MNIST._source.replace("MNIST (http://yann.lecun.com/exdb/mnist and its mirrors)",
                                    "Fashion-MNIST (https://github.com/zalandoresearch/fashion-mnist)")


class KMNIST(MNIST):
    """Kuzushiji-MNIST: ten cursive Japanese characters, in MNIST's format, in root/KMNIST[/raw]."""

    classes = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]
    _source = MNIST._source.replace("MNIST (http://yann.lecun.com/exdb/mnist and its mirrors)",
                                    "Kuzushiji-MNIST (https://github.com/rois-codh/kmnist)")


def read_cifar(path, labels=1):
    """A CIFAR binary file: (images uint8 (N, 3, 32, 32), labels int64 (N, labels)).

    A record is `labels` bytes (1: CIFAR-10; 2: CIFAR-100, coarse then fine) and 3072 bytes, the red, green and blue
    planes row by row (https://www.cs.toronto.edu/~kriz/cifar.html). Raises ValueError where the size is not a whole
    number of records.
    """
    record = labels + 3072
    with Reader(path) as reader:
        size = reader.size
    data = read_whole(path)
    if len(data) % record or not data:
        raise DamagedFile(path, f"a whole number of records of {record} bytes",
                          f"{len(data)} bytes" + (f" in a gzip file of {size}" if len(data) != size else ""))
    rows = _C.frombuffer(data, dtype=_C.uint8).reshape(-1, record)
    return rows[:, labels:].contiguous().reshape(-1, 3, 32, 32), rows[:, :labels].to(_C.int64)


def read_cifar_pickle(path, key="labels"):
    """One batch of CIFAR's "python version": (images uint8 (N, 3, 32, 32), labels int64 (N, 1)).

    Nothing in the pickle is run: it may hold numbers, text, lists, dictionaries and uint8 arrays; all else is a
    ValueError. key: "labels", or "fine_labels" and "coarse_labels" for CIFAR-100.
    """
    batch = load_plain(read_whole(path), path)
    data, labels = batch.get("data"), batch.get(key)
    if not (type(data) is tuple and len(data) == 2 and len(data[0]) == 2 and data[0][1] == 3072):
        raise DamagedFile(path, "uint8 data of shape (N, 3072)", f"{'none' if data is None else 'something else'} under "
                          f"'data' among the keys {sorted(map(str, batch))[:8]}")
    if type(labels) is not list or len(labels) != data[0][0] or not all(type(i) is int and 0 <= i < 256 for i in labels):
        raise DamagedFile(path, f"{data[0][0]} labels from 0 to 255 under {key!r}",
                          f"{len(labels)} items" if isinstance(labels, list) else f"keys {sorted(map(str, batch))[:8]}")
    images = _C.frombuffer(bytearray(data[1]), dtype=_C.uint8) if data[1] else _C.empty(0, dtype=_C.uint8)
    return images.reshape(-1, 3, 32, 32), _C.tensor(labels, dtype=_C.int64).reshape(-1, 1)


class CIFAR10(VisionDataset):
    """Tiny photographs: 50,000 (train) or 10,000 of 32 x 32 in 10 classes.

    `data`: a uint8 array of numpy (N, 32, 32, 3), `targets`: a list, as in torchvision. Reads the binary version
    (root/cifar-10-batches-bin/data_batch_1.bin …) or the python version (root/cifar-10-batches-py/data_batch_1 …),
    whose pickles are read without running anything in them.
    """

    classes = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    _folder, _labels, _key = "cifar-10", 1, "labels"
    _parts = {True: [f"data_batch_{i}" for i in range(1, 6)], False: ["test_batch"]}
    _bin, _py = "cifar-10-batches-bin", "cifar-10-batches-py"
    _source = ("unpack cifar-10-binary.tar.gz or cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html "
               "into root, which makes cifar-10-batches-bin or cifar-10-batches-py")

    def __init__(self, root, train=True, transform=None, target_transform=None, download=False):
        super().__init__(root, transform, target_transform)
        kind = type(self).__name__
        self.train = train
        images, labels = zip(*(self._read(kind, part, download) for part in self._parts[bool(train)]), strict=True)
        self._images = images[0] if len(images) == 1 else _C.cat(images)
        self.targets = [int(i) for part in labels for i in part[:, -1].tolist()]

    def _read(self, kind, part, download):
        folders = [os.path.join(self.root, self._bin), os.path.join(self.root, self._py), self.root]
        path = find(folders, [f"{part}.bin", part], kind, self._source, download)
        images, labels = (read_cifar(path, self._labels) if path.endswith(".bin")
                          else read_cifar_pickle(path, self._key))
        if len(labels) and int(labels[:, -1].max()) >= self._classes_count():
            raise DamagedFile(path, f"labels from 0 to {self._classes_count() - 1}", f"{int(labels[:, -1].max())}")
        return images, labels

    def _classes_count(self):
        return len(self.classes)

    @property
    def data(self):
        """All images, a numpy array (N, 32, 32, 3) on the memory of the data set."""
        return self._images.permute(0, 2, 3, 1).numpy()

    def __len__(self):
        return len(self._images)

    def _image(self, index):
        return self._images[index]

    def tensors(self):
        return TensorDataset(self._images.to(_C.float32) / 255, _C.tensor(self.targets, dtype=_C.int64))


class CIFAR100(CIFAR10):
    """CIFAR10 with 100 (fine) classes: root/cifar-100-binary/{train,test}.bin or root/cifar-100-python/{train,test}."""

    _labels, _key = 2, "fine_labels"
    _parts = {True: ["train"], False: ["test"]}
    _bin, _py = "cifar-100-binary", "cifar-100-python"
    _source = ("unpack cifar-100-binary.tar.gz or cifar-100-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html "
               "into root, which makes cifar-100-binary or cifar-100-python")

    def _classes_count(self):
        return 100

    @property
    def classes(self):
        """The names of the fine classes, from fine_label_names.txt or the pickle `meta`; "0" to "99" without either."""
        if "_names" not in self.__dict__:
            names = [str(i) for i in range(100)]
            text = os.path.join(self.root, self._bin, "fine_label_names.txt")
            meta = os.path.join(self.root, self._py, "meta")
            if os.path.isfile(text):
                names = read_text(text).split()
            elif os.path.isfile(meta):
                names = load_plain(read_whole(meta), meta).get("fine_label_names", names)
            self._names = [n.decode("latin1") if isinstance(n, bytes) else str(n) for n in names]
        return self._names


class Digits(VisionDataset):
    """scikit-learn's bundled handwritten digits: 1,797 images of 8 x 8; `data` float32 (N, 8, 8) in [0, 1].

    Samples are ((1, 8, 8) float32, class). Needs no file and no network, only scikit-learn (the extra `examples`).
    """

    classes = [str(i) for i in range(10)]

    def __init__(self, transform=None, target_transform=None):
        super().__init__("scikit-learn", transform, target_transform)
        digits = needs("sklearn.datasets", "examples", "Digits").load_digits()
        self.data = _C.tensor(digits.images, dtype=_C.float32) / 16
        self.targets = _C.tensor(digits.target, dtype=_C.int64)

    def _image(self, index):
        return self.data[index].unsqueeze(0)

    def tensors(self):
        return TensorDataset(self.data.unsqueeze(1), self.targets)
