# What scripts print: models, tensors, dtypes, sizes, devices, optimizers. The text is PyTorch's to the letter.
import torch
import torch.nn as nn

torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
                                      nn.MaxPool2d(2))
        self.rnn = nn.LSTM(8, 4, num_layers=2, batch_first=True, dropout=0.1)
        self.blocks = nn.ModuleList([nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)])
        self.heads = nn.ModuleDict({"cls": nn.Linear(4, 2), "emb": nn.Embedding(5, 4, padding_idx=0)})
        self.scale = nn.Parameter(torch.ones(1))

    def extra_repr(self):
        return "kind=small"


net = Net()
print(net)
x = torch.randn(2, 3)
print(x, x * 1e6, x.double(), x > 0, x.long(), x.half(), torch.empty(0), torch.tensor(3.5), sep="\n")
print(torch.arange(1200).reshape(30, 40), torch.tensor([float("nan"), float("inf"), 1e-8]))
print(x.requires_grad_(), (x * 2).sum(), nn.Parameter(torch.zeros(2)))
print(x.shape, x.size(), x.stride(), x.dtype, x.device, x.layout, x.type(), [x.shape, torch.float16])
print(f"{x.sum().item():.3f} {x.mean():.4f} {torch.tensor(7)}", str(x.dtype).split(".")[-1], repr(torch.device("cpu")))
print({k: tuple(v.shape) for k, v in net.state_dict().items()})
print(torch.optim.SGD(net.parameters(), lr=0.1))
print(torch.max(torch.tensor([[1.0, 3.0], [2.0, 0.0]]), dim=1), torch.topk(torch.arange(4.0), 2))
print(torch.finfo(torch.float32), torch.iinfo(torch.int8), torch.Size([1, 2]) + torch.Size([3]), torch.strided)
print(nn.CrossEntropyLoss(), nn.MSELoss(), nn.GELU("tanh"), nn.Dropout(0.2), nn.MultiheadAttention(4, 2))
torch.set_printoptions(precision=2, sci_mode=False, linewidth=60)
print(torch.linspace(0, 1, 12))
try:
    torch.zeros(2, 3) + torch.zeros(4)
except RuntimeError as error:
    print(type(error).__name__, "size" in str(error))
